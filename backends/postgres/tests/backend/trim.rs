//! Cutting off the log: what is too old goes, and places behind it are told apart from those before it.

use serde_json::json;
use syntrix_storage_core::backend::Feed;
use syntrix_storage_core::{ErrorKind, ExpiredReason, Timestamp};

use crate::common::{Fixture, START};

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(milliseconds)
}

/// Ten changes, ten milliseconds apart, read one by one as a watcher would.
async fn ten_changes(fixture: &Fixture) -> Vec<syntrix_storage_core::Position> {
    let mut place = fixture.end().await;
    let mut places = Vec::new();
    for number in 0..10 {
        fixture.clock.set(START + number * 10);
        fixture.insert(&format!("case/d{number}"), json!({})).await;
        let page = fixture.feed(Feed::After(place)).await;
        assert_eq!(page.changes.len(), 1);
        place = page.end;
        places.push(place.clone());
    }
    places
}

#[tokio::test]
async fn a_place_at_the_floor_is_good_and_one_before_it_is_expired() {
    let fixture = Fixture::open().await;
    let live = ten_changes(&fixture).await;
    let history: Vec<_> = fixture
        .feed(Feed::Oldest)
        .await
        .changes
        .into_iter()
        .map(|change| change.position)
        .collect();
    assert_eq!(fixture.documents.trim_feed(at(START + 50), 3).await.expect("trim"), 3);
    assert_eq!(fixture.documents.trim_feed(at(START + 50), 100).await.expect("trim"), 2);
    assert_eq!(fixture.documents.trim_feed(at(START + 50), 100).await.expect("trim"), 0);
    for places in [live, history] {
        for (number, place) in places.into_iter().enumerate() {
            let read = fixture.documents.feed(&Feed::After(place), None, 100).await;
            if number >= 4 {
                assert_eq!(read.expect("read").changes.len(), 9 - number, "behind {number}");
                continue;
            }
            let error = read.expect_err("read");
            assert_eq!(error.kind(), ErrorKind::TokenExpired, "behind {number}");
            assert_eq!(error.expired_reason(), Some(ExpiredReason::Trimmed));
            assert_eq!(error.oldest_time(), Some(at(START + 50)));
        }
    }
    assert_eq!(fixture.feed(Feed::Oldest).await.changes.len(), 5);
}

#[tokio::test]
async fn an_emptied_log_goes_on_where_it_ended() {
    let fixture = Fixture::open().await;
    let places = ten_changes(&fixture).await;
    assert_eq!(fixture.documents.trim_feed(at(START + 1000), 100).await.expect("trim"), 10);
    let end = fixture.end().await;
    // The clock stands before the trimmed changes, yet commit times do not go back.
    fixture.clock.set(START - 5000);
    fixture.insert("case/later", json!({})).await;
    for place in [places[9].clone(), end] {
        let changes = fixture.feed(Feed::After(place)).await.changes;
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].commit_time, at(START + 90));
    }
}

/// A transaction that was under way at the place's time and has gone from the log since was never seen there.
#[tokio::test]
async fn a_place_that_missed_a_slow_transaction_expires_when_that_is_trimmed() {
    let fixture = Fixture::open().await;
    fixture.insert("case/first", json!({})).await;
    let raw = fixture.raw().await;
    let insert = "INSERT INTO changes (event,id,fullpath,created_at,updated_at,version,deleted,data,committed_at) \
        VALUES (1,'\\x00112233445566778899aabbccddeeff','case/slow',1,1,1,false,'{}',1)";
    raw.batch_execute("BEGIN").await.expect("begin");
    raw.batch_execute(insert).await.expect("insert");
    fixture.insert("case/second", json!({})).await;
    let place = fixture.end().await;
    raw.batch_execute("COMMIT").await.expect("commit");
    let good = fixture.end().await;
    assert_eq!(fixture.documents.trim_feed(at(START + 1), 100).await.expect("trim"), 3);
    let error = fixture.documents.feed(&Feed::After(place), None, 10).await.expect_err("read");
    assert_eq!(error.expired_reason(), Some(ExpiredReason::Trimmed));
    assert!(fixture.feed(Feed::After(good)).await.changes.is_empty());
}

/// What becomes visible behind the floor is trimmed later than what is above it.
#[tokio::test]
async fn the_floor_does_not_go_back_when_a_slow_transaction_is_trimmed_last() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw().await;
    let insert = "INSERT INTO changes (event,id,fullpath,created_at,updated_at,version,deleted,data,committed_at) \
        VALUES (1,'\\x00112233445566778899aabbccddeeff','case/slow',1,1,1,false,'{}',1)";
    raw.batch_execute("BEGIN").await.expect("begin");
    raw.batch_execute(insert).await.expect("insert");
    fixture.insert("case/first", json!({})).await;
    fixture.insert("case/second", json!({})).await;
    let missed = fixture.end().await;
    assert_eq!(fixture.documents.trim_feed(at(START + 1), 100).await.expect("trim"), 2);
    let floor = "SELECT floor_seq, floor_nonce FROM metadata";
    let other = fixture.raw().await;
    let high = other.query_one(floor, &[]).await.expect("floor");
    let high: (i64, i64) = (high.get(0), high.get(1));
    raw.batch_execute("COMMIT").await.expect("commit");
    let good = fixture.end().await;
    assert_eq!(fixture.documents.trim_feed(at(START + 1), 100).await.expect("trim"), 1);
    let now = other.query_one(floor, &[]).await.expect("floor");
    assert_eq!((now.get::<_, i64>(0), now.get::<_, i64>(1)), high);
    // The place at the floor by number lacks the slow one; the one behind it lacks nothing.
    let error = fixture.documents.feed(&Feed::After(missed), None, 10).await.expect_err("read");
    assert_eq!(error.expired_reason(), Some(ExpiredReason::Trimmed));
    assert!(fixture.feed(Feed::After(good)).await.changes.is_empty());
    let end = fixture.end().await;
    fixture.insert("case/later", json!({})).await;
    assert_eq!(fixture.feed(Feed::After(end)).await.changes.len(), 1);
}
