//! A server that is killed or steps down in the middle: what was acknowledged is there, and the feed tells exactly what is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::{Applied, Feed, Write};
use syntrix_storage_core::{ErrorKind, Operation};

use crate::common::{Fixture, context, document};
use crate::servers::Server;

const WRITERS: usize = 6;

/// Creates one document after the other; remembers the acknowledged ones and those whose fate is unknown.
async fn write(
    fixture: Arc<Fixture>,
    number: usize,
    stop: Arc<AtomicBool>,
) -> (Vec<String>, Vec<String>) {
    let (mut acknowledged, mut unknown) = (Vec::new(), Vec::new());
    for count in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let path = format!("c/w{number}-{count}");
        match fixture.write(Write::Insert(document(&path, json!({"n": count})))).await {
            Ok(Applied::Yes(_)) => acknowledged.push(path),
            // The driver repeats a write that the kill cut off; what it finds then is its own.
            Ok(_) => unknown.push(path),
            Err(error) => {
                let passing = [ErrorKind::Unavailable, ErrorKind::Timeout];
                assert!(passing.contains(&error.kind()), "{error:?}");
                unknown.push(path);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    (acknowledged, unknown)
}

#[derive(Clone, Copy)]
enum Disturbance {
    Kill,
    StepDown,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_under_load_it_keeps_every_acknowledged_write_and_the_feed_equals_the_documents() {
    under_load(Disturbance::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_primary_that_steps_down_under_load_loses_doubles_and_reorders_nothing() {
    under_load(Disturbance::StepDown).await;
}

async fn under_load(disturbance: Disturbance) {
    let mut server = Server::start(&["--replSet", "own"]).await;
    let fixture = Arc::new(Fixture::on(&server.uri(), &json!({})).await);
    let (start, _) = fixture.documents.feed_end().await.expect("end");
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(write(Arc::clone(&fixture), number, Arc::clone(&stop))))
        .collect();
    let watching = {
        let (fixture, stop) = (Arc::clone(&fixture), Arc::clone(&stop));
        tokio::spawn(async move { watch(&fixture, Feed::After(start), &stop).await })
    };
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(800)).await;
        match disturbance {
            Disturbance::Kill => server.kill_and_restart(),
            Disturbance::StepDown => server.step_down().await,
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let (mut acknowledged, mut unknown) = (Vec::new(), Vec::new());
    for writer in writers {
        let (yes, perhaps) = writer.await.expect("writer");
        acknowledged.extend(yes);
        unknown.extend(perhaps);
    }
    let seen = watching.await.expect("watcher");
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for path in &seen {
        *counts.entry(path).or_default() += 1;
    }
    assert!(acknowledged.len() > 100, "the load was none: {}", acknowledged.len());
    for path in &acknowledged {
        assert!(fixture.get(path).await.is_some(), "{path} was acknowledged and is gone");
        assert_eq!(counts.get(path.as_str()), Some(&1), "events of {path}");
    }
    for path in &unknown {
        let stored = usize::from(fixture.get(path).await.is_some());
        assert_eq!(counts.get(path.as_str()).copied().unwrap_or(0), stored, "events of {path}");
    }
    assert_eq!(counts.len(), seen.len(), "an event came twice");
    let documents = fixture.raw_documents().await;
    let stored = documents.count_documents(mongodb::bson::doc! {}).await.expect("count");
    assert_eq!(stored as usize, seen.len());
    Arc::into_inner(fixture).expect("last").finish().await;
}

/// Reads until the writers have stopped and nothing follows. What fails in between is tried again, as the engine does.
async fn watch(fixture: &Fixture, mut from: Feed, stop: &AtomicBool) -> Vec<String> {
    let mut seen = Vec::new();
    let mut quiet_since: Option<Instant> = None;
    loop {
        let page = match fixture.documents.feed(&from, None, 100).await {
            Ok(page) => page,
            Err(error) => {
                assert!(
                    [ErrorKind::Unavailable, ErrorKind::Timeout].contains(&error.kind()),
                    "{error:?}"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let quiet = page.changes.is_empty() && stop.load(Ordering::SeqCst);
        seen.extend(page.changes.iter().map(|change| change.document.path().to_string()));
        from = Feed::After(page.end.clone());
        match (quiet, quiet_since) {
            (false, _) => quiet_since = None,
            (true, None) => quiet_since = Some(Instant::now()),
            (true, Some(since)) if since.elapsed() > Duration::from_secs(2) => return seen,
            (true, Some(_)) => {}
        }
        let _ = fixture.documents.wait_for_change(&page.end, Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_call_while_the_server_is_away_ends_in_time_and_works_again_afterwards() {
    let mut server = Server::start(&["--replSet", "own"]).await;
    let settings = json!({"serverSelectionTimeout": "15s", "operationTimeout": "20s"});
    let fixture = Fixture::on(&server.uri(), &settings).await;
    fixture.insert("c/a", json!({})).await;
    server.kill_and_restart();
    let read = fixture.documents.get(&crate::common::parse("c/a"), &context(Operation::Read)).await;
    assert!(read.expect("read after the restart").is_some());
    fixture.insert("c/b", json!({})).await;
    assert_eq!(fixture.log().await, ["create c/a@1", "create c/b@1"]);
    fixture.finish().await;
}
