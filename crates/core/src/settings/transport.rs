//! How a server is reached: the one rule about encryption for all backends. No file is read here.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::SettingsNode;
use crate::error::Result;

/// TLS of one block. A certificate is always verified, with the host's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TlsSettings {
    /// When TLS is used. Default: `auto`.
    pub mode: TlsMode,
    /// PEM file with the authorities to trust instead of the machine's own; absolute, or inside the data directory.
    pub ca: Option<PathBuf>,
    /// PEM file with the client's certificate and its chain, for servers that ask for one. Needs `key`.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`.
    pub key: Option<PathBuf>,
}

/// When TLS is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TlsMode {
    /// For every host but this machine, and for this machine too if a file is named or the address asks for it.
    #[default]
    Auto,
    /// Always.
    Require,
    /// Never. Another machine then needs `allowPlaintext: true`.
    Off,
}

/// What the address of a server says of encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressTls {
    /// It must be used.
    Required,
    /// It must not be used.
    Disabled,
    /// Nothing.
    Unsaid,
}

/// What becomes of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Under TLS.
    Encrypted,
    /// In plaintext, on this machine.
    Local,
    /// In plaintext to another machine, because `allowPlaintext` says so: a reason for a warning whenever it is opened.
    Exposed,
}

impl Transport {
    /// Encrypted or not; without encryption another machine is refused unless `plaintext_allowed`. An empty host is a socket in
    /// the file system.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConfigInvalid`](crate::ErrorKind::ConfigInvalid) at the key `allowPlaintext`.
    pub fn check<'hosts>(
        block: &SettingsNode,
        encrypted: bool,
        hosts: impl IntoIterator<Item = &'hosts str>,
        plaintext_allowed: bool,
    ) -> Result<Self> {
        if encrypted {
            return Ok(Self::Encrypted);
        }
        match (hosts.into_iter().all(is_this_machine), plaintext_allowed) {
            (true, _) => Ok(Self::Local),
            (false, true) => Ok(Self::Exposed),
            (false, false) => {
                let message = "the server is another machine and TLS is off; turn it on, \
                    or set `allowPlaintext: true` where the network itself is trusted";
                Err(block.invalid("allowPlaintext", message))
            }
        }
    }

    /// Whether connections are encrypted.
    pub fn is_encrypted(self) -> bool {
        self == Self::Encrypted
    }
}

impl TlsSettings {
    /// The same files, with those that are relative inside `data_dir`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::Path;
    /// use syntrix_storage_core::TlsSettings;
    ///
    /// let mut tls = TlsSettings::default();
    /// (tls.ca, tls.key) = (Some("ca.pem".into()), Some("/etc/ssl/key.pem".into()));
    /// let tls = tls.within(Path::new("/data"));
    /// assert_eq!(tls.ca.as_deref(), Some(Path::new("/data/ca.pem")));
    /// assert_eq!(tls.key.as_deref(), Some(Path::new("/etc/ssl/key.pem")));
    /// ```
    #[must_use]
    pub fn within(&self, data_dir: &Path) -> Self {
        let placed = |file: &Option<PathBuf>| file.as_ref().map(|file| data_dir.join(file));
        Self {
            mode: self.mode,
            ca: placed(&self.ca),
            certificate: placed(&self.certificate),
            key: placed(&self.key),
        }
    }

    /// How connections to `hosts` are made; `address` is what the address itself says of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConfigInvalid`](crate::ErrorKind::ConfigInvalid) if certificate and key are not both there, if TLS is asked
    /// for and turned off at once, and what [`Transport::check`] says.
    pub fn transport<'hosts>(
        &self,
        block: &SettingsNode,
        address: AddressTls,
        hosts: impl IntoIterator<Item = &'hosts str> + Clone,
        plaintext_allowed: bool,
    ) -> Result<Transport> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(block.invalid("tls", "a client certificate and its key belong together"));
        }
        let off = self.mode == TlsMode::Off || address == AddressTls::Disabled;
        let asked = self.mode == TlsMode::Require
            || address == AddressTls::Required
            || self.ca.is_some()
            || self.certificate.is_some();
        if off && asked {
            return Err(block.invalid("tls", "TLS is asked for and turned off at once"));
        }
        let local = hosts.clone().into_iter().all(is_this_machine);
        Transport::check(block, !off && (asked || !local), hosts, plaintext_allowed)
    }
}

/// Whether a host as written in an address is this machine by its name alone; nothing is resolved. An empty one, which is a
/// socket in the file system, is.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::is_this_machine;
///
/// assert!(["localhost", "LOCALHOST", "127.0.0.2", "::1", "[::1]", ""].into_iter().all(is_this_machine));
/// assert!(!is_this_machine("localhost.example.com") && !is_this_machine("10.0.0.1"));
/// ```
pub fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.is_empty()
        || host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Location, SettingsValue};

    const AWAY: &str = "db.example.com";

    fn transport(
        mode: TlsMode,
        address: AddressTls,
        host: &str,
        allowed: bool,
    ) -> Result<Transport, String> {
        let block = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
        let tls = TlsSettings { mode, ..TlsSettings::default() };
        let transport = tls.transport(&block, address, [host], allowed);
        transport.map_err(|error| error.fact("key").unwrap_or_default().to_owned())
    }

    #[test]
    fn another_machine_is_reached_under_tls_unless_somebody_says_otherwise() {
        use {AddressTls as Address, TlsMode as Mode};
        assert_eq!(transport(Mode::Auto, Address::Unsaid, AWAY, false), Ok(Transport::Encrypted));
        assert_eq!(transport(Mode::Auto, Address::Unsaid, AWAY, true), Ok(Transport::Encrypted));
        assert_eq!(transport(Mode::Auto, Address::Unsaid, "::1", false), Ok(Transport::Local));
        assert_eq!(
            transport(Mode::Require, Address::Unsaid, "::1", false),
            Ok(Transport::Encrypted)
        );
        assert_eq!(
            transport(Mode::Auto, Address::Required, "::1", false),
            Ok(Transport::Encrypted)
        );
        for (mode, address) in [(Mode::Off, Address::Unsaid), (Mode::Auto, Address::Disabled)] {
            assert_eq!(transport(mode, address, AWAY, false), Err("allowPlaintext".into()));
            assert_eq!(transport(mode, address, AWAY, true), Ok(Transport::Exposed));
            assert_eq!(transport(mode, address, "localhost", false), Ok(Transport::Local));
        }
        for (mode, address) in [(Mode::Off, Address::Required), (Mode::Require, Address::Disabled)]
        {
            assert_eq!(transport(mode, address, AWAY, true), Err("tls".into()));
        }
    }

    #[test]
    fn half_a_client_certificate_is_refused() {
        let block = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
        let tls = TlsSettings { certificate: Some("me.pem".into()), ..TlsSettings::default() };
        let refused = tls.transport(&block, AddressTls::Unsaid, [AWAY], false).unwrap_err();
        assert_eq!(refused.fact("key"), Some("tls"));
    }
}
