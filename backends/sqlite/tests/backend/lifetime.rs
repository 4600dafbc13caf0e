//! Closing, and what is left by a process that did not.

use serde_json::json;
use syntrix_storage_core::backend::{Feed, OpenContext, Write};
use syntrix_storage_core::{ErrorKind, Operation, Query, QueryPlan, ScanRequest, Timestamp};

use crate::common::{Fixture, context, document, parse, provider};

#[tokio::test]
async fn after_close_every_call_says_so() {
    let fixture = Fixture::open().await;
    fixture.insert("rooms/lobby", json!({})).await;
    fixture.documents.close().await.expect("close");
    fixture.backend.close().await.expect("close again");
    let (documents, call) = (&fixture.documents, context(Operation::Read));
    let plan = QueryPlan::check(Query::new("rooms").expect("query")).expect("plan");
    let closed = |kind| assert_eq!(kind, Some(ErrorKind::Closed));
    closed(documents.get(&parse("rooms/lobby"), &call).await.err().map(|error| error.kind()));
    closed(documents.get_many(&[], &call).await.err().map(|error| error.kind()));
    closed(documents.query(&plan, &call).await.err().map(|error| error.kind()));
    closed(documents.scan(&ScanRequest::default(), &call).await.err().map(|error| error.kind()));
    closed(documents.feed(&Feed::Oldest, None, 1).await.err().map(|error| error.kind()));
    closed(documents.feed_end().await.err().map(|error| error.kind()));
    closed(documents.list_indexes().await.err().map(|error| error.kind()));
    closed(documents.health().await.err().map(|error| error.kind()));
    let time = Timestamp::from_milliseconds(0);
    closed(documents.purge(time, 1).await.err().map(|error| error.kind()));
    closed(documents.trim_feed(time, 1).await.err().map(|error| error.kind()));
    let write = fixture.write(Write::Insert(document("rooms/x", json!({})))).await;
    closed(write.err().map(|error| error.kind()));
}

#[tokio::test]
async fn close_finishes_what_is_queued_and_folds_the_log_into_the_file() {
    let fixture = Fixture::open().await;
    let call = context(Operation::Bulk);
    let writes = |base: usize| {
        (base..base + 100)
            .map(|n| Write::Insert(document(&format!("rooms/r{n}"), json!({}))))
            .collect()
    };
    let write = fixture.documents.write(writes(0), &call);
    drop(tokio::time::timeout(std::time::Duration::ZERO, write).await);
    fixture.documents.close().await.expect("close");
    assert!(!fixture.folder.path().join("storage.db-wal").exists());
    assert_eq!(fixture.again().await.log().await.len(), 100);
}

#[tokio::test]
async fn a_store_dropped_without_close_keeps_every_acknowledged_write() {
    let fixture = Fixture::open().await;
    for number in 0..20 {
        fixture.insert(&format!("rooms/r{number}"), json!({"n": number})).await;
    }
    drop((fixture.documents, fixture.backend));
    let fixture = Fixture::in_folder(std::sync::Arc::clone(&fixture.folder), &json!({})).await;
    assert_eq!(fixture.log().await.len(), 20);
    assert!(fixture.get("rooms/r19").await.is_some());
}

/// What a crash leaves: a database file and a log that nobody folded in.
#[tokio::test]
async fn files_copied_from_under_a_running_store_open_with_every_acknowledged_write() {
    let fixture = Fixture::open().await;
    for number in 0..20 {
        fixture.insert(&format!("rooms/r{number}"), json!({"n": number})).await;
    }
    let copy = tempfile::tempdir().expect("folder");
    for name in ["storage.db", "storage.db-wal"] {
        std::fs::copy(fixture.folder.path().join(name), copy.path().join(name)).expect("copy");
    }
    let backend = provider(&json!({})).open(&OpenContext::new(copy.path())).await.expect("open");
    let documents = backend.documents().expect("documents");
    let page = documents.feed(&Feed::Oldest, None, 100).await.expect("feed");
    assert_eq!(page.changes.len(), 20);
}

#[tokio::test]
async fn data_survives_a_close_and_an_open() {
    let fixture = Fixture::open().await;
    let stored = fixture.insert("rooms/lobby", json!({"a": [1, 2.5, null]})).await;
    fixture.backend.close().await.expect("close");
    assert_eq!(fixture.again().await.get("rooms/lobby").await, Some(stored));
}
