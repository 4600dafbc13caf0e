//! A primary, its replica and a sentinel: a failover under an open store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use syntrix_storage_core::ErrorKind;

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
    let store = opened(&settings).await;
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

/// A new store is made only when enough replicas confirm it, which they cannot while they still connect.
async fn opened(settings: &[(&str, &str)]) -> Fixture {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match Fixture::open(settings).await {
            Ok(store) => return store,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A primary that was replaced and does not know it yet is left, although it answers: what is revoked elsewhere it does
/// not get any more. Its sentinel tells it after ten seconds only.
#[tokio::test]
async fn a_primary_that_was_replaced_is_left_before_it_knows_it() {
    let servers = watched();
    let addr = servers.sentinel.addr();
    let settings = [("addr", addr.as_str()), ("sentinel.master", "main")];
    let store = opened(&settings).await;
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
    until("the sentinel names it", || named_by(&servers.sentinel) == port);

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

/// Whoever asks for a failover takes no revocation back, nor holds revocations up for long: the old primary, which does not
/// know for a while that it was replaced, and the replica that still follows it, acknowledge nothing that the new one has not
/// got, and the new one does not wait for the old one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_around_a_failover_on_request_is_on_the_new_primary() {
    let servers = watched();
    let second = crate::replicas::replica_of(&servers.primary);
    let replicas =
        || -> Vec<redis::Value> { servers.sentinel.command(&["SENTINEL", "REPLICAS", "main"]) };
    until("the sentinel knows both replicas", || replicas().len() == 2);
    let addr = servers.sentinel.addr();
    let settings = [("addr", addr.as_str()), ("sentinel.master", "main")];
    let store = Arc::new(opened(&settings).await);
    let stop = Arc::new(AtomicBool::new(false));
    let revoking = (0..4).map(|task| tokio::spawn(revoke_until(store.clone(), stop.clone(), task)));
    let revoking: Vec<_> = revoking.collect();
    until("the sentinel begins a failover", || {
        servers.sentinel.try_command::<()>(&["SENTINEL", "FAILOVER", "main"]).is_ok()
    });
    let old = servers.primary.port().to_string();
    until("the sentinel names another", || named_by(&servers.sentinel) != old);
    let chosen = Instant::now();
    // Until the old one has been told, and follows.
    tokio::time::sleep(Duration::from_secs(14)).await;
    stop.store(true, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    for task in revoking {
        acknowledged.extend(task.await.unwrap());
    }
    assert!(acknowledged.len() > 100, "{} acknowledged", acknowledged.len());
    for (name, _) in &acknowledged {
        assert!(store.find(name).await.unwrap().is_some(), "{name} of {}", acknowledged.len());
    }
    let after = acknowledged.iter().filter_map(|(_, at)| at.checked_duration_since(chosen)).min();
    eprintln!("first acknowledged {after:?} after another primary was chosen");
    assert!(after.unwrap() < Duration::from_secs(3), "{after:?}");
    drop(second);
}

/// Revokes one after the other. Tells what was acknowledged, and when.
async fn revoke_until(
    store: Arc<Fixture>,
    stop: Arc<AtomicBool>,
    task: usize,
) -> Vec<(String, Instant)> {
    let (mut acknowledged, mut number) = (Vec::new(), 0);
    while !stop.load(Ordering::SeqCst) {
        let name = format!("{task}-{number}");
        if store.revoke(&name).await.is_ok() {
            acknowledged.push((name, Instant::now()));
        }
        number += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    acknowledged
}

/// The port of the primary that a sentinel names.
fn named_by(sentinel: &Server) -> String {
    let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"];
    sentinel.command::<Vec<String>>(&question).remove(1)
}

/// A sentinel is asked again and again over one connection, and over another one when that has ended; none is left behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_has_one_connection_which_ends_with_the_store() {
    let mut servers = watched();
    let addr = servers.sentinel.addr();
    let settings = [("addr", addr.as_str()), ("sentinel.master", "main")];
    let accepted = |sentinel: &Server| -> u64 {
        let info: String = sentinel.command(&["INFO", "stats"]);
        let mut lines = info.lines();
        lines
            .find_map(|it| it.strip_prefix("total_connections_received:"))
            .unwrap()
            .parse()
            .unwrap()
    };
    let store = opened(&settings).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = accepted(&servers.sentinel);
    tokio::time::sleep(Duration::from_millis(3500)).await;
    // This test's own question, and one of the first of the watcher's at most.
    let more = accepted(&servers.sentinel) - before;
    assert!(more <= 2, "{more} connections");

    servers.sentinel.kill();
    servers.sentinel.start();
    until("the sentinel knows the replica again", || {
        replica_says(&servers.sentinel, &servers.replica, "flags") == "slave"
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    store.revoke("after").await.unwrap();
    let clients = |sentinel: &Server| -> usize {
        let listed: String = sentinel.command(&["CLIENT", "LIST", "TYPE", "NORMAL"]);
        listed.lines().count()
    };
    assert_eq!(clients(&servers.sentinel), 2, "the store's and this one");
    store.close().await;
    until("only this test's connection is left", || clients(&servers.sentinel) == 1);
}

/// What one sentinel alone takes for dead the others may promote: it may be the one that is cut off.
#[tokio::test]
async fn a_replica_that_only_a_minority_takes_for_dead_is_waited_for() {
    let first = watched();
    let second = crate::replicas::replica_of(&first.primary);
    let monitor = format!("sentinel monitor main 127.0.0.1 {} 1", first.primary.port());
    let another = || Server::sentinel(&[&monitor, "sentinel down-after-milliseconds main 500"]);
    let mut others = [another(), another()];
    until("the sentinels know each other and both replicas", || {
        std::iter::once(&first.sentinel).chain(&others).all(|sentinel| {
            let master: HashMap<String, String> = sentinel.command(&["SENTINEL", "MASTER", "main"]);
            master["num-other-sentinels"] == "2" && master["num-slaves"] == "2"
        })
    });
    let addr = [&first.sentinel, &others[0], &others[1]].map(Server::addr).join(",");
    let settings = [("addr", addr.as_str()), ("sentinel.master", "main")];
    let store = opened(&settings).await;
    store.revoke("before").await.unwrap();

    others.iter_mut().for_each(Server::kill);
    second.freeze();
    until("the sentinel that is left takes the replica for dead", || {
        replica_says(&first.sentinel, &second, "flags").contains("s_down")
    });
    tokio::time::sleep(Duration::from_secs(4)).await;
    let error = store.revoke("during").await.unwrap_err();
    assert_eq!(error.fact("replicas_needed"), Some("2"), "{error}");
    assert!(store.find("before").await.unwrap().is_some());

    // Most of them say now that it is dead.
    others.iter_mut().for_each(Server::start);
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = store.revoke("after").await {
        assert!(Instant::now() < deadline, "{error}");
    }
    store.close().await;
}

/// A replica that lost its primary a moment ago may still be promoted, before one that has more of the data.
#[tokio::test]
async fn a_replica_that_lost_its_primary_is_waited_for_until_no_failover_would_choose_it() {
    let servers = watched();
    let second = crate::replicas::replica_of(&servers.primary);
    let slower = ["SENTINEL", "SET", "main", "down-after-milliseconds", "2000"];
    servers.sentinel.command::<()>(&slower);
    until("the sentinel knows both replicas", || {
        let master: HashMap<String, String> =
            servers.sentinel.command(&["SENTINEL", "MASTER", "main"]);
        master["num-slaves"] == "2"
    });
    let addr = servers.sentinel.addr();
    let settings = [("addr", addr.as_str()), ("sentinel.master", "main")];
    let store = opened(&settings).await;
    store.revoke("before").await.unwrap();

    // The primary has no password, and refuses who brings one.
    second.command::<()>(&["CONFIG", "SET", "masterauth", "wrong"]);
    second.command::<u32>(&["CLIENT", "KILL", "TYPE", "master"]);
    until("the sentinel sees that the link is lost, and not just now", || {
        let lost = replica_says(&servers.sentinel, &second, "master-link-down-time");
        replica_says(&servers.sentinel, &second, "master-link-status") == "err"
            && lost.parse::<i64>().is_ok_and(|milliseconds| milliseconds >= 2000)
    });
    // Longer than the primary's word that it has this replica counts.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let error = store.revoke("during").await.unwrap_err();
    assert_eq!(error.fact("replicas_needed"), Some("2"), "{error}");

    let deadline = Instant::now() + Duration::from_secs(40);
    while let Err(error) = store.revoke("after").await {
        assert!(Instant::now() < deadline, "{error}");
    }
    store.close().await;
}

/// What a sentinel says about one replica.
fn replica_says(sentinel: &Server, replica: &Server, key: &str) -> String {
    let known: Vec<HashMap<String, String>> = sentinel.command(&["SENTINEL", "REPLICAS", "main"]);
    let port = replica.port().to_string();
    let mut found = known.into_iter().filter(|fields| fields["port"] == port);
    found.next().and_then(|mut fields| fields.remove(key)).unwrap_or_default()
}

/// A primary that is cut off together with the application may have been replaced.
#[tokio::test]
async fn a_primary_that_neither_a_sentinel_nor_a_replica_speaks_of_is_not_believed() {
    let mut servers = watched();
    let addr = servers.sentinel.addr();
    let settings = [("addr", addr.as_str()), ("sentinel.master", "main")];
    let store = opened(&settings).await;
    store.revoke("a").await.unwrap();
    servers.sentinel.kill();
    for _ in 0..30 {
        assert!(store.find("a").await.unwrap().is_some(), "its replica is there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    servers.replica.kill();
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = loop {
        match store.find("a").await {
            Ok(found) => assert!(found.is_some() && Instant::now() < deadline, "still believed"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
