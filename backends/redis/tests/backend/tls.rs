//! Encrypted connections, with certificates of an authority of our own.

use syntrix_storage_core::ErrorKind;

use crate::common::Fixture;
use crate::server::{SAFE, Server, free_port};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls");

struct TlsServer {
    /// Speaks plaintext on its own port too, which is how the test knows that it is up.
    _server: Server,
    url: String,
}

fn server(clients: &str) -> TlsServer {
    let port = free_port();
    let lines = [
        format!("tls-port {port}"),
        format!("tls-cert-file {FOLDER}/server.pem"),
        format!("tls-key-file {FOLDER}/server.key"),
        format!("tls-ca-cert-file {FOLDER}/ca.pem"),
        format!("tls-auth-clients {clients}"),
    ];
    let lines: Vec<_> = SAFE.iter().copied().chain(lines.iter().map(String::as_str)).collect();
    TlsServer { _server: Server::with(&lines), url: format!("rediss://localhost:{port}") }
}

#[tokio::test]
async fn a_server_with_a_certificate_of_the_named_authority_is_trusted() {
    let server = server("no");
    // Relative to the data directory, which is this crate's folder here.
    let settings = [("addr", server.url.as_str()), ("tls.ca", "tests/tls/ca.pem")];
    let store = Fixture::open(&settings).await.unwrap();
    store.revoke("a").await.unwrap();
    assert!(store.find("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_refused() {
    let server = server("no");
    let error = Fixture::open(&[("addr", &server.url)]).await.err().expect("trusted");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_server_that_asks_for_our_certificate_gets_it() {
    let server = server("yes");
    let ca = ("tls.ca", "tests/tls/ca.pem");
    let without = Fixture::open(&[("addr", server.url.as_str()), ca]).await;
    assert_eq!(without.err().expect("accepted").kind(), ErrorKind::Unavailable);
    let certificate = ("tls.certificate", "tests/tls/client.pem");
    let key = ("tls.key", "tests/tls/client.key");
    let with = [("addr", server.url.as_str()), ca, certificate, key];
    Fixture::open(&with).await.unwrap().revoke("a").await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let settings = [("addr", "rediss://localhost:1"), ("tls.ca", "tests/tls/none.pem")];
    let error = Fixture::open(&settings).await.err().expect("opened");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(
        error.fact("path").is_some_and(|path| path.ends_with("/tests/tls/none.pem")),
        "{error}"
    );
}
