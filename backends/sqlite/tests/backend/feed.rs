//! The change log: pages, anchors, trimming, waking.

use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::backend::{Feed, FeedPage};
use syntrix_storage_core::{Error, ExpiredReason, Position, Timestamp};

use crate::common::{Fixture, START, brief};

async fn with_changes(count: usize) -> Fixture {
    let fixture = Fixture::open().await;
    for number in 0..count {
        fixture.insert(&format!("rooms/r{number}"), json!({"n": number})).await;
    }
    fixture
}

async fn expired(fixture: &Fixture, position: &Position) -> Error {
    let feed = fixture.documents.feed(&Feed::After(position.clone()), None, 10).await;
    feed.expect_err("the position was accepted")
}

fn names(page: &FeedPage) -> Vec<String> {
    page.changes.iter().map(brief).collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let fixture = with_changes(7).await;
    let mut from = Feed::Oldest;
    let mut seen = Vec::new();
    loop {
        let page = fixture.documents.feed(&from, None, 3).await.expect("feed");
        seen.extend(names(&page));
        from = Feed::After(page.end.clone());
        assert_eq!(page.more, seen.len() < 7);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, fixture.log().await);
    assert_eq!(seen.len(), 7);
}

#[tokio::test]
async fn every_change_can_be_resumed_from() {
    let fixture = with_changes(5).await;
    let all = fixture.feed(Feed::Oldest).await.changes;
    for (number, change) in all.iter().enumerate() {
        let page = fixture.feed(Feed::After(change.position.clone())).await;
        assert_eq!(names(&page), all[number + 1..].iter().map(brief).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_empty_log_has_an_end_that_can_be_resumed_from() {
    let fixture = Fixture::open().await;
    let (end, time) = fixture.documents.feed_end().await.expect("end");
    assert_eq!((end.clone(), time.as_milliseconds()), (Position::default(), 0));
    let page = fixture.feed(Feed::After(end.clone())).await;
    assert_eq!((page.changes.len(), page.end, page.more), (0, end.clone(), false));
    fixture.insert("rooms/lobby", json!({})).await;
    assert_eq!(fixture.feed(Feed::After(end)).await.changes.len(), 1);
}

#[tokio::test]
async fn until_bounds_the_page_and_what_counts_as_more() {
    let fixture = with_changes(5).await;
    let all = fixture.feed(Feed::Oldest).await.changes;
    let until = &all[2].position;
    let page = fixture.documents.feed(&Feed::Oldest, Some(until), 10).await.expect("feed");
    assert_eq!((page.changes.len(), &page.end, page.more), (3, until, false));
    let page = fixture.documents.feed(&Feed::Oldest, Some(until), 2).await.expect("feed");
    assert_eq!((page.changes.len(), page.more), (2, true));
}

#[tokio::test]
async fn the_end_is_the_last_change_and_its_time() {
    let fixture = with_changes(2).await;
    let last = fixture.feed(Feed::Oldest).await.changes.remove(1);
    let (end, time) = fixture.documents.feed_end().await.expect("end");
    assert_eq!((end, time), (last.position, last.commit_time));
}

#[tokio::test]
async fn commit_times_never_go_back_with_the_clock() {
    let fixture = Fixture::open().await;
    for (number, time) in
        [START, START + 50, START - 1000, START + 10, START + 60].iter().enumerate()
    {
        fixture.clock.set(*time);
        fixture.insert(&format!("rooms/r{number}"), json!({})).await;
    }
    let changes = fixture.feed(Feed::Oldest).await.changes;
    let times: Vec<_> =
        changes.iter().map(|change| change.commit_time.as_milliseconds() - START).collect();
    assert_eq!(times, [0, 50, 50, 50, 60]);
}

#[tokio::test]
async fn a_position_behind_the_end_or_with_another_nonce_has_diverged() {
    let fixture = with_changes(3).await;
    let end = fixture.end().await;
    let ahead = Position { sequence: end.sequence + 1, ..end.clone() };
    let other = Position { nonce: end.nonce ^ 1, ..end.clone() };
    let huge = Position { sequence: u64::MAX, ..end.clone() };
    let start = Position { nonce: 1, ..Position::default() };
    for position in [ahead, other, huge, start] {
        let error = expired(&fixture, &position).await;
        assert_eq!(error.expired_reason(), Some(ExpiredReason::Diverged), "{position:?}");
    }
    fixture.feed(Feed::After(end)).await;
}

#[tokio::test]
async fn trimming_removes_old_changes_only_and_moves_the_floor() {
    let fixture = Fixture::open().await;
    for number in 0..6 {
        fixture.clock.set(START + number * 10);
        fixture.insert(&format!("rooms/r{number}"), json!({})).await;
    }
    let all = fixture.feed(Feed::Oldest).await.changes;
    let before = Timestamp::from_milliseconds(START + 35);
    assert_eq!(fixture.documents.trim_feed(before, 3).await.expect("trim"), 3);
    assert_eq!(fixture.documents.trim_feed(before, 3).await.expect("trim"), 1);
    assert_eq!(fixture.documents.trim_feed(before, 3).await.expect("trim"), 0);

    let at_floor = fixture.feed(Feed::After(all[3].position.clone())).await;
    assert_eq!(names(&at_floor), all[4..].iter().map(brief).collect::<Vec<_>>());
    assert_eq!(fixture.log().await.len(), 2);

    let error = expired(&fixture, &all[2].position).await;
    assert_eq!(error.expired_reason(), Some(ExpiredReason::Trimmed));
    assert_eq!(error.oldest_time(), Some(all[4].commit_time));
    let forged = Position { nonce: all[3].position.nonce ^ 1, ..all[3].position.clone() };
    assert_eq!(expired(&fixture, &forged).await.expired_reason(), Some(ExpiredReason::Diverged));
}

#[tokio::test]
async fn a_log_trimmed_to_nothing_keeps_its_end_and_its_numbers() {
    let fixture = with_changes(3).await;
    let end = fixture.end().await;
    let later = Timestamp::from_milliseconds(START + 1000);
    assert_eq!(fixture.documents.trim_feed(later, 100).await.expect("trim"), 3);
    assert_eq!(fixture.end().await, end);
    assert_eq!(fixture.feed(Feed::Oldest).await.end, end);

    // The clock stands before the trimmed changes, yet commit times do not go back.
    fixture.clock.set(START - 5000);
    fixture.insert("rooms/next", json!({})).await;
    let page = fixture.feed(Feed::After(end.clone())).await;
    assert_eq!(names(&page), ["create rooms/next@1"]);
    assert_eq!(page.end.sequence, end.sequence + 1);
    assert_eq!(page.changes[0].commit_time.as_milliseconds(), START);
    let error = expired(&fixture, &Position::default()).await;
    assert_eq!(error.expired_reason(), Some(ExpiredReason::Trimmed));
}

#[tokio::test]
async fn a_restored_older_file_has_diverged_from_what_came_after_it() {
    let fixture = with_changes(2).await;
    fixture.backend.close().await.expect("close");
    let copy = std::fs::read(fixture.file()).expect("read");
    let fixture = fixture.again().await;
    fixture.insert("rooms/lost", json!({})).await;
    let lost = fixture.end().await;
    fixture.backend.close().await.expect("close");

    std::fs::write(fixture.file(), copy).expect("restore");
    let fixture = fixture.again().await;
    assert_eq!(expired(&fixture, &lost).await.expired_reason(), Some(ExpiredReason::Diverged));
    // The number is given again, with another nonce.
    fixture.insert("rooms/other", json!({})).await;
    assert_eq!(fixture.end().await.sequence, lost.sequence);
    assert_eq!(expired(&fixture, &lost).await.expired_reason(), Some(ExpiredReason::Diverged));
}

#[tokio::test]
async fn positions_and_tokens_survive_the_end_of_the_process() {
    let fixture = with_changes(3).await;
    let end = fixture.end().await;
    let token = fixture.documents.token_seal().seal(&end, Timestamp::from_milliseconds(START));
    drop((fixture.documents, fixture.backend));
    let fixture = Fixture::in_folder(std::sync::Arc::clone(&fixture.folder), &json!({})).await;
    let opened = fixture.documents.token_seal().open(&token).expect("token");
    assert_eq!(opened.position, end);
    assert!(fixture.feed(Feed::After(end)).await.changes.is_empty());
}

#[tokio::test]
async fn waiting_returns_at_once_when_there_is_a_change_already() {
    let fixture = with_changes(1).await;
    fixture.wait(&Position::default()).await;
}

#[tokio::test]
async fn waiting_returns_when_a_write_commits_and_the_change_is_there() {
    let fixture = with_changes(1).await;
    for number in 0..50 {
        let end = fixture.end().await;
        let path = format!("rooms/next{number}");
        let wait = fixture.wait(&end);
        let ((), _) = tokio::join!(wait, fixture.insert(&path, json!({})));
        assert_eq!(fixture.feed(Feed::After(end)).await.changes.len(), 1);
    }
}

#[tokio::test]
async fn waiting_ends_with_its_timeout() {
    let fixture = with_changes(1).await;
    let end = fixture.end().await;
    fixture.documents.wait_for_change(&end, Duration::from_millis(5)).await.expect("wait");
    assert_eq!(fixture.end().await, end);
    fixture.documents.wait_for_change(&Position::default(), Duration::MAX).await.expect("wait");
}

#[tokio::test]
async fn waiting_ends_when_the_store_is_closed() {
    let fixture = with_changes(1).await;
    let end = fixture.end().await;
    let (waited, closed) = tokio::join!(
        fixture.documents.wait_for_change(&end, Duration::from_secs(600)),
        fixture.documents.close()
    );
    closed.expect("close");
    // Closed before or after the wait began.
    assert!(
        waited.is_ok()
            || waited.is_err_and(|error| error.kind() == syntrix_storage_core::ErrorKind::Closed)
    );
}

#[tokio::test]
async fn purge_and_indexes_are_no_changes() {
    let fixture = with_changes(1).await;
    fixture.delete("rooms/r0").await;
    let end = fixture.end().await;
    let later = Timestamp::from_milliseconds(START + 1000);
    assert_eq!(fixture.documents.purge(later, 10).await.expect("purge").purged, 1);
    assert_eq!(fixture.end().await, end);
}
