//! Encrypted connections: trusted by authority and name, or not made.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use syntrix_storage_core::backend::OpenContext;
use syntrix_storage_core::{ErrorKind, Result};
use tempfile::TempDir;

use crate::common::provider;
use crate::server::Server;

/// An authority, a certificate for `localhost` and one for the role `admin`.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let all = Self(tempfile::tempdir().expect("folder"));
        let authority = ["-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem"];
        all.openssl(
            &[&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"], &authority[..]]
                .concat(),
        );
        all.issue(
            "server",
            "/CN=localhost",
            "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth",
        );
        all.issue("client", "/CN=admin", "extendedKeyUsage=clientAuth");
        all
    }

    fn issue(&self, name: &str, subject: &str, extensions: &str) {
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        let (certificate, extra) = (format!("{name}.pem"), format!("{name}.ext"));
        let extensions = extensions.replace("\\n", "\n");
        std::fs::write(self.0.path().join(&extra), extensions).expect("extensions");
        let ask = [
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", &key, "-out",
            &request,
        ];
        self.openssl(&ask);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &extra,
            "-out",
            &certificate,
        ]);
    }

    fn openssl(&self, arguments: &[&str]) {
        let made = Command::new("openssl").args(arguments).current_dir(self.0.path()).output();
        let made = made.expect("the program openssl is needed to make certificates");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A server that takes nothing but TLS, from roles that show a certificate if `client` says so.
fn start(certificates: &Certificates, client: bool) -> Server {
    let server = Server::start(&[]);
    server.run("pg_ctl", &["-w", "-m", "fast", "stop"]);
    let data = server.data();
    for name in ["server.pem", "server.key", "ca.pem"] {
        copy_as_owner(&certificates.file(name), &data.join(name), &data);
    }
    let more = data.join("more.conf");
    let settings = std::fs::read_to_string(&more).expect("settings")
        + "ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\nssl_ca_file = 'ca.pem'\n";
    std::fs::write(&more, settings).expect("settings");
    let method = if client { "cert" } else { "trust" };
    std::fs::write(data.join("pg_hba.conf"), format!("hostssl all all 127.0.0.1/32 {method}\n"))
        .expect("rules");
    server.up();
    server
}

/// The server refuses a key that is not its own or that others may read.
fn copy_as_owner(from: &Path, to: &Path, like: &Path) {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    std::fs::copy(from, to).expect("copy");
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o600)).expect("mode");
    let owner = std::fs::metadata(like).expect("owner");
    chown(to, Some(owner.uid()), Some(owner.gid())).expect("owner");
}

async fn open(host: &str, port: u16, settings: Value) -> Result<()> {
    open_in(Path::new("unused"), host, port, settings).await
}

async fn open_in(data_dir: &Path, host: &str, port: u16, settings: Value) -> Result<()> {
    let mut block = json!({"dsn": format!("postgres://admin@{host}:{port}/postgres")});
    block.as_object_mut().expect("block").extend(settings.as_object().expect("settings").clone());
    let backend = provider(&block).open(&OpenContext::new(data_dir)).await?;
    backend.documents().expect("documents").health().await?;
    backend.close().await
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_its_name_alone() {
    let certificates = Certificates::new();
    let server = start(&certificates, false);
    let ours = || json!({"ca": certificates.file("ca.pem")});
    open("localhost", server.port, json!({"tls": ours()})).await.expect("open");
    let relative = json!({"tls": {"ca": "ca.pem"}});
    let folder = certificates.0.path();
    open_in(folder, "localhost", server.port, relative).await.expect("in the data directory");
    let strangers = json!({"tls": {"mode": "require"}});
    let error = open("localhost", server.port, strangers).await.expect_err("trusted a stranger");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    let error = open("127.0.0.1", server.port, json!({"tls": ours()})).await;
    assert_eq!(error.expect_err("trusted another name").kind(), ErrorKind::ConfigInvalid);
    open("localhost", server.port, json!({})).await.expect_err("spoke in plaintext");
}

#[tokio::test]
async fn a_client_certificate_is_the_login() {
    let certificates = Certificates::new();
    let server = start(&certificates, true);
    let without = json!({"tls": {"ca": certificates.file("ca.pem")}});
    open("localhost", server.port, without).await.expect_err("let in without a certificate");
    let with = json!({"tls": {
        "ca": certificates.file("ca.pem"),
        "certificate": certificates.file("client.pem"),
        "key": certificates.file("client.key"),
    }});
    open("localhost", server.port, with).await.expect("open");
}
