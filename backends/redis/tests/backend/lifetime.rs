//! Closing, and what is left behind: nothing.

use std::time::{Duration, Instant};

use syntrix_storage_core::ErrorKind;

use crate::common::{Fixture, provider};
use crate::server::Server;

/// Connections other than the one that asks.
fn others(server: &Server) -> usize {
    let list: String = server.command(&["CLIENT", "LIST", "TYPE", "NORMAL"]);
    list.lines().count() - 1
}

async fn until_gone(server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while others(server) > 0 {
        assert!(Instant::now() < deadline, "connections are left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn close_leaves_no_connection_and_every_later_call_is_closed() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    store.revoke("a").await.unwrap();
    assert_eq!(others(&server), 1);
    store.revocations.close().await.unwrap();
    store.revocations.close().await.unwrap();
    until_gone(&server).await;
    assert_eq!(store.find("a").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.revoke("a").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.revocations.health().await.unwrap_err().kind(), ErrorKind::Closed);
    store.backend.close().await.unwrap();
}

#[tokio::test]
async fn the_connection_ends_with_the_last_of_several_handles() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    let second = store.backend.revocations().unwrap();
    store.revocations.close().await.unwrap();
    let token = crate::common::token("a");
    assert!(second.get(&token, &crate::common::read()).await.is_ok());
    assert_eq!(others(&server), 1);
    drop(second);
    until_gone(&server).await;
}

#[tokio::test]
async fn a_store_that_could_not_be_opened_leaves_no_connection() {
    let server = Server::with(&["appendonly no"]);
    assert!(Fixture::open(&[("addr", &server.addr())]).await.is_err());
    until_gone(&server).await;
}

#[tokio::test]
async fn dropped_without_close_it_lets_go_as_well() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    store.revoke("a").await.unwrap();
    drop(store);
    until_gone(&server).await;
}

#[tokio::test]
async fn configuring_connects_to_nothing() {
    let server = Server::safe();
    let provider = provider(&[("addr", &server.addr())]).unwrap();
    assert!(provider.connection_key().contains(&server.addr()));
    assert_eq!(others(&server), 0);
}

#[tokio::test]
async fn health_tells_role_release_and_what_an_acknowledgement_is_worth() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    let health = store.revocations.health().await.unwrap();
    assert!(health.ready);
    let fact = |name: &str| {
        let found = health.facts.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("no {name}: {health:?}"))
    };
    assert_eq!(
        (fact("role"), fact("durability")),
        ("primary".into(), "every write on disk".into())
    );
    assert!(fact("release").starts_with(|digit: char| digit.is_ascii_digit()));
    assert_eq!((fact("evictedKeys"), fact("replicas")), ("0".into(), "0".into()));
}
