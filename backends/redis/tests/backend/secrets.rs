//! A password is in nothing that prints.

use std::fmt::Write;

use syntrix_storage_core::{Error, ErrorKind};

use crate::common::{Fixture, context, provider};
use crate::server::{SAFE, Server};

const CANARY: &str = "canary-7c1f6f2d";

/// An error with all that lies below it.
fn chain(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut below: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(source) = below {
        write!(text, " {source} {source:?}").expect("text");
        below = source.source();
    }
    text
}

#[tokio::test]
async fn neither_what_is_open_nor_an_error_shows_a_password() {
    let password = format!("requirepass {CANARY}");
    let server = Server::with(&[SAFE, &[&password]].concat());
    let url = format!("redis://:{CANARY}@{}", server.addr());
    let configured = provider(&[("addr", &url)]).unwrap();
    let mut seen = format!("{configured:?} {}", configured.connection_key());
    let store = Fixture::open(&[("addr", &url)]).await.unwrap();
    write!(seen, "{:?} {:?}", store.backend, store.revocations).unwrap();
    write!(seen, "{:?}", store.revocations.health().await.unwrap()).unwrap();

    let wrong = format!("{CANARY}-but-wrong");
    let addr = server.addr();
    let refused = Fixture::open(&[("addr", &addr), ("password", &wrong)]).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ConfigInvalid, "{refused}");
    let none = Fixture::open(&[("addr", &addr)]).await.err().unwrap();
    assert_eq!(none.kind(), ErrorKind::ConfigInvalid, "{none}");
    let nowhere = format!("redis://:{CANARY}@127.0.0.1:1");
    let unreachable = Fixture::open(&[("addr", &nowhere)]).await.err().unwrap();
    let removed = provider(&[("addr", &nowhere)]).unwrap();
    let removed = removed.remove_namespace(&context(Some("x"))).await.unwrap_err();
    for error in [refused, none, unreachable, removed] {
        write!(seen, " {}", chain(&error)).unwrap();
    }
    assert!(!seen.contains(CANARY), "{seen}");
}

#[tokio::test]
async fn key_names_show_no_token() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    store.revoke(CANARY).await.unwrap();
    let keys: Vec<String> = server.command(&["KEYS", "*"]);
    assert_eq!(keys.len(), 258, "256 marks, the store's entry and the record");
    assert!(keys.iter().all(|key| !key.contains(CANARY)));
}
