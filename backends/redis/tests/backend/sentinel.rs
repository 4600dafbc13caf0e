//! A primary, its replica and a sentinel: a failover under an open store.

use std::time::{Duration, Instant};

use crate::common::Fixture;
use crate::server::{SAFE, Server};

struct Watched {
    primary: Server,
    replica: Server,
    sentinel: Server,
}

fn watched() -> Watched {
    let primary = Server::safe();
    let follow = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Server::with(&[SAFE, &[&follow]].concat());
    let monitor = format!("sentinel monitor main 127.0.0.1 {} 1", primary.port());
    let sentinel = Server::sentinel(&[
        &monitor,
        "sentinel down-after-milliseconds main 500",
        "sentinel failover-timeout main 5000",
    ]);
    let watched = Watched { primary, replica, sentinel };
    until("the sentinel knows the replica", || {
        let known: Vec<Vec<String>> = watched.sentinel.command(&["SENTINEL", "REPLICAS", "main"]);
        let info: String = watched.replica.command(&["INFO", "replication"]);
        known.len() == 1 && info.contains("master_link_status:up")
    });
    watched
}

fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !is() {
        assert!(Instant::now() < deadline, "not yet: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test]
async fn the_primary_is_found_through_a_sentinel_and_followed_through_a_failover() {
    let mut servers = watched();
    let addr = servers.sentinel.addr();
    let settings = [("addr", addr.as_str()), ("sentinel.master", "main")];
    let store = Fixture::open(&settings).await.unwrap();
    for number in 0..100 {
        store.revoke(&number.to_string()).await.unwrap();
    }
    assert_eq!(
        servers.replica.command::<u32>(&["DBSIZE"]),
        357,
        "acknowledged before it was there"
    );
    servers.primary.kill();
    let deadline = Instant::now() + Duration::from_secs(40);
    while let Err(error) = store.find("7").await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let role: Vec<redis::Value> = servers.replica.command(&["ROLE"]);
    assert_eq!(role[0], redis::Value::BulkString(b"master".to_vec()));
    for number in 0..100 {
        assert!(store.find(&number.to_string()).await.unwrap().is_some(), "{number}");
    }
    // Nobody would have it if this one died, too.
    let error = store.revoke("after").await.unwrap_err();
    assert_eq!(error.fact("replicas_needed"), Some("1"), "{error}");
    let follow = format!("replicaof 127.0.0.1 {}", servers.replica.port());
    servers.primary.start_with(&[SAFE, &[&follow]].concat());
    let deadline = Instant::now() + Duration::from_secs(40);
    while let Err(error) = store.revoke("after").await {
        assert!(Instant::now() < deadline, "{error}");
    }
    assert!(store.find("after").await.unwrap().is_some());
    store.close().await;
}

/// A primary that was replaced and does not know it yet is left, although it answers: what is revoked elsewhere it does
/// not get any more. Its sentinel tells it after ten seconds only.
#[tokio::test]
async fn a_primary_that_was_replaced_is_left_before_it_knows_it() {
    let servers = watched();
    let addr = servers.sentinel.addr();
    let settings = [("addr", addr.as_str()), ("sentinel.master", "main")];
    let store = Fixture::open(&settings).await.unwrap();
    assert_eq!(
        servers.replica.command::<u32>(&["DBSIZE"]),
        257,
        "opened before the marks were there"
    );
    // It has to hear from the replica first.
    until("the sentinel begins a failover", || {
        servers.sentinel.try_command::<String>(&["SENTINEL", "FAILOVER", "main"]).is_ok()
    });
    let is_primary = || {
        let info: String = servers.replica.command(&["INFO", "replication"]);
        info.contains("role:master")
    };
    until("the replica is the primary", is_primary);
    let port = servers.replica.port().to_string();
    until("the sentinel names it", || {
        let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"];
        servers.sentinel.command::<Vec<String>>(&question)[1] == port
    });

    let before: u32 = servers.replica.command(&["DBSIZE"]);
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut number = 0;
    while servers.replica.command::<u32>(&["DBSIZE"]) <= before {
        assert!(Instant::now() < deadline, "the store still uses the primary that was replaced");
        number += 1;
        // It may be told in between that the server is a replica.
        let _ = store.revoke(&number.to_string()).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.close().await;
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_told() {
    let servers = watched();
    let addr = servers.sentinel.addr();
    let error =
        Fixture::open(&[("addr", &addr), ("sentinel.master", "other")]).await.err().unwrap();
    assert!(error.to_string().contains("sentinels name no primary"), "{error}");
}
