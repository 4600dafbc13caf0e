//! What is acknowledged is on the replicas that must have it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::Insertion;
use syntrix_storage_core::{Error, ErrorKind, Retry, RevokeOutcome};

use crate::common::Fixture;
use crate::server::{SAFE, Server};

pub fn replica_of(primary: &Server) -> Server {
    let follow = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Server::with(&[SAFE, &[&follow]].concat());
    let deadline = Instant::now() + Duration::from_secs(30);
    let follows = || -> bool {
        replica.command::<String>(&["INFO", "replication"]).contains("master_link_status:up")
    };
    while !follows() {
        assert!(Instant::now() < deadline, "the replica does not follow");
        std::thread::sleep(Duration::from_millis(20));
    }
    replica
}

async fn open(primary: &Server, replicas: &str) -> Fixture {
    open_within(primary, replicas, "1s").await
}

/// One that does not wait long for replicas that do not answer.
async fn open_within(primary: &Server, replicas: &str, limit: &str) -> Fixture {
    open_at(&primary.addr(), replicas, limit).await
}

pub async fn open_at(addr: &str, replicas: &str, limit: &str) -> Fixture {
    let settings = [("addr", addr), ("minReplicas", replicas), ("replicaTimeout", limit)];
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match Fixture::open(&settings).await {
            Ok(store) => return store,
            // Its replicas have only just come.
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

fn expect_unconfirmed(error: &Error, having: &str) {
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::IfIdempotent),
        "{error}"
    );
    assert_eq!(error.fact("replicas_confirmed"), Some(having), "{error}");
    assert!(error.to_string().contains("minReplicas"), "{error}");
}

#[tokio::test]
async fn what_is_acknowledged_is_on_the_replica_before_it_is() {
    let primary = Server::safe();
    let replica = replica_of(&primary);
    let store = open(&primary, "1").await;
    for number in 0..200 {
        store.revoke(&number.to_string()).await.unwrap();
        assert_eq!(replica.command::<u32>(&["DBSIZE"]), 258 + number);
    }
    store.close().await;
}

#[tokio::test]
async fn a_silent_replica_delays_no_check_and_what_it_lacks_is_not_acknowledged() {
    let primary = Server::safe();
    let replica = replica_of(&primary);
    let store = Arc::new(open_within(&primary, "1", "500ms").await);
    store.revoke("before").await.unwrap();
    replica.freeze();
    let revoking = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.revoke("a").await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..20 {
        let asked = Instant::now();
        assert!(store.find("before").await.unwrap().is_some());
        assert!(asked.elapsed() < Duration::from_millis(300), "{:?}", asked.elapsed());
    }
    assert!(!revoking.is_finished(), "the check was no faster");
    expect_unconfirmed(&revoking.await.unwrap().unwrap_err(), "0");
    // It was written all the same.
    assert!(store.find("a").await.unwrap().is_some());
    // Neither who repeats it nor anybody else is told that it is safe: another connection has written nothing itself.
    expect_unconfirmed(&store.revoke("a").await.unwrap_err(), "0");
    let other = open_within(&primary, "1", "500ms").await;
    expect_unconfirmed(&other.revoke("a").await.unwrap_err(), "0");
    expect_unconfirmed(&other.insert("a").await.unwrap_err(), "0");
    replica.thaw();
    assert_eq!(store.revoke("a").await.unwrap(), RevokeOutcome::Unchanged);
    assert_eq!(other.revoke("a").await.unwrap(), RevokeOutcome::Unchanged);
}

/// A change that comes while others wait for replicas waits for them first.
#[tokio::test]
async fn who_waits_behind_others_is_told_of_the_replicas_and_not_of_a_timeout() {
    let primary = Server::safe();
    let replica = replica_of(&primary);
    let store = Arc::new(open(&primary, "1").await);
    replica.freeze();
    let calls = (0..20_u64).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number * 70)).await;
            store.revoke(&number.to_string()).await
        })
    });
    for call in calls.collect::<Vec<_>>() {
        expect_unconfirmed(&call.await.unwrap().unwrap_err(), "0");
    }
    replica.thaw();
}

/// Nobody is told that a rotation was won that a failover may undo, and it is not won twice.
#[tokio::test]
async fn a_rotation_that_no_replica_confirms_is_not_won() {
    let primary = Server::safe();
    let replica = replica_of(&primary);
    let store = open_within(&primary, "1", "500ms").await;
    replica.freeze();
    expect_unconfirmed(&store.insert("refresh").await.unwrap_err(), "0");
    replica.thaw();
    assert!(matches!(store.insert("refresh").await.unwrap(), Insertion::Present(_)));
    assert_eq!(store.insert("other").await.unwrap(), Insertion::Inserted);
}

#[tokio::test]
async fn as_many_replicas_as_asked_for_must_have_it() {
    let primary = Server::safe();
    let (first, second) = (replica_of(&primary), replica_of(&primary));
    let (one, both) =
        (open_within(&primary, "1", "500ms").await, open_within(&primary, "2", "500ms").await);
    both.revoke("a").await.unwrap();
    second.freeze();
    one.revoke("b").await.unwrap();
    expect_unconfirmed(&both.revoke("c").await.unwrap_err(), "1");
    second.thaw();
    both.revoke("c").await.unwrap();
    assert_eq!(first.command::<u32>(&["DBSIZE"]), 260);
}

#[tokio::test]
async fn changes_at_the_same_time_wait_together() {
    let primary = Server::safe();
    let _replica = replica_of(&primary);
    let store = Arc::new(open(&primary, "1").await);
    let calls = (0..1000).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.revoke(&number.to_string()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap(), RevokeOutcome::Inserted);
    }
    let stats: String = primary.command(&["INFO", "commandstats"]);
    let waits = stats.split("cmdstat_wait:calls=").nth(1).unwrap().split(',').next().unwrap();
    assert!(waits.parse::<u32>().unwrap() < 100, "{waits} waits for 1000 changes");
}

/// A server that has forgotten the script, and one whose connections were cut: the changes are made, once.
#[tokio::test]
async fn changes_that_wait_outlive_a_lost_script_and_a_lost_connection() {
    let primary = Server::safe();
    let _replica = replica_of(&primary);
    let store = open(&primary, "1").await;
    for number in 0..10 {
        primary.command::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(store.insert(&format!("s{number}")).await.unwrap(), Insertion::Inserted);
        primary.command::<u32>(&["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"]);
        assert_eq!(store.insert(&format!("c{number}")).await.unwrap(), Insertion::Inserted);
    }
}

#[tokio::test]
async fn health_tells_how_many_replicas_must_have_a_revocation_and_whether_they_are_there() {
    let primary = Server::safe();
    let mut replica = replica_of(&primary);
    let store = open(&primary, "1").await;
    let health = store.revocations.health().await.unwrap();
    assert!(health.ready, "{health:?}");
    assert!(health.facts.contains(&("replicasNeeded".to_owned(), "1".to_owned())), "{health:?}");
    replica.kill();
    let deadline = Instant::now() + Duration::from_secs(10);
    while store.revocations.health().await.unwrap().ready {
        assert!(Instant::now() < deadline, "ready without its replica");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A new store is not made where nothing can be revoked.
#[tokio::test]
async fn without_a_replica_a_new_store_is_not_made_and_the_setting_is_named() {
    let primary = Server::safe();
    let addr = primary.addr();
    let settings = [("addr", addr.as_str()), ("minReplicas", "1"), ("replicaTimeout", "100ms")];
    expect_unconfirmed(&Fixture::open(&settings).await.err().unwrap(), "0");
    let settings = [("addr", addr.as_str()), ("minReplicas", "0")];
    Fixture::open(&settings).await.unwrap().revoke("a").await.unwrap();
}
