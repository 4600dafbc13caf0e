//! A server that is killed: what was acknowledged is there afterwards, and the log equals the writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::{Applied, Feed, Write};
use syntrix_storage_core::{ErrorKind, Retry};

use crate::common::{Fixture, Place, brief, document};
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
                    Ok(Applied::No(there)) => panic!("{path} was written before: {there:?}"),
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
    // Behind a transaction pooler nothing can be set for a session of our own.
    let place = Place::new(server.dsn());
    let provider = crate::common::provider(&place.block(&json!({"pooler": "transaction"})));
    let clock = syntrix_storage_core::ManualClock::starting_at(0);
    let error = provider.open(&place.context(&clock)).await.expect_err("opened");
    assert!(error.to_string().contains("synchronous_commit"), "{error}");
}
