//! Every kind of write: condition, outcome, what is stored, what is logged.

use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::{CallContext, Feed, Write};
use syntrix_storage_core::{Document, ErrorKind, EventType, Metadata, Operation, Retry, Timestamp};

use crate::common::{
    Fixture, START, applied, brief, context, document, parse, refused, replace_live, version,
};

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(milliseconds)
}

#[tokio::test]
async fn insert_stores_once_and_then_shows_what_is_there() {
    let fixture = Fixture::open().await;
    let first = fixture.insert("rooms/lobby", json!({"n": 1})).await;
    assert_eq!(first, document("rooms/lobby", json!({"n": 1})));
    let there = refused(fixture.write(Write::Insert(document("rooms/lobby", json!({})))).await);
    assert_eq!(there, Some(first.clone()));
    assert_eq!(fixture.get("rooms/lobby").await, Some(first));
    assert_eq!(fixture.log().await, ["create rooms/lobby@1"]);
}

#[tokio::test]
async fn insert_on_a_tombstone_shows_the_tombstone() {
    let fixture = Fixture::open().await;
    fixture.insert("rooms/lobby", json!({"n": 1})).await;
    let tombstone = fixture.delete("rooms/lobby").await;
    let there = refused(fixture.write(Write::Insert(document("rooms/lobby", json!({})))).await);
    assert_eq!(there, Some(tombstone));
}

#[tokio::test]
async fn replace_needs_the_version_that_is_there() {
    let fixture = Fixture::open().await;
    let first = fixture.insert("rooms/lobby", json!({"n": 1})).await;
    let second =
        first.replaced(at(START + 5), document("rooms/lobby", json!({"n": 2})).body().clone());
    let replace = |expected, document: &Document| Write::Replace {
        expected: version(expected),
        document: document.clone(),
    };
    assert_eq!(refused(fixture.write(replace(2, &second)).await), Some(first));
    assert_eq!(applied(fixture.write(replace(1, &second)).await), second);
    assert_eq!(fixture.get("rooms/lobby").await, Some(second.clone()));
    let missing = document("rooms/other", json!({}));
    assert_eq!(refused(fixture.write(replace(1, &missing)).await), None);
    assert_eq!(fixture.log().await, ["create rooms/lobby@1", "update rooms/lobby@2"]);
}

#[tokio::test]
async fn replace_deletes_and_revives_with_the_right_events_and_images() {
    let fixture = Fixture::open().await;
    let first = fixture.insert("rooms/lobby", json!({"n": 1})).await;
    let tombstone = first.tombstone(at(START + 5));
    let revived =
        tombstone.revived(at(START + 9), document("rooms/lobby", json!({"n": 3})).body().clone());
    for (expected, document) in [(1, &tombstone), (2, &revived)] {
        let write = Write::Replace { expected: version(expected), document: document.clone() };
        assert_eq!(&applied(fixture.write(write).await), document);
    }
    let changes = fixture.feed(Feed::Oldest).await.changes;
    let events: Vec<_> =
        changes.iter().map(|change| (change.event_type, change.before.clone())).collect();
    let expected =
        [(EventType::Create, None), (EventType::Delete, Some(first)), (EventType::Create, None)];
    assert_eq!(events, expected);
    assert_eq!(changes[1].document, tombstone);
    assert_eq!(changes[2].document, revived);
}

#[tokio::test]
async fn replace_live_equals_a_read_and_a_replace() {
    let fixture = Fixture::open().await;
    assert_eq!(refused(fixture.write(replace_live("rooms/lobby", Some(json!({})))).await), None);
    let first = fixture.insert("rooms/lobby", json!({"n": 1})).await;
    let second = fixture.update("rooms/lobby", json!({"n": 2})).await;
    let body = document("rooms/lobby", json!({"n": 2})).body().clone();
    assert_eq!(second, first.replaced(at(START + 1), body));

    let mut stale = replace_live("rooms/lobby", Some(json!({"n": 3})));
    if let Write::ReplaceLive { expected, .. } = &mut stale {
        *expected = Some(version(1));
    }
    assert_eq!(refused(fixture.write(stale).await), Some(second.clone()));

    let tombstone = fixture.delete("rooms/lobby").await;
    assert_eq!(tombstone, second.tombstone(at(START + 1)));
    let there = refused(fixture.write(replace_live("rooms/lobby", Some(json!({})))).await);
    assert_eq!(there, Some(tombstone.clone()));
    assert_eq!(refused(fixture.write(replace_live("rooms/lobby", None)).await), Some(tombstone));

    let changes = fixture.feed(Feed::Oldest).await.changes;
    let before: Vec<_> = changes.iter().map(|change| change.before.clone()).collect();
    assert_eq!(before, [None, Some(first), Some(second)]);
}

#[tokio::test]
async fn apply_if_newer_takes_higher_versions_only_and_logs_them() {
    let fixture = Fixture::open().await;
    let image = |number, deleted| {
        let metadata = Metadata {
            version: version(number),
            created_at: at(START - 100),
            updated_at: at(START - 50),
            deleted,
        };
        let body = document("rooms/lobby", json!({})).body().clone();
        Write::ApplyIfNewer(Document::from_parts(parse("rooms/lobby"), metadata, body))
    };
    let third = applied(fixture.write(image(3, false)).await);
    assert_eq!(refused(fixture.write(image(3, false)).await), Some(third.clone()));
    assert_eq!(refused(fixture.write(image(2, true)).await), Some(third));
    applied(fixture.write(image(7, false)).await);
    let tombstone = applied(fixture.write(image(8, true)).await);
    assert_eq!(fixture.get("rooms/lobby").await, Some(tombstone));
    applied(fixture.write(image(9, false)).await);
    let expected = [
        "create rooms/lobby@3",
        "update rooms/lobby@7",
        "delete rooms/lobby@8",
        "create rooms/lobby@9",
    ];
    assert_eq!(fixture.log().await, expected);
}

#[tokio::test]
async fn writes_of_one_call_run_in_order_and_each_has_its_own_outcome() {
    let fixture = Fixture::open().await;
    let writes: Vec<_> = (0..1000)
        .map(|number| match number % 4 {
            0 => Write::Insert(document(&format!("rooms/r{number}"), json!({"n": number}))),
            1 => replace_live(&format!("rooms/r{}", number - 1), Some(json!({"n": number}))),
            2 => replace_live(&format!("rooms/r{}", number - 2), None),
            _ => replace_live(&format!("rooms/r{}", number - 3), Some(json!({}))),
        })
        .collect();
    let outcomes = fixture.documents.write(writes, &context(Operation::Bulk)).await;
    assert_eq!(outcomes.len(), 1000);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let got = match number % 4 {
            3 => refused(outcome).expect("tombstone"),
            _ => applied(outcome),
        };
        assert_eq!(got.version().get(), [1, 2, 3, 3][number % 4], "{number}");
    }
    assert_eq!(fixture.log().await.len(), 750);
}

#[tokio::test]
async fn concurrent_writers_lose_no_update_and_the_log_is_in_version_order() {
    let fixture = std::sync::Arc::new(Fixture::open().await);
    fixture.insert("rooms/lobby", json!({})).await;
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let fixture = std::sync::Arc::clone(&fixture);
            tokio::spawn(async move {
                for number in 0..25 {
                    fixture.update("rooms/lobby", json!({"n": number})).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("writer");
    }
    let versions: Vec<_> = fixture
        .feed(Feed::Oldest)
        .await
        .changes
        .iter()
        .map(|change| change.document.version().get())
        .collect();
    assert_eq!(versions, (1..=201).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_row_of_another_path_under_the_key_is_an_internal_error() {
    let fixture = Fixture::open().await;
    fixture.insert("rooms/lobby", json!({"n": 1})).await;
    fixture.raw().execute("UPDATE documents SET fullpath = 'rooms/other'", []).expect("tamper");
    let get = fixture.documents.get(&parse("rooms/lobby"), &context(Operation::Read)).await;
    assert_eq!(get.expect_err("read").kind(), ErrorKind::Internal);
    for write in [
        Write::Insert(document("rooms/lobby", json!({}))),
        Write::Replace { expected: version(1), document: document("rooms/lobby", json!({})) },
        replace_live("rooms/lobby", None),
        Write::ApplyIfNewer(document("rooms/lobby", json!({}))),
    ] {
        assert_eq!(fixture.write(write).await.expect_err("written").kind(), ErrorKind::Internal);
    }
    assert_eq!(fixture.feed(Feed::Oldest).await.changes.len(), 1);
}

#[tokio::test]
async fn a_collision_does_not_touch_its_neighbours_in_the_same_commit() {
    let fixture = Fixture::open().await;
    fixture.insert("rooms/bad", json!({"n": 1})).await;
    fixture.raw().execute("UPDATE documents SET fullpath = 'rooms/other'", []).expect("tamper");
    let writes = vec![
        Write::Insert(document("rooms/a", json!({}))),
        replace_live("rooms/bad", None),
        Write::Insert(document("rooms/b", json!({}))),
    ];
    let outcomes = fixture.documents.write(writes, &context(Operation::Bulk)).await;
    let kinds: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().map(|error| error.kind())).collect();
    assert_eq!(kinds, [None, Some(ErrorKind::Internal), None]);
    assert!(fixture.get("rooms/a").await.is_some() && fixture.get("rooms/b").await.is_some());
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_a_whole_write() {
    let fixture = Fixture::open().await;
    let writes = (0..200).map(|n| Write::Insert(document(&format!("rooms/r{n}"), json!({"n": n}))));
    let call = context(Operation::Bulk);
    let write = fixture.documents.write(writes.collect(), &call);
    // Polled once: the write is queued, then nobody waits for it.
    drop(tokio::time::timeout(Duration::ZERO, write).await);
    // The queue is in order, so this one comes behind it.
    fixture.insert("rooms/last", json!({})).await;
    let changes = fixture.feed(Feed::Oldest).await.changes;
    assert_eq!(changes.len(), 201);
    for change in &changes {
        let stored = fixture.get(change.document.path().as_str()).await;
        assert_eq!(stored.as_ref(), Some(&change.document), "{}", brief(change));
    }
}

#[tokio::test]
async fn a_write_whose_deadline_has_passed_is_not_begun() {
    let fixture = Fixture::open().await;
    let late = CallContext::new(Operation::Write).with_deadline(Some(Instant::now()));
    let writes = vec![Write::Insert(document("rooms/lobby", json!({})))];
    let error = fixture.documents.write(writes, &late).await.remove(0).expect_err("written");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Safe));
    assert_eq!(fixture.get("rooms/lobby").await, None);
}

#[tokio::test]
async fn a_file_locked_for_longer_than_the_busy_timeout_is_unavailable_and_safe_to_retry() {
    let fixture = Fixture::with(&json!({"busyTimeout": "20ms"})).await;
    let other = fixture.raw();
    other.execute_batch("BEGIN IMMEDIATE").expect("lock");
    let write = Write::Insert(document("rooms/lobby", json!({})));
    let error = fixture.write(write.clone()).await.expect_err("written");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
    assert_eq!(fixture.get("rooms/lobby").await, None);
    other.execute_batch("ROLLBACK").expect("unlock");
    applied(fixture.write(write).await);
}

#[tokio::test]
async fn odd_keys_and_extreme_values_come_back_as_they_were() {
    let fixture = Fixture::open().await;
    let data = json!({
        "": 1, "q\"r": 2, "b\\s": 3, "l\n": 4, "a.b": 5, "$x": [null, true, {"": []}], "é": "e\u{301}",
        "min": i64::MIN, "max": i64::MAX, "big": 1e19, "small": 5e-324, "tenth": 0.1, "text": "\u{1}\u{10ffff}'%_*",
    });
    fixture.insert("a_b/x%'*[?/c[d/é", data.clone()).await;
    let stored = fixture.get("a_b/x%'*[?/c[d/é").await.expect("stored");
    assert_eq!(stored.value().expect("value"), data);
    assert_eq!(stored.path().collection_text(), "a_b/x%'*[?/c[d");
}

#[tokio::test]
async fn a_megabyte_comes_back() {
    let fixture = Fixture::open().await;
    let text = "x".repeat((1 << 20) - 8);
    fixture.insert("big/one", json!({"t": text})).await;
    fixture.update("big/one", json!({"u": text})).await;
    let change = fixture.feed(Feed::Oldest).await.changes.remove(1);
    assert_eq!(change.document.raw().len(), 1 << 20);
    assert_eq!(change.before.expect("before").raw().len(), 1 << 20);
}
