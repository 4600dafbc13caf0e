//! The change log: order, places, bounds and waiting.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{applied, at, body, delete, document, insert, open, open_in, path, provider, refused};
use syntrix_storage_core::backend::{Change, DocumentBackend, Feed, FeedPage, Write};
use syntrix_storage_core::{
    ErrorKind, EventType, ExpiredReason, Position, Query, QueryPlan, Timestamp, Version,
};

async fn read(store: &dyn DocumentBackend, from: &Feed) -> FeedPage {
    store.feed(from, None, 100).await.unwrap()
}

fn summary(change: &Change) -> (EventType, i64, bool) {
    (change.event_type, change.document.version().get(), change.before.is_some())
}

#[tokio::test]
async fn every_write_leaves_one_change_with_type_image_and_image_before() {
    let store = open().await.documents;
    let first = insert(&*store, "c/a", "{}").await;
    let write = |now| Write::ReplaceLive {
        path: path("c/a"),
        expected: None,
        body: Some(body("{}")),
        now: at(now),
    };
    let second = applied(&*store, write(1001)).await;
    let tombstone = delete(&*store, &second, 1002).await;
    let revived = tombstone.revived(at(1003), body("{}"));
    let replace = Write::Replace { expected: tombstone.version(), document: revived.clone() };
    applied(&*store, replace).await;
    assert_eq!(refused(&*store, Write::Insert(document("c/a", "{}"))).await, Some(revived));
    let page = read(&*store, &Feed::Oldest).await;
    let changes: Vec<_> = page.changes.iter().map(summary).collect();
    let expected = [
        (EventType::Create, 1, false),
        (EventType::Update, 2, true),
        (EventType::Delete, 3, true),
        (EventType::Create, 4, false),
    ];
    assert_eq!(changes, expected);
    assert_eq!(page.changes[1].before, Some(first));
    assert_eq!(page.changes[2].document, tombstone);
    assert_eq!(page.end, page.changes[3].position);
}

#[tokio::test]
async fn mirrored_images_leave_changes_too() {
    let store = open().await.documents;
    let first = document("c/a", "{}");
    for image in [first.tombstone(at(1)), first.tombstone(at(1)).revived(at(2), body("{}"))] {
        applied(&*store, Write::ApplyIfNewer(image)).await;
    }
    let page = read(&*store, &Feed::Oldest).await;
    let changes: Vec<_> = page.changes.iter().map(summary).collect();
    assert_eq!(changes, [(EventType::Delete, 2, false), (EventType::Create, 3, false)]);
}

#[tokio::test]
async fn pages_continue_exactly_behind_the_last_change_and_stop_at_the_bound() {
    let store = open().await.documents;
    for number in 0..10 {
        insert(&*store, &format!("c/{number}"), "{}").await;
    }
    let all = read(&*store, &Feed::Oldest).await.changes;
    for (skipped, change) in all.iter().enumerate() {
        let from = Feed::After(change.position.clone());
        let page = store.feed(&from, None, 4).await.unwrap();
        let left = all.len() - skipped - 1;
        assert_eq!((page.changes.len(), page.more), (left.min(4), left > 4));
        let expected = page.changes.last().map_or(&change.position, |last| &last.position);
        assert_eq!(page.end, *expected);
    }
    let page = store.feed(&Feed::Oldest, Some(&all[4].position), 5).await.unwrap();
    assert_eq!((page.changes.len(), page.more), (5, false));
    let page = store.feed(&Feed::Oldest, Some(&all[4].position), 3).await.unwrap();
    assert_eq!((page.changes.len(), page.more), (3, true));
    let behind = Feed::After(all[7].position.clone());
    let page = store.feed(&behind, Some(&all[4].position), 3).await.unwrap();
    assert_eq!((page.changes.len(), page.more, page.end), (0, false, all[7].position.clone()));
}

#[tokio::test]
async fn a_place_behind_trimmed_changes_is_expired_with_the_oldest_time() {
    let opened = open().await;
    let store = opened.documents;
    for number in 0..6 {
        opened.clock.set(1000 + number);
        insert(&*store, &format!("c/{number}"), "{}").await;
    }
    let all = read(&*store, &Feed::Oldest).await.changes;
    assert_eq!(store.trim_feed(at(1003), 2).await.unwrap(), 2);
    assert_eq!(store.trim_feed(at(1003), 10).await.unwrap(), 1);
    assert_eq!(store.trim_feed(at(1003), 10).await.unwrap(), 0);
    for (index, change) in all.iter().enumerate() {
        let outcome = store.feed(&Feed::After(change.position.clone()), None, 10).await;
        // The third change is the floor itself: nothing behind it is gone.
        if index >= 2 {
            assert_eq!(outcome.unwrap().changes.len(), all.len() - index - 1);
        } else {
            let error = outcome.unwrap_err();
            assert_eq!(error.expired_reason(), Some(ExpiredReason::Trimmed));
            assert_eq!(error.oldest_time(), Some(at(1003)));
        }
    }
    let start = store.feed(&Feed::After(Position::default()), None, 10).await.unwrap_err();
    assert_eq!(start.kind(), ErrorKind::TokenExpired);
    assert_eq!(read(&*store, &Feed::Oldest).await.changes.len(), 3);
    assert_eq!(store.trim_feed(at(9999), 10).await.unwrap(), 3);
    let end = store.feed_end().await.unwrap();
    assert_eq!(end, (all[5].position.clone(), at(1005)));
    assert!(read(&*store, &Feed::After(end.0)).await.changes.is_empty());
}

#[tokio::test]
async fn a_place_that_is_not_in_this_history_is_diverged() {
    let store = open().await.documents;
    insert(&*store, "c/a", "{}").await;
    let (end, _) = store.feed_end().await.unwrap();
    let ahead = Position { sequence: end.sequence + 1, ..end.clone() };
    let far = Position { sequence: u64::MAX, ..end.clone() };
    let other = Position { nonce: end.nonce ^ 1, ..end.clone() };
    let start = Position { nonce: 7, ..Position::default() };
    let stated = Position { state: vec![1], ..end };
    for position in [ahead, far, other, start, stated] {
        let error = store.feed(&Feed::After(position.clone()), None, 1).await.unwrap_err();
        assert_eq!(error.expired_reason(), Some(ExpiredReason::Diverged), "{position:?}");
    }
}

#[tokio::test]
async fn a_query_brings_the_place_its_snapshot_ends_at() {
    let store = open().await.documents;
    let plan = QueryPlan::new(Query::new("c").unwrap(), &[]).unwrap();
    let (documents, position, time) =
        store.query_with_position(&plan, &common::READ).await.unwrap();
    assert_eq!((documents.len(), position, time), (0, Position::default(), Timestamp::default()));
    insert(&*store, "c/a", "{}").await;
    let (documents, position, time) =
        store.query_with_position(&plan, &common::READ).await.unwrap();
    assert_eq!((documents.len(), time), (1, at(1000)));
    assert_eq!(position, store.feed_end().await.unwrap().0);
}

#[tokio::test]
async fn waiting_ends_with_a_change_that_came_before_during_or_never() {
    let store = open().await.documents;
    let start = Position::default();
    store.wait_for_change(&start, Duration::from_millis(1)).await.unwrap();
    let waiter = {
        let (store, start) = (Arc::clone(&store), start.clone());
        // Without the wake-up this would hang, not just be slow.
        tokio::spawn(async move { store.wait_for_change(&start, Duration::MAX).await })
    };
    tokio::task::yield_now().await;
    insert(&*store, "c/a", "{}").await;
    waiter.await.unwrap().unwrap();
    store.wait_for_change(&start, Duration::MAX).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writers_leave_a_gapless_log_and_wake_every_reader() {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 200;
    let store = open().await.documents;
    let reader = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let (mut place, mut seen) = (Position::default(), Vec::new());
            while seen.len() < (WRITERS * WRITES) as usize {
                store.wait_for_change(&place, Duration::MAX).await.unwrap();
                let page = store.feed(&Feed::After(place), None, 7).await.unwrap();
                seen.extend(page.changes.iter().map(|change| change.position.sequence));
                place = page.end;
            }
            seen
        })
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in 0..WRITES {
                    insert(&*store, &format!("c/{writer}-{number}"), "{}").await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(reader.await.unwrap(), (1..=WRITERS * WRITES).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_token_of_an_earlier_opening_opens_and_shows_another_epoch() {
    let provider = provider();
    let first = open_in(&*provider, Some("n1")).await;
    let token = first.documents.token_seal().seal(&Position::default(), at(0));
    first.documents.close().await.unwrap();
    first.backend.close().await.unwrap();
    let second = open_in(&*provider, Some("n1")).await;
    let seal = second.documents.token_seal();
    assert_ne!(seal.open(&token).unwrap().epoch, seal.epoch());
    let other = open_in(&*provider, Some("n2")).await;
    let error = other.documents.token_seal().open(&token).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenForeign);
}

#[tokio::test]
async fn a_purge_is_silent_and_the_path_begins_anew() {
    let store = open().await.documents;
    let first = insert(&*store, "c/a", "{}").await;
    delete(&*store, &first, 1001).await;
    let before = store.feed_end().await.unwrap();
    assert_eq!(store.purge(at(1002), 10).await.unwrap().purged, 1);
    assert_eq!(store.feed_end().await.unwrap(), before);
    assert_eq!(insert(&*store, "c/a", "{}").await.version(), Version::FIRST);
}
