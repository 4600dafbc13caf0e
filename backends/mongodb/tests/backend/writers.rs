//! Many writers, some of them in transactions, some of which are given up: nothing is lost, doubled or out of order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document as Record, doc};
use serde_json::json;
use syntrix_storage_core::backend::{Applied, Change, Feed, Write};
use syntrix_storage_core::{Operation, Timestamp};

use crate::common::{Fixture, START, context, document, parse};

const WRITERS: usize = 16;
const DOCUMENTS: usize = 12;
const ROUNDS: usize = 30;

/// Counts documents up in one transaction of the bare driver, as another application on the database might.
pub async fn touch_in_transaction(fixture: &Fixture, paths: &[&str], commit: bool) -> usize {
    let collection = fixture.raw_documents().await;
    try_to_touch(&collection, paths, commit).await.expect("transaction")
}

/// How many changes were committed; an error if another writer was faster.
async fn try_to_touch(
    collection: &mongodb::Collection<Record>,
    paths: &[&str],
    commit: bool,
) -> mongodb::error::Result<usize> {
    let mut session = collection.client().start_session().await?;
    session.start_transaction().await?;
    for path in paths {
        let filter = doc! { "fullpath": path };
        let found = collection.find_one(filter).session(&mut session).await?;
        let mut record = found.expect("present");
        let version = record.get_i64("version").expect("version");
        let filter = doc! { "_id": record.get("_id"), "version": version };
        record.insert("version", version + 1);
        record.insert("op", "u");
        collection.replace_one(filter, record).session(&mut session).await?;
    }
    if commit {
        session.commit_transaction().await?;
        return Ok(paths.len());
    }
    session.abort_transaction().await?;
    Ok(0)
}

/// One conditional write, repeated until it wins.
async fn touch(fixture: &Fixture, path: &str, random: &mut fastrand::Rng) {
    let now = Timestamp::from_milliseconds(START);
    loop {
        let read = fixture.documents.get(&parse(path), &context(Operation::ReadStrong)).await;
        let current = read.expect("get").expect("present");
        let next = current.replaced(now, current.body().clone());
        let write = Write::Replace { expected: current.version(), document: next };
        match fixture.write(write).await.expect("write") {
            Applied::Yes(_) => return,
            _ => tokio::time::sleep(Duration::from_millis(random.u64(1..8))).await,
        }
    }
}

async fn writer(fixture: Arc<Fixture>, number: usize) -> usize {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let collection = fixture.raw_documents().await;
    let mut written = 0;
    for _ in 0..ROUNDS {
        if random.u8(..4) > 0 {
            touch(&fixture, &format!("c/{}", random.usize(..DOCUMENTS)), &mut random).await;
            written += 1;
            continue;
        }
        let mut names: Vec<String> = (0..DOCUMENTS).map(|number| format!("c/{number}")).collect();
        random.shuffle(&mut names);
        let count = random.usize(1..=4);
        let paths: Vec<&str> = names[..count].iter().map(String::as_str).collect();
        let commit = random.u8(..10) > 0;
        // A conflict is given up, which is one more rolled-back transaction.
        written += try_to_touch(&collection, &paths, commit).await.unwrap_or(0);
    }
    written
}

/// Reads as the engine does: a page, then a wait.
async fn watch(fixture: &Fixture, from: Feed, count: usize) -> Vec<Change> {
    let (mut from, mut seen) = (from, Vec::new());
    while seen.len() < count {
        let page = fixture.documents.feed(&from, None, 7).await.expect("feed");
        seen.extend(page.changes);
        if !page.more {
            fixture
                .documents
                .wait_for_change(&page.end, Duration::from_millis(100))
                .await
                .expect("wait");
        }
        from = Feed::After(page.end);
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_writers_with_transactions_lose_double_and_reorder_nothing() {
    let fixture = Arc::new(Fixture::open().await);
    for number in 0..DOCUMENTS {
        fixture.insert(&format!("c/{number}"), json!({"n": number})).await;
    }
    let (start, _) = fixture.documents.feed_end().await.expect("end");
    let tasks: Vec<_> =
        (0..WRITERS).map(|number| tokio::spawn(writer(Arc::clone(&fixture), number))).collect();
    let live = {
        let (fixture, start) = (Arc::clone(&fixture), Feed::After(start.clone()));
        tokio::spawn(async move { watch(&fixture, start, WRITERS * ROUNDS / 2).await.len() })
    };
    let mut written = 0;
    for task in tasks {
        written += task.await.expect("writer");
    }
    assert!(live.await.expect("live watcher") >= WRITERS * ROUNDS / 2);
    let seen = watch(&fixture, Feed::After(start), written).await;
    assert_eq!(seen.len(), written, "lost or doubled");
    let mut versions: HashMap<String, i64> = HashMap::new();
    for change in &seen {
        let version = versions.entry(change.document.path().to_string()).or_insert(1);
        *version += 1;
        assert_eq!(change.document.version().get(), *version, "{}", change.document.path());
    }
    Arc::into_inner(fixture).expect("nobody else has it").finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creates_at_once_each_learn_their_own_outcome() {
    let fixture = Arc::new(Fixture::open().await);
    let create = |path: String| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            let outcome = fixture.write(Write::Insert(document(&path, json!({})))).await;
            matches!(outcome.expect("write"), Applied::Yes(_))
        })
    };
    // Every path four times, all of them at once.
    let tasks: Vec<_> = (0..400).map(|number| create(format!("c/{}", number % 100))).collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.expect("task"));
    }
    assert_eq!(won, 100, "each path has one creator");
    assert_eq!(fixture.log().await.len(), 100);
    Arc::into_inner(fixture).expect("nobody else has it").finish().await;
}
