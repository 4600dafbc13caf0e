//! Conditional writes: what each of them does, and what it leaves alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{applied, at, body, delete, document, insert, open, path, refused};
use syntrix_storage_core::Version;
use syntrix_storage_core::backend::{Applied, Write};

#[tokio::test]
async fn insert_is_refused_by_a_live_document_and_by_a_tombstone() {
    let store = open().await.documents;
    let first = insert(&*store, "c/a", r#"{"n":1}"#).await;
    let again = || Write::Insert(document("c/a", r#"{"n":2}"#));
    assert_eq!(refused(&*store, again()).await, Some(first.clone()));
    let tombstone = delete(&*store, &first, 1001).await;
    assert_eq!(refused(&*store, again()).await, Some(tombstone.clone()));
    assert_eq!(store.get(&path("c/a"), &common::READ).await.unwrap(), Some(tombstone));
}

#[tokio::test]
async fn replace_asks_for_the_version_and_takes_tombstones_too() {
    let store = open().await.documents;
    let missing = document("c/none", "{}");
    let write = Write::Replace { expected: Version::FIRST, document: missing };
    assert_eq!(refused(&*store, write).await, None);
    let first = insert(&*store, "c/a", "{}").await;
    let tombstone = delete(&*store, &first, 1001).await;
    let stale =
        Write::Replace { expected: first.version(), document: first.replaced(at(9), body("{}")) };
    assert_eq!(refused(&*store, stale).await, Some(tombstone.clone()));
    let revived = tombstone.revived(at(1002), body(r#"{"n":3}"#));
    let write = Write::Replace { expected: tombstone.version(), document: revived.clone() };
    assert_eq!(applied(&*store, write).await, revived);
    assert_eq!(revived.version(), Version::new(3));
}

#[tokio::test]
async fn replace_live_equals_a_read_and_a_replace() {
    let store = open().await.documents;
    let live = |expected, data: Option<&str>| Write::ReplaceLive {
        path: path("c/a"),
        expected,
        body: data.map(body),
        now: at(1005),
    };
    assert_eq!(refused(&*store, live(None, Some("{}"))).await, None);
    let first = insert(&*store, "c/a", "{}").await;
    let second = applied(&*store, live(None, Some(r#"{"n":2}"#))).await;
    assert_eq!(second, first.replaced(at(1005), body(r#"{"n":2}"#)));
    assert_eq!(
        refused(&*store, live(Some(first.version()), Some("{}"))).await,
        Some(second.clone())
    );
    let third = applied(&*store, live(Some(second.version()), None)).await;
    assert_eq!(third, second.tombstone(at(1005)));
    assert_eq!(refused(&*store, live(None, Some("{}"))).await, Some(third.clone()));
    assert_eq!(refused(&*store, live(Some(third.version()), None)).await, Some(third));
}

#[tokio::test]
async fn apply_if_newer_stores_the_image_as_it_is_and_never_goes_back() {
    let store = open().await.documents;
    let image = document("c/a", "{}").replaced(at(1), body("{}")).tombstone(at(2));
    assert_eq!(applied(&*store, Write::ApplyIfNewer(image.clone())).await, image);
    let same = refused(&*store, Write::ApplyIfNewer(image.clone())).await;
    assert_eq!(same, Some(image.clone()));
    let older = document("c/a", r#"{"n":1}"#);
    assert_eq!(refused(&*store, Write::ApplyIfNewer(older)).await, Some(image.clone()));
    let newer = image.revived(at(3), body(r#"{"n":4}"#));
    assert_eq!(applied(&*store, Write::ApplyIfNewer(newer.clone())).await, newer);
}

#[tokio::test]
async fn each_write_of_a_batch_has_its_own_outcome_and_sees_those_before_it() {
    let store = open().await.documents;
    let first = document("c/a", "{}");
    let replace = Write::Replace {
        expected: Version::FIRST,
        document: first.replaced(at(1001), body(r#"{"n":2}"#)),
    };
    let writes = vec![Write::Insert(first.clone()), Write::Insert(first), replace];
    let outcomes = store.write(writes, &common::WRITE).await;
    let kinds: Vec<_> =
        outcomes.iter().map(|outcome| matches!(outcome, Ok(Applied::Yes(_)))).collect();
    assert_eq!(kinds, [true, false, true]);
}
