//! A server that is killed: what was acknowledged is there afterwards, and the log equals the writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::{Applied, Feed, Write};
use syntrix_storage_core::{ErrorKind, Operation, Query, QueryPlan, Retry};
use tokio_postgres::Client;

use crate::common::{Fixture, Place, brief, connect, context, document};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_no_acknowledged_write_and_its_log_equals_the_writes() {
    let server = Server::start(&[]);
    let fixture = Arc::new(Fixture::at(Place::new(server.dsn()), &json!({})).await);
    let start = fixture.end().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers = (0..8).map(|writer| {
        let (fixture, stop) = (Arc::clone(&fixture), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut acknowledged, mut open) = (Vec::new(), Vec::new());
            let mut number = 0;
            while !stop.load(Ordering::SeqCst) {
                let path = format!("case/w{writer}-{number}");
                number += 1;
                match fixture.write(Write::Insert(document(&path, json!({})))).await {
                    Ok(Applied::Yes(_)) => acknowledged.push(path),
                    Ok(other) => panic!("{path} was written before: {other:?}"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                        if error.retry() != Retry::Safe {
                            open.push(path);
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            (acknowledged, open)
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.up();
        let accepted = Instant::now();
        while fixture.documents.health().await.is_err() {
            assert!(accepted.elapsed() < Duration::from_secs(5), "not reconnected");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    let (mut acknowledged, mut open) = (Vec::new(), Vec::new());
    for writer in writers {
        let (sure, unsure) = writer.await.expect("writer");
        acknowledged.extend(sure);
        open.extend(unsure);
    }
    assert!(acknowledged.len() > 50, "only {} writes", acknowledged.len());
    let mut logged = Vec::new();
    let mut place = start;
    loop {
        let page = fixture.feed(Feed::After(place)).await;
        logged.extend(page.changes.iter().map(brief));
        place = page.end;
        if !page.more {
            break;
        }
    }
    logged.sort();
    assert!(logged.windows(2).all(|pair| pair[0] != pair[1]), "a change came twice");
    let stored = fixture.raw().await;
    let stored = stored.query("SELECT fullpath FROM documents", &[]).await.expect("documents");
    let mut stored: Vec<_> =
        stored.iter().map(|row| format!("create {}@1", row.get::<_, &str>(0))).collect();
    stored.sort();
    assert_eq!(logged, stored, "the log is not what is stored");
    for path in &acknowledged {
        assert!(logged.binary_search(&format!("create {path}@1")).is_ok(), "{path} is lost");
    }
    let known = |entry: &String| {
        let path = entry.trim_start_matches("create ").trim_end_matches("@1").to_owned();
        acknowledged.contains(&path) || open.contains(&path)
    };
    assert!(logged.iter().all(known), "a write is there that was said not to be");
    fixture.backend.close().await.expect("close");
}

/// Transactions of another database that do not wait for the disk; the second half is undone.
async fn burn(elsewhere: &Client, count: usize) {
    let off = "SET synchronous_commit = off; CREATE TABLE IF NOT EXISTS t (n int)";
    elsewhere.batch_execute(off).await.expect("off");
    for number in 0..count {
        let end = if number < count / 2 { "COMMIT" } else { "ROLLBACK" };
        let sql = format!("BEGIN; INSERT INTO t VALUES ({number}); {end}");
        elsewhere.batch_execute(&sql).await.expect("burn");
    }
}

async fn next_xid(client: &Client) -> i64 {
    let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    client.query_one(sql, &[]).await.expect("xid").get(0)
}

/// What a crash makes the server forget has its number given out again, and the second use must not count as seen.
#[tokio::test(flavor = "multi_thread")]
async fn changes_after_a_crash_that_forgot_transactions_are_seen_from_every_place_before_it() {
    let server = Server::start(&[]);
    let fixture = Fixture::at(Place::new(server.dsn()), &json!({})).await;
    let empty = fixture.end().await;
    fixture.insert("case/before", json!({})).await;
    let early = fixture.end().await;
    let raw = fixture.raw().await;
    raw.batch_execute("CREATE DATABASE other").await.expect("database");
    let other = format!("{}/other", server.dsn().trim_end_matches("/postgres"));
    let elsewhere = connect(&other).await;
    burn(&elsewhere, 2).await;
    // Without it nothing goes to the disk that nobody waits for.
    let writer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    let writer: i32 = raw.query_one(writer, &[]).await.expect("writer").get(0);
    let stop = std::process::Command::new("kill").args(["-STOP", &writer.to_string()]).status();
    assert!(stop.expect("kill").success());
    burn(&elsewhere, 200).await;
    let query = QueryPlan::check(Query::new("case").expect("query")).expect("plan");
    let listed = fixture.documents.query_with_position(&query, &context(Operation::Query)).await;
    let read = fixture.feed(Feed::After(empty)).await;
    let places = [
        fixture.end().await,
        fixture.feed(Feed::After(early)).await.end,
        read.changes[0].position.clone(),
        listed.expect("list").1,
    ];
    let forgotten = next_xid(&raw).await;
    server.kill();
    server.up();
    let raw = connect(&server.dsn()).await;
    let again = next_xid(&raw).await;
    assert!(again + 100 < forgotten, "nothing was forgotten: {again} {forgotten}");
    // At once, while the numbers are still below those that were given out before.
    for place in &places {
        assert!(fixture.feed(Feed::After(place.clone())).await.changes.is_empty());
    }
    let mut written = Vec::new();
    for number in 0..5 {
        let path = format!("case/after{number}");
        fixture.insert(&path, json!({})).await;
        written.push(format!("create {path}@1"));
    }
    burn(&connect(&other).await, 300).await;
    assert!(next_xid(&raw).await > forgotten);
    for place in places {
        let page = fixture.feed(Feed::After(place)).await;
        assert_eq!(page.changes.iter().map(brief).collect::<Vec<_>>(), written);
        assert!(!page.more);
    }
    fixture.backend.close().await.expect("close");
}

#[tokio::test]
async fn a_standby_is_refused_and_says_so() {
    let server = Server::start(&[]);
    server.run("pg_ctl", &["-w", "-m", "fast", "stop"]);
    std::fs::write(server.data().join("standby.signal"), "").expect("signal");
    server.up();
    let place = Place::new(server.dsn());
    let provider = crate::common::provider(&place.block(&json!({})));
    let clock = syntrix_storage_core::ManualClock::starting_at(0);
    let error = provider.open(&place.context(&clock)).await.expect_err("opened");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("standby"), "{error}");
}

#[tokio::test]
async fn a_server_without_prompt_commits_is_told_to_wait_for_the_disk() {
    let server = Server::start(&["synchronous_commit = off"]);
    let fixture = Fixture::at(Place::new(server.dsn()), &json!({})).await;
    let report = fixture.documents.health().await.expect("health");
    let fact = report.facts.iter().find(|(name, _)| name == "synchronousCommit");
    assert_eq!(fact.map(|(_, value)| value.as_str()), Some("on"));
    fixture.backend.close().await.expect("close");
    stays_prompt(&server).await;
    // Behind a transaction pooler nothing can be set for a session of our own.
    let place = Place::new(server.dsn());
    let provider = crate::common::provider(&place.block(&json!({"pooler": "transaction"})));
    let clock = syntrix_storage_core::ManualClock::starting_at(0);
    let error = provider.open(&place.context(&clock)).await.expect_err("opened");
    assert!(error.to_string().contains("synchronous_commit"), "{error}");
}

/// A connection keeps what it was opened with when the server's configuration is loosened.
async fn stays_prompt(server: &Server) {
    let raw = connect(&server.dsn()).await;
    let set = |value: &'static str| {
        let raw = &raw;
        async move {
            let sql = format!("ALTER SYSTEM SET synchronous_commit = {value}");
            raw.batch_execute(&sql).await.expect("set");
            raw.batch_execute("SELECT pg_reload_conf()").await.expect("reload");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    set("local").await;
    let fixture = Fixture::at(Place::new(server.dsn()), &json!({})).await;
    set("off").await;
    let report = fixture.documents.health().await.expect("health");
    let fact = report.facts.iter().find(|(name, _)| name == "synchronousCommit");
    assert_eq!(fact.map(|(_, value)| value.as_str()), Some("local"));
    fixture.backend.close().await.expect("close");
}
