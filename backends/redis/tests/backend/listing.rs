//! Listing every revoked token of a server that has no order and hands keys out twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use syntrix_storage_core::{ErrorKind, Result};

use crate::cluster;
use crate::common::{Fixture, LATER, read};
use crate::server::Server;

/// All tokens, page by page.
async fn listed(store: &Fixture, limit: usize) -> Result<Vec<String>> {
    let (mut tokens, mut after) = (Vec::new(), None);
    loop {
        let page = store.revocations.scan(after.as_ref(), limit, &read()).await?;
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return Ok(tokens) };
        after = Some(last.token.clone());
        tokens.extend(page.iter().map(|record| record.token.as_str().to_owned()));
    }
}

fn names(count: usize) -> Vec<String> {
    let mut names: Vec<_> = (0..count).map(|number| format!("token {number}")).collect();
    names.sort_unstable();
    names
}

/// The key under which a token lies.
fn key(token: &str) -> String {
    let hash = blake3::hash(token.as_bytes());
    let digest = &hash.as_bytes()[..24];
    format!("syntrix:rev:{{{:02x}}}:{}", digest[0], URL_SAFE_NO_PAD.encode(digest))
}

/// Stores records as the script does, faster.
fn store_all(server: &Server, tokens: &[String]) {
    let mut connection = server.raw();
    for some in tokens.chunks(5000) {
        let mut pipeline = redis::pipe();
        for token in some {
            let end = LATER.as_milliseconds();
            let record = format!("2 1000 1 {end} {end} 0 -1 -1 -1 -1 {}\n{token}", token.len());
            pipeline.set(key(token), record).ignore();
        }
        pipeline.exec(&mut connection).expect("records");
    }
}

/// Lets the server's table grow and shrink by keys of somebody else, until told to stop.
fn churn(server: &Server, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let (mut connection, stop) = (server.raw(), Arc::clone(stop));
    std::thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            for command in ["SET", "UNLINK"] {
                for part in 0..20 {
                    let mut pipeline = redis::pipe();
                    for number in 0..500 {
                        let key = format!("other:{}", part * 500 + number);
                        let added = pipeline.cmd(command).arg(key);
                        if command == "SET" {
                            added.arg("x");
                        }
                    }
                    pipeline.query::<Vec<redis::Value>>(&mut connection).expect("churn");
                }
            }
        }
    })
}

/// Case 35 of the catalogue of routes: the table is moved while it is walked over, and keys come twice.
#[tokio::test(flavor = "multi_thread")]
async fn case_35_every_token_is_listed_once_while_the_table_grows_and_shrinks() {
    let server = Server::with(&["appendonly yes", "appendfsync no", "maxmemory-policy noeviction"]);
    let store = Fixture::on(&server).await;
    let wanted = names(3000);
    store_all(&server, &wanted);
    let stop = Arc::new(AtomicBool::new(false));
    let churning = churn(&server, &stop);
    for limit in [100, 700, 5000] {
        for _ in 0..5 {
            assert_eq!(listed(&store, limit).await.unwrap(), wanted);
        }
    }
    stop.store(true, Ordering::SeqCst);
    churning.join().unwrap();
}

#[tokio::test]
async fn more_tokens_than_one_walk_collects_are_listed_all_the_same() {
    let server = Server::with(&["appendonly yes", "appendfsync no", "maxmemory-policy noeviction"]);
    let store = Fixture::on(&server).await;
    let wanted = names(210_000);
    store_all(&server, &wanted);
    let found = listed(&store, 7000).await.unwrap();
    assert_eq!(found.len(), wanted.len());
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_listing_that_begins_has_what_was_stored_a_moment_before() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    assert!(listed(&store, 10).await.unwrap().is_empty());
    for count in 1..20 {
        store.revoke(&format!("token {}", count - 1)).await.unwrap();
        assert_eq!(listed(&store, 3).await.unwrap(), names(count));
    }
}

#[tokio::test]
async fn a_listing_of_what_was_lost_is_state_lost_and_not_empty() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    store.revoke("a").await.unwrap();
    server.command::<()>(&["FLUSHALL"]);
    assert_eq!(listed(&store, 10).await.unwrap_err().kind(), ErrorKind::StateLost);
}

/// A connection that is lost may lead to another server, whose table is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_over_lost_connections_is_whole_or_an_error() {
    let server = Server::with(&["appendonly yes", "appendfsync no", "maxmemory-policy noeviction"]);
    let store = Fixture::on(&server).await;
    let wanted = names(20_000);
    store_all(&server, &wanted);
    let (mut whole, mut interrupted) = (0, 0);
    for round in 0..30 {
        let mut raw = server.raw();
        let cut = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(round * 10));
            let mut kill = redis::cmd("CLIENT");
            kill.arg("KILL").arg("TYPE").arg("NORMAL").arg("SKIPME").arg("YES");
            kill.query::<u32>(&mut raw).expect("kill");
        });
        match listed(&store, 50_000).await {
            Ok(found) => {
                assert_eq!(found, wanted);
                whole += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                interrupted += 1;
            }
        }
        cut.join().unwrap();
    }
    assert!(interrupted > 0 && whole > 0, "{whole} whole, {interrupted} interrupted");
}

/// A walk of many steps has its caller's time, not an operation's for each of them.
#[tokio::test]
async fn a_listing_ends_at_its_deadline() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    store.revoke("a").await.unwrap();
    server.freeze();
    let asked = Instant::now();
    let hurried = read().with_deadline(Some(asked + Duration::from_millis(200)));
    let error = store.revocations.scan(None, 10, &hurried).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    server.thaw();
}

#[tokio::test]
async fn a_record_under_a_key_that_is_not_its_own_is_damage() {
    let server = Server::safe();
    let store = Fixture::on(&server).await;
    store_all(&server, &names(3));
    let record: String = server.command(&["GET", &key("token 1")]);
    server.command::<()>(&["SET", &key("token 2"), &record]);
    let error = listed(&store, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(error.fact("key"), Some(key("token 2").as_str()));
    assert_eq!(store.find("token 2").await.unwrap_err().kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn the_tokens_of_all_nodes_of_a_cluster_are_listed_in_order() {
    let nodes = cluster::cluster(3);
    let store = cluster::open(&nodes, None).await;
    let wanted = names(300);
    for name in &wanted {
        store.revoke(name).await.unwrap();
    }
    assert_eq!(listed(&store, 70).await.unwrap(), wanted);
}
