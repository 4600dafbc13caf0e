//! What a server must be, and how a store comes into being.

use std::time::{Duration, Instant};

use syntrix_storage_core::ErrorKind;

use crate::common::{Fixture, context, provider, shared_server};
use crate::server::{SAFE, Server, free_port};

async fn refused(server: &Server, more: &[(&str, &str)]) -> String {
    let addr = server.addr();
    let settings = [&[("addr", addr.as_str())], more].concat();
    let error = Fixture::open(&settings).await.err().expect("the server was accepted");
    assert!(matches!(error.kind(), ErrorKind::ConfigInvalid | ErrorKind::Unavailable), "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_server_that_evicts_is_refused_unless_that_is_declared() {
    let server = Server::with(&["appendonly yes", "maxmemory-policy volatile-lru"]);
    assert!(refused(&server, &[]).await.contains("acceptEviction"));
    let addr = server.addr();
    let declared = Fixture::open(&[("addr", &addr), ("acceptEviction", "true")]).await.unwrap();
    assert!(!declared.revocations.capabilities().durable);
    let health = declared.revocations.health().await.unwrap();
    assert!(health.facts.contains(&("durability".into(), "evicting".into())), "{health:?}");
}

#[tokio::test]
async fn a_server_without_an_append_only_file_is_refused_unless_that_is_declared() {
    // Snapshots alone lose the newest revocations.
    let server = Server::with(&["appendonly no", "save 60 1"]);
    assert!(refused(&server, &[]).await.contains("acceptVolatile"));
    let addr = server.addr();
    let declared = Fixture::open(&[("addr", &addr), ("acceptVolatile", "true")]).await.unwrap();
    assert!(!declared.revocations.capabilities().durable);
    let health = declared.revocations.health().await.unwrap();
    assert!(health.facts.contains(&("durability".into(), "none".into())), "{health:?}");
}

#[tokio::test]
async fn a_replica_and_a_node_of_a_cluster_are_refused() {
    let primary = Server::safe();
    let replica_of = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Server::with(&[SAFE, &[&replica_of]].concat());
    assert!(refused(&replica, &[]).await.contains("replica"));
    let bus = format!("cluster-port {}", free_port());
    let node = Server::with(&[SAFE, &["cluster-enabled yes", &bus]].concat());
    assert!(refused(&node, &[]).await.contains("cluster: true"));
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let mut server = Server::safe();
    server.kill();
    let started = Instant::now();
    assert!(refused(&server, &[]).await.contains("refuses connections"));
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_store_is_made_once_and_found_again() {
    let server = Server::safe();
    let first = Fixture::on(&server).await;
    assert!(first.revocations.capabilities().durable);
    first.revoke("a").await.unwrap();
    let again = Fixture::on(&server).await;
    assert_eq!(again.revocations.canary(), first.revocations.canary());
    assert!(again.find("a").await.unwrap().is_some());
    let entry: String = server.command(&["GET", "syntrix:rev:{00}:store"]);
    assert!(entry.starts_with("2 complete "), "{entry}");
}

#[tokio::test]
async fn many_that_open_a_new_store_at_the_same_time_open_the_same_one() {
    let server = Server::safe();
    let addr = server.addr();
    let open = || {
        let addr = addr.clone();
        tokio::spawn(async move { Fixture::open(&[("addr", &addr)]).await.unwrap() })
    };
    let opening: Vec<_> = (0..8).map(|_| open()).collect();
    let mut marks = Vec::new();
    for opened in opening {
        marks.push(opened.await.unwrap().revocations.canary());
    }
    assert!(marks.iter().all(|mark| *mark == marks[0]), "{marks:?}");
}

#[tokio::test]
async fn a_store_whose_making_was_interrupted_is_finished() {
    let server = Server::safe();
    let id = "000102030405060708090a0b0c0d0e0f";
    server.command::<()>(&["SET", "syntrix:rev:{00}:store", &format!("2 creating {id}")]);
    server.command::<()>(&["SET", "syntrix:rev:{07}:canary", id]);
    let store = Fixture::on(&server).await;
    assert_eq!(store.revocations.canary().0[..4], [0, 1, 2, 3]);
    let entry: String = server.command(&["GET", "syntrix:rev:{00}:store"]);
    assert_eq!(entry, format!("2 complete {id}"));
}

#[tokio::test]
async fn a_namespace_is_removed_whole_and_alone() {
    let url = shared_server();
    let settings = [("addr", url.as_str())];
    let name = format!("redis_{:08x}", fastrand::u32(..));
    let other = format!("{name}_other");
    let store = Fixture::in_namespace(&settings, Some(&name)).await.unwrap();
    let neighbour = Fixture::in_namespace(&settings, Some(&other)).await.unwrap();
    for number in 0..100 {
        store.revoke(&number.to_string()).await.unwrap();
        neighbour.revoke(&number.to_string()).await.unwrap();
    }
    store.close().await;
    provider(&settings).unwrap().remove_namespace(&context(Some(&name))).await.unwrap();
    assert!(neighbour.find("7").await.unwrap().is_some());
    neighbour.close().await;

    let again = Fixture::in_namespace(&settings, Some(&name)).await.unwrap();
    assert!(again.find("7").await.unwrap().is_none());
    again.close().await;
    for name in [name, other] {
        provider(&settings).unwrap().remove_namespace(&context(Some(&name))).await.unwrap();
    }
    let configured = provider(&settings).unwrap().remove_namespace(&context(None)).await;
    assert_eq!(configured.unwrap_err().kind(), ErrorKind::InvalidArgument);
}
