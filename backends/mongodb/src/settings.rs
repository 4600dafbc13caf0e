//! What one `mongo` block may say.

use std::time::Duration;

use mongodb::options::{ConnectionString, HostInfo, ServerAddress, Tls};
use schemars::JsonSchema;
use serde::Deserialize;
use syntrix_storage_core::{
    Error, ErrorKind, HumanDuration, Location, Result, Retention, Secret, SettingsNode,
    SettingsValue, Transport, is_this_machine,
};

/// Longest name of a database on the server.
const DATABASE_BYTES_MAX: usize = 63;
/// Room that a namespace and its separator need in the name of a database.
const NAMESPACE_BYTES_MAX: usize = 33;
/// Names of collections that this crate uses beside the configured ones.
pub(crate) const USERS: &str = "users";
pub(crate) const REVOCATIONS: &str = "revocations";
pub(crate) const METADATA: &str = "syntrix_metadata";
pub(crate) const LEDGER: &str = "syntrix_ledger";

/// Settings of one `mongo` block. Unknown keys are rejected.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    /// Connection URI. May carry a password, hence it never prints. Timeouts and pool size in it win over those below.
    pub(crate) uri: Secret,
    /// Database. Default: `syntrix`.
    #[serde(default = "database")]
    pub(crate) db: String,
    /// Collection of the documents. Default: `documents`.
    #[serde(default = "data_collection")]
    pub(crate) data_collection: String,
    /// Collection of the documents under `sys`. Default: `sys`.
    #[serde(default = "sys_collection")]
    pub(crate) sys_collection: String,
    /// How long tombstones stay. Default: `30d`.
    #[serde(default = "soft_delete_retention")]
    pub(crate) soft_delete_retention: HumanDuration,
    /// How long changes can be watched, as far as the server's oplog reaches; at most `softDeleteRetention`. Default: `72h`.
    #[serde(default = "watch_retention")]
    pub(crate) watch_retention: HumanDuration,
    /// Whether new collections keep what a document was before each change, for watchers that ask. Default: true.
    #[serde(default = "before_images")]
    pub(crate) before_images: bool,
    /// Most connections to one server. Default: 32.
    #[serde(default = "pool_connections_max")]
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) pool_connections_max: u32,
    /// Longest wait for a server that can take the call, an election included. Default: `10s`.
    #[serde(default = "server_selection_timeout")]
    pub(crate) server_selection_timeout: HumanDuration,
    /// Longest wait for a new connection. Default: `5s`.
    #[serde(default = "connect_timeout")]
    pub(crate) connect_timeout: HumanDuration,
    /// Longest wait for one answer of the server if the call has no deadline of its own. Default: `30s`.
    #[serde(default = "operation_timeout")]
    pub(crate) operation_timeout: HumanDuration,
    /// Whether servers other than this machine may be reached without TLS. Default: false.
    #[serde(default)]
    pub(crate) allow_plaintext: bool,
}

fn database() -> String {
    "syntrix".to_owned()
}

fn data_collection() -> String {
    "documents".to_owned()
}

fn sys_collection() -> String {
    "sys".to_owned()
}

fn soft_delete_retention() -> HumanDuration {
    HumanDuration(Retention::default().soft_delete())
}

fn watch_retention() -> HumanDuration {
    HumanDuration(Retention::default().watch())
}

const fn before_images() -> bool {
    true
}

const fn pool_connections_max() -> u32 {
    32
}

const fn server_selection_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}

const fn connect_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(5))
}

const fn operation_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(30))
}

impl Settings {
    /// Reads and checks a block. No I/O.
    pub(crate) fn parse(block: &SettingsNode) -> Result<Self> {
        let settings: Self = block.decode()?;
        check_database(block, &settings.db)?;
        settings.check_collections(block)?;
        settings.retention()?;
        if !(1..=1000).contains(&settings.pool_connections_max) {
            return Err(block.invalid("poolConnectionsMax", "poolConnectionsMax is 1 to 1000"));
        }
        for (key, value) in settings.timeouts() {
            if value.is_zero() {
                return Err(block.invalid(key, "a timeout is longer than nothing"));
            }
        }
        transport(block, &settings.address()?, settings.allow_plaintext)?;
        Ok(settings)
    }

    /// The URI, parsed. The driver's own error may repeat a part of it and stays here.
    pub(crate) fn address(&self) -> Result<ConnectionString> {
        let uri = self.uri.expose();
        if uri.starts_with("mongodb+srv:") && !cfg!(feature = "dns-resolver") {
            return Err(invalid("uri", "this build has no mongodb+srv; name the hosts instead"));
        }
        ConnectionString::parse(uri).map_err(|_| {
            invalid("uri", "uri is no MongoDB connection URI: mongodb://host:port/?options")
        })
    }

    /// How the server is reached; [`Settings::parse`] has checked it.
    pub(crate) fn transport(&self, address: &ConnectionString) -> Result<Transport> {
        let nowhere = SettingsNode::new(SettingsValue::Null, Location::default());
        transport(&nowhere, address, self.allow_plaintext)
    }

    pub(crate) fn retention(&self) -> Result<Retention> {
        Retention::new(self.soft_delete_retention.0, self.watch_retention.0)
    }

    fn timeouts(&self) -> [(&'static str, Duration); 3] {
        [
            ("serverSelectionTimeout", self.server_selection_timeout.0),
            ("connectTimeout", self.connect_timeout.0),
            ("operationTimeout", self.operation_timeout.0),
        ]
    }

    fn check_collections(&self, block: &SettingsNode) -> Result<()> {
        let names =
            [("dataCollection", &self.data_collection), ("sysCollection", &self.sys_collection)];
        for (key, name) in names {
            let plain = !name.is_empty() && name.len() <= 128 && !name.starts_with("system.");
            if !plain || name.contains(['$', '\0']) || name.starts_with('.') {
                let message = "a collection name has 1 to 128 bytes, no $ and does not begin with system. or a dot";
                return Err(block.invalid(key, message));
            }
            if [USERS, REVOCATIONS, METADATA, LEDGER].contains(&name.as_str()) {
                let message =
                    "users, revocations and syntrix_metadata hold other data; choose another name";
                return Err(block.invalid(key, message));
            }
        }
        if self.data_collection == self.sys_collection {
            return Err(block.invalid("sysCollection", "dataCollection and sysCollection differ"));
        }
        Ok(())
    }
}

fn check_database(block: &SettingsNode, name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let room = DATABASE_BYTES_MAX - NAMESPACE_BYTES_MAX;
    if name.is_empty() || name.len() > room || !name.bytes().all(allowed) {
        return Err(block.invalid("db", "db has 1 to 30 characters of A-Z, a-z, 0-9, _ and -"));
    }
    if ["admin", "local", "config"].contains(&name) {
        return Err(block.invalid("db", "this database belongs to the server; choose another one"));
    }
    Ok(())
}

/// How the server is reached: the URI says it all.
fn transport(
    block: &SettingsNode,
    address: &ConnectionString,
    plaintext_allowed: bool,
) -> Result<Transport> {
    let hosts = hosts(&address.host_info);
    let hosts = hosts.iter().map(String::as_str);
    let encrypted = match &address.tls {
        Some(Tls::Enabled(options)) => {
            let unchecked = options.allow_invalid_certificates == Some(true);
            if unchecked && !hosts.clone().all(is_this_machine) {
                let message =
                    "uri turns off the check of certificates; name the CA with tlsCAFile instead";
                return Err(block.invalid("uri", message));
            }
            true
        }
        Some(Tls::Disabled) => false,
        // A seed list from DNS turns TLS on by itself.
        None => matches!(address.host_info, HostInfo::DnsRecord(_)),
    };
    Transport::check(block, encrypted, hosts, plaintext_allowed)
}

/// As the rule for all backends takes them: an empty one is a socket in the file system.
fn hosts(hosts: &HostInfo) -> Vec<String> {
    match hosts {
        HostInfo::HostIdentifiers(hosts) => hosts.iter().map(host).collect(),
        HostInfo::DnsRecord(host) => vec![host.clone()],
        other => vec![format!("{other:?}")],
    }
}

fn host(address: &ServerAddress) -> String {
    match address {
        ServerAddress::Tcp { host, .. } => host.clone(),
        #[cfg(unix)]
        ServerAddress::Unix { .. } => String::new(),
        other => other.to_string(),
    }
}

fn invalid(key: &'static str, message: &'static str) -> Error {
    Error::new(ErrorKind::ConfigInvalid, "config").with_message(message).with_fact("key", key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Settings> {
        let entry = |(key, text): &(&str, &str)| {
            let value = match text.parse::<i64>() {
                Ok(number) => SettingsValue::Integer(number),
                Err(_) if *text == "true" => SettingsValue::Bool(true),
                Err(_) => SettingsValue::Text((*text).to_owned()),
            };
            let node = SettingsNode::new(value, Location::default());
            ((*key).to_owned(), Location::default(), node)
        };
        let map = SettingsValue::Map(pairs.iter().map(entry).collect());
        Settings::parse(&SettingsNode::new(map, Location::default()))
    }

    const LOCAL: (&str, &str) = ("uri", "mongodb://127.0.0.1:1/?replicaSet=rs0");
    const DB: (&str, &str) = ("db", "app");

    #[test]
    fn the_address_is_enough() {
        let settings = parse(&[LOCAL]).unwrap();
        assert_eq!(settings.db, "syntrix");
        assert_eq!(settings.data_collection, "documents");
        assert_eq!(settings.sys_collection, "sys");
        assert!(settings.before_images);
    }

    #[test]
    fn a_name_that_would_meet_other_data_is_refused() {
        for pair in [
            ("db", "admin"),
            ("db", "a.b"),
            ("db", "name-that-leaves-no-room-for-a-namespace"),
            ("dataCollection", "users"),
            ("dataCollection", "sys"),
            ("sysCollection", "system.users"),
            ("sysCollection", "a$b"),
            ("poolConnectionsMax", "0"),
            ("connectTimeout", "0s"),
            ("watchRetention", "31d"),
        ] {
            let error =
                parse(&[LOCAL, DB, pair].map(
                    |(key, text)| {
                        if key == pair.0 { pair } else { (key, text) }
                    },
                ))
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{pair:?}");
        }
    }

    #[test]
    fn another_machine_is_reached_under_tls_only() {
        let plain = ("uri", "mongodb://db.example.com/");
        let refused = parse(&[plain, DB]).unwrap_err();
        assert_eq!(
            (refused.kind(), refused.fact("key")),
            (ErrorKind::ConfigInvalid, Some("allowPlaintext"))
        );
        assert!(parse(&[("uri", "mongodb://db.example.com/?tls=false"), DB]).is_err());
        assert!(parse(&[plain, DB, ("allowPlaintext", "true")]).is_ok());
        assert!(parse(&[("uri", "mongodb://db.example.com/?tls=true"), DB]).is_ok());
        let unchecked = "mongodb://db.example.com/?tls=true&tlsAllowInvalidCertificates=true";
        assert!(parse(&[("uri", unchecked), DB]).is_err());
        assert!(parse(&[("uri", "mongodb://[::1]:27017/"), DB]).is_ok());
    }

    #[test]
    fn a_password_is_in_no_error_and_no_debug() {
        let uri = "mongodb://app:hunter2@db.example.com/?tls=true&nonsense=hunter2";
        let shown = match parse(&[("uri", uri), DB]) {
            Ok(settings) => format!("{settings:?}"),
            Err(error) => format!("{error:?} {error}"),
        };
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
