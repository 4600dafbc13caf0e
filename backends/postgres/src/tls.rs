//! TLS as configured: whom to trust, and who we are.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use syntrix_storage_core::{Error, ErrorKind, Result, TlsSettings};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How connections are made.
#[derive(Clone)]
pub(crate) enum Tls {
    Off,
    On(MakeRustlsConnect),
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if matches!(self, Self::Off) { "Off" } else { "On" })
    }
}

impl Tls {
    /// Reads the files. The crypto provider is named, so that no dependency can change it.
    pub(crate) fn verified(settings: &TlsSettings) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| invalid("tls", "TLS cannot be set up"))?
            .with_root_certificates(roots(settings)?);
        let config = match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates("certificate", certificate)?, private_key(key)?)
                .map_err(|_| invalid("tls.key", "the key does not belong to the certificate"))?,
            _ => builder.with_no_client_auth(),
        };
        Ok(Self::On(MakeRustlsConnect::new(config)))
    }
}

fn roots(settings: &TlsSettings) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let trusted = match &settings.ca {
        Some(file) => certificates("ca", file)?,
        // Certificates of the machine that cannot be read are as good as absent: verification fails without them.
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(trusted);
    if roots.is_empty() {
        return Err(invalid("tls.ca", "there is no authority to trust; name one in tls.ca"));
    }
    Ok(roots)
}

fn certificates(what: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unreadable = |_| unreadable(what);
    let all = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
    let all: Vec<_> = all.collect::<std::result::Result<_, _>>().map_err(unreadable)?;
    if all.is_empty() { Err(self::unreadable(what)) } else { Ok(all) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file).map_err(|_| unreadable("key"))
}

/// The parser's own text may quote the file.
fn unreadable(what: &'static str) -> Error {
    invalid("tls", "a PEM file cannot be read or holds nothing of its kind").with_fact("file", what)
}

fn invalid(key: &'static str, message: &'static str) -> Error {
    Error::new(ErrorKind::ConfigInvalid, "open").with_message(message).with_fact("key", key)
}
