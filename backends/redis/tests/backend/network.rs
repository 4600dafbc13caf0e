//! Answers that are lost or late.

use std::time::{Duration, Instant};

use syntrix_storage_core::ErrorKind;
use syntrix_storage_core::backend::Insertion;

use crate::common::{Fixture, read, token};
use crate::proxy::Proxy;
use crate::server::Server;

#[tokio::test]
async fn a_rotation_whose_answer_is_lost_is_won_once_and_told_so() {
    let server = Server::safe();
    let proxy = Proxy::to(server.port()).await;
    let store = Fixture::open(&[("addr", &proxy.addr())]).await.unwrap();
    for round in 0..20 {
        let name = format!("refresh {round}");
        proxy.lose_next_answer();
        // The watcher's question may be the one whose answer is lost.
        let first = store.insert(&name).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(first, Insertion::Inserted, "{round}");
        assert!(matches!(store.insert(&name).await.unwrap(), Insertion::Present(_)));
    }
}

#[tokio::test]
async fn a_check_whose_answer_is_lost_is_asked_again() {
    let server = Server::safe();
    let proxy = Proxy::to(server.port()).await;
    let store = Fixture::open(&[("addr", &proxy.addr())]).await.unwrap();
    store.revoke("a").await.unwrap();
    for _ in 0..20 {
        proxy.lose_next_answer();
        assert!(store.find("a").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_connection_that_the_server_cuts_is_replaced() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    store.revoke("a").await.unwrap();
    for _ in 0..10 {
        server.command::<u32>(&["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"]);
        assert!(store.find("a").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_server_that_is_silent_costs_no_more_than_the_deadline() {
    let server = Server::safe();
    let settings = [("addr", server.addr()), ("operationTimeout", "700ms".into())];
    let settings = settings.each_ref().map(|(key, value)| (*key, value.as_str()));
    let store = Fixture::open(&settings).await.unwrap();
    store.revoke("a").await.unwrap();
    server.freeze();
    let asked = |deadline| {
        let store = &store;
        async move {
            let started = Instant::now();
            let context = read().with_deadline(deadline);
            let error = store.revocations.get(&token("a"), &context).await.unwrap_err();
            (error.kind(), started.elapsed())
        }
    };
    let (kind, after) = asked(Some(Instant::now() + Duration::from_millis(100))).await;
    assert_eq!(kind, ErrorKind::Timeout);
    assert!(after >= Duration::from_millis(95) && after < Duration::from_millis(600), "{after:?}");
    let (kind, after) = asked(None).await;
    assert_eq!(kind, ErrorKind::Timeout);
    assert!(after >= Duration::from_millis(650) && after < Duration::from_secs(3), "{after:?}");
    // Long enough for the watcher to give the connection up.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    server.thaw();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match store.find("a").await {
            Ok(found) => break assert!(found.is_some()),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn while_nobody_is_there_calls_fail_soon_and_all_recover_at_once() {
    let mut server = Server::safe();
    let store = std::sync::Arc::new(Fixture::on(&server).await);
    store.revoke("a").await.unwrap();
    server.kill();
    for _ in 0..200 {
        let started = Instant::now();
        assert_eq!(store.find("a").await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(started.elapsed() < Duration::from_millis(500));
    }
    server.start();
    let started = Instant::now();
    let calls = (0..64).map(|_| {
        let store = std::sync::Arc::clone(&store);
        tokio::spawn(async move {
            while store.find("a").await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let list: String = server.command(&["CLIENT", "LIST", "TYPE", "NORMAL"]);
    assert_eq!(list.lines().count(), 2, "one connection and the one that asks:\n{list}");
}
