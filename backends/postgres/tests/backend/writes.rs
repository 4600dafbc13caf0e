//! Writes: outcome by outcome, many at once, and values that `jsonb` would show differently.

use std::sync::Arc;

use serde_json::{Value, json};
use syntrix_storage_core::backend::{Applied, Feed, Write};
use syntrix_storage_core::{Document, ErrorKind, Metadata, Operation, Timestamp, Version};

use crate::common::{
    Fixture, START, applied, context, document, parse, race, refused, replace_live,
};

#[tokio::test]
async fn numbers_come_back_as_they_were_written() {
    let fixture = Fixture::open().await;
    let data = json!({"a": [1e19, -1e19, 1.7976931348623157e308, 5e-324, 9_223_372_036_854_775_808.0, 0.1],
        "b": i64::MAX, "c": i64::MIN, "d": "12345678901234567890", "": {"1.0.1": null, "q\"\\\n": true}});
    let written = fixture.insert("case/a", data.clone()).await;
    let read = fixture.get("case/a").await.expect("document");
    assert_eq!(read.value().expect("value"), data);
    assert_eq!(read.value().expect("value").to_string(), written.raw());
    let change = fixture.feed(Feed::Oldest).await.changes.remove(0);
    assert_eq!(change.document.value().expect("value"), data);
}

#[tokio::test]
async fn a_document_of_a_mebibyte_has_whole_images() {
    let fixture = Fixture::open().await;
    let text = "x".repeat((1 << 20) - 9);
    fixture.insert("case/a", json!({"a": text})).await;
    fixture.update("case/a", json!({"b": text})).await;
    let change = fixture.feed(Feed::Oldest).await.changes.remove(1);
    assert_eq!(change.document.value().expect("value")["b"], text.as_str());
    assert_eq!(change.before.expect("before").value().expect("value")["a"], text.as_str());
}

#[tokio::test]
async fn every_kind_of_write_tells_what_is_there_when_it_does_not_apply() {
    let fixture = Fixture::open().await;
    let first = fixture.insert("case/a", json!({"n": 1})).await;
    let insert = || Write::Insert(document("case/a", json!({})));
    assert_eq!(refused(fixture.write(insert()).await), Some(first.clone()));
    let second = first.replaced(Timestamp::from_milliseconds(START), first.body().clone());
    let replace =
        |expected| Write::Replace { expected: Version::new(expected), document: second.clone() };
    for expected in [0, 2] {
        assert_eq!(refused(fixture.write(replace(expected)).await), Some(first.clone()));
    }
    assert_eq!(applied(fixture.write(replace(1)).await), second);
    let newer = |version| {
        let metadata = Metadata { version: Version::new(version), ..second.metadata() };
        Write::ApplyIfNewer(Document::from_parts(parse("case/a"), metadata, second.body().clone()))
    };
    assert_eq!(refused(fixture.write(newer(2)).await), Some(second.clone()));
    assert_eq!(applied(fixture.write(newer(9)).await).version(), Version::new(9));
    let tombstone = fixture.delete("case/a").await;
    assert_eq!(refused(fixture.write(replace_live("case/a", None)).await), Some(tombstone.clone()));
    assert_eq!(refused(fixture.write(insert()).await), Some(tombstone));
    assert_eq!(refused(fixture.write(replace_live("case/none", None)).await), None);
    let log = ["create case/a@1", "update case/a@2", "update case/a@9", "delete case/a@10"];
    assert_eq!(fixture.log().await, log);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_come_together_have_their_own_outcomes() {
    let fixture = Arc::new(Fixture::open().await);
    let answers = race(|number| {
        let fixture = Arc::clone(&fixture);
        async move {
            let path = format!("case/d{}", number % 8);
            let data = json!({"by": number});
            fixture.write(Write::Insert(document(&path, data))).await
        }
    })
    .await;
    let mut stored = [None; 8];
    for (number, answer) in answers.iter().enumerate() {
        if let Ok(Applied::Yes(document)) = answer {
            let by = document.value().expect("value")["by"].as_u64().expect("number") as usize;
            assert_eq!((by, stored[number % 8].replace(by)), (number, None));
        }
    }
    for (number, answer) in answers.into_iter().enumerate() {
        let there = match answer.expect("write") {
            Applied::Yes(document) | Applied::No(Some(document)) => document,
            other => panic!("nothing is there: {other:?}"),
        };
        let by = stored[number % 8].expect("one of them was first");
        assert_eq!(there.value().expect("value"), json!({"by": by}));
    }
    assert_eq!(fixture.log().await.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_of_two_processes_at_once_store_one_and_show_it_to_the_other() {
    let one = Arc::new(Fixture::open().await);
    let other = Arc::new(one.again().await);
    for round in 0..40 {
        let path = format!("case/d{round}");
        let insert = |fixture: &Arc<Fixture>, by: &str| {
            let (fixture, write) =
                (Arc::clone(fixture), Write::Insert(document(&path, json!({"by": by}))));
            async move { fixture.write(write).await.expect("write") }
        };
        let (left, right) = tokio::join!(insert(&one, "one"), insert(&other, "other"));
        let ((Applied::Yes(stored), Applied::No(Some(there)))
        | (Applied::No(Some(there)), Applied::Yes(stored))) = (left, right)
        else {
            panic!("not one of each in round {round}")
        };
        assert_eq!(there.value().expect("value"), stored.value().expect("value"));
    }
}

#[tokio::test]
async fn a_list_is_written_in_its_order_even_with_a_document_twice() {
    let fixture = Fixture::open().await;
    let mut writes: Vec<_> =
        (0..300).map(|n| Write::Insert(document(&format!("case/d{n}"), json!({})))).collect();
    writes.insert(150, replace_live("case/d0", None));
    let outcomes = fixture.documents.write(writes, &context(Operation::Bulk)).await;
    assert!(outcomes.into_iter().all(|outcome| matches!(outcome, Ok(Applied::Yes(_)))));
    let mut expected: Vec<_> = (0..300).map(|n| format!("create case/d{n}@1")).collect();
    expected.insert(150, "delete case/d0@2".into());
    assert_eq!(fixture.log().await, expected);
}

#[tokio::test]
async fn another_paths_row_under_the_same_key_is_an_error_and_is_left_alone() {
    let fixture = Fixture::open().await;
    fixture.insert("case/a", json!({"n": 1})).await;
    let raw = fixture.raw().await;
    raw.batch_execute("UPDATE documents SET fullpath = 'case/other'").await.expect("tamper");
    let read = fixture.documents.get(&parse("case/a"), &context(Operation::Read)).await;
    assert_eq!(read.expect_err("read").kind(), ErrorKind::Internal);
    let written = fixture.write(replace_live("case/a", Some(json!({})))).await;
    assert_eq!(written.expect_err("written").kind(), ErrorKind::Internal);
    let left = raw.query_one("SELECT version FROM documents", &[]).await.expect("row");
    assert_eq!(left.get::<_, i64>(0), 1);
}

/// One caller's fault must not become the error of those whose writes came at the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_the_server_refuses_fails_alone() {
    let fixture = Arc::new(Fixture::open().await);
    let raw = fixture.raw().await;
    raw.batch_execute("ALTER TABLE documents ADD CHECK (data->>'bad' IS NULL)")
        .await
        .expect("rule");
    let answers = race(|number| {
        let fixture = Arc::clone(&fixture);
        let data: Value = if number == 7 { json!({"bad": true}) } else { json!({}) };
        async move { fixture.write(Write::Insert(document(&format!("case/d{number}"), data))).await }
    })
    .await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.is_ok(), number != 7, "{number}: {answer:?}");
    }
    assert_eq!(fixture.log().await.len(), 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_nobody_waits_for_is_stopped_on_the_server() {
    let fixture = Arc::new(Fixture::open().await);
    fixture.insert("case/a", json!({})).await;
    let raw = fixture.raw().await;
    raw.batch_execute("BEGIN; SELECT FROM documents FOR UPDATE").await.expect("lock");
    let write = fixture.write(replace_live("case/a", Some(json!({"late": true}))));
    tokio::time::timeout(std::time::Duration::from_millis(300), write).await.expect_err("written");
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1";
    let pattern = format!("%{}%", fixture.place.schema());
    let watcher = fixture.raw().await;
    for _ in 0..100 {
        let row = watcher.query_one(waiting, &[&pattern]).await.expect("activity");
        if row.get::<_, i64>(0) == 0 {
            raw.batch_execute("COMMIT").await.expect("unlock");
            assert_eq!(fixture.get("case/a").await.expect("document").version(), Version::FIRST);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the statement still waits");
}
