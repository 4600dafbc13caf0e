//! The feed: order, places, what it brings, and how far back it reaches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use serde_json::json;
use syntrix_storage_core::backend::{Applied, Feed, Write};
use syntrix_storage_core::{
    ErrorKind, ExpiredReason, Operation, Position, Query, QueryPlan, Timestamp,
};

use crate::common::{Fixture, START, brief, context, document};
use crate::servers::Server;

#[tokio::test]
async fn four_quick_updates_show_four_documents() {
    let fixture = Fixture::open().await;
    fixture.insert("c/a", json!({"n": 0})).await;
    for number in 1..=4 {
        fixture.update("c/a", json!({"n": number})).await;
    }
    let changes = fixture.changes().await;
    for (number, change) in changes.iter().enumerate() {
        assert_eq!(change.document.value().expect("value"), json!({"n": number}));
        let before = change.before.as_ref().map(|before| before.value().expect("value"));
        assert_eq!(before, number.checked_sub(1).map(|before| json!({"n": before})));
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_delete_and_a_quick_revival_are_both_seen_and_a_purge_is_not() {
    let fixture = Fixture::open().await;
    fixture.insert("c/a", json!({})).await;
    fixture.delete("c/a").await;
    fixture.revive("c/a", json!({"again": true})).await;
    fixture.delete("c/a").await;
    let purged =
        fixture.documents.purge(Timestamp::from_milliseconds(START + 1), 10).await.expect("purge");
    assert_eq!((purged.purged, purged.more), (1, false));
    fixture.insert("c/a", json!({})).await;
    assert_eq!(
        fixture.log().await,
        ["create c/a@1", "delete c/a@2", "create c/a@3", "delete c/a@4", "create c/a@1"]
    );
    fixture.finish().await;
}

#[tokio::test]
async fn documents_under_sys_lie_apart_and_are_watched_alike() {
    let fixture = Fixture::open().await;
    fixture.insert("sys/a", json!({})).await;
    fixture.insert("c/a", json!({})).await;
    let raw = fixture.raw().await.collection::<mongodb::bson::Document>("sys");
    assert_eq!(raw.count_documents(doc! { "fullpath": "sys/a" }).await.expect("count"), 1);
    assert_eq!(fixture.log().await, ["create sys/a@1", "create c/a@1"]);
    fixture.finish().await;
}

#[tokio::test]
async fn every_place_of_the_history_can_be_continued_from() {
    let fixture = Fixture::open().await;
    for number in 0..6 {
        fixture.insert(&format!("c/{number}"), json!({})).await;
    }
    let changes = fixture.changes().await;
    let all: Vec<_> = changes.iter().map(brief).collect();
    for (index, change) in changes.iter().enumerate() {
        let from = Feed::After(change.position.clone());
        let rest = fixture.documents.feed(&from, None, 100).await.expect("feed").changes;
        let rest: Vec<_> = rest.iter().map(brief).collect();
        assert_eq!(rest, all[index + 1..]);
        let until = Some(&changes[4].position);
        let bounded = fixture.documents.feed(&from, until, 100).await.expect("feed");
        assert_eq!(bounded.changes.len(), 4usize.saturating_sub(index));
        assert!(!bounded.more);
    }
    fixture.finish().await;
}

#[tokio::test]
async fn the_end_moves_on_though_nothing_of_ours_happens() {
    let fixture = Fixture::open().await;
    let (first, _) = fixture.documents.feed_end().await.expect("end");
    let other = fixture.raw().await.collection("unwatched");
    other.insert_one(doc! { "x": 1 }).await.expect("insert");
    let page = fixture.documents.feed(&Feed::After(first.clone()), None, 10).await.expect("feed");
    assert!(page.changes.is_empty() && !page.more);
    assert!(page.end.sequence > first.sequence, "an idle token would outlive its history");
    fixture.insert("c/a", json!({})).await;
    for place in [first, page.end] {
        let page = fixture.documents.feed(&Feed::After(place), None, 10).await.expect("feed");
        assert_eq!(page.changes.len(), 1);
    }
    fixture.finish().await;
}

/// Nothing is written anywhere, so no stream gets as far as one that begins now.
#[tokio::test]
async fn the_end_is_reached_at_once_where_nothing_happens_at_all() {
    let server = Server::start(&["--replSet", "own"]).await;
    let fixture = Fixture::on(&server.uri(), &json!({})).await;
    let documents = &fixture.documents;
    let (mut place, _) = documents.feed_end().await.expect("end");
    for number in 0..10 {
        let inserted = fixture.insert(&format!("c/d{number}"), json!({})).await;
        let (end, _) = documents.feed_end().await.expect("end");
        let begun = Instant::now();
        let page = documents.feed(&Feed::After(place), Some(&end), 100).await.expect("page");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let paths: Vec<_> = page.changes.iter().map(|change| change.document.path()).collect();
        assert_eq!((paths, page.more), (vec![inserted.path()], false));
        place = page.end;
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_wait_ends_with_the_change_and_costs_no_answer_time() {
    let fixture = Fixture::open().await;
    let (end, _) = fixture.documents.feed_end().await.expect("end");
    let start = Instant::now();
    let (waited, _) = tokio::join!(
        fixture.documents.wait_for_change(&end, Duration::from_secs(20)),
        fixture.insert("c/a", json!({}))
    );
    waited.expect("wait");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let page = fixture.documents.feed(&Feed::After(end), None, 10).await.expect("feed");
    assert_eq!(page.changes.len(), 1);
    fixture.finish().await;
}

/// Who asks for the end opens a stream, and what is written meanwhile comes with its opening: before the place that is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_each_change_once_while_others_ask_for_the_end() {
    const COUNT: usize = 300;
    let fixture = Arc::new(Fixture::open().await);
    let (mut place, _) = fixture.documents.feed_end().await.expect("end");
    let asked = (0..3).map(|_| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            loop {
                fixture.documents.feed_end().await.expect("end");
            }
        })
    });
    let asked: Vec<_> = asked.collect();
    let writer = tokio::spawn({
        let fixture = Arc::clone(&fixture);
        async move {
            for number in 0..COUNT {
                fixture.insert(&format!("c/{number}"), json!({})).await;
            }
        }
    });
    let mut seen = Vec::new();
    while seen.len() < COUNT {
        let page = fixture.documents.feed(&Feed::After(place), None, 10).await.expect("feed");
        seen.extend(page.changes.iter().map(brief));
        place = page.end;
    }
    writer.await.expect("written");
    asked.iter().for_each(tokio::task::JoinHandle::abort);
    for task in asked {
        assert!(task.await.expect_err("it asks for ever").is_cancelled());
    }
    let expected: Vec<_> = (0..COUNT).map(|number| format!("create c/{number}@1")).collect();
    assert_eq!(seen, expected);
    Arc::into_inner(fixture).expect("nobody else").finish().await;
}

#[tokio::test]
async fn a_page_and_its_place_are_of_one_moment() {
    let fixture = Fixture::open().await;
    for round in 0..20 {
        let (path, plan) = (
            format!("c/{round}"),
            QueryPlan::check(Query::new("c").expect("valid").limit(1000)).expect("valid"),
        );
        let operation = context(Operation::Query);
        let (read, written) = tokio::join!(
            fixture.documents.query_with_position(&plan, &operation),
            fixture.write(Write::Insert(document(&path, json!({}))))
        );
        assert!(matches!(written, Ok(Applied::Yes(_))));
        let (documents, place, _) = read.expect("query");
        let seen = documents.iter().any(|document| document.path().as_str() == path);
        let page = fixture.documents.feed(&Feed::After(place), None, 10).await.expect("feed");
        assert_eq!(page.changes.len(), usize::from(!seen), "round {round}: a gap or a repetition");
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_multi_document_transaction_is_not_split_by_a_page() {
    let fixture = Fixture::open().await;
    for number in 0..5 {
        fixture.insert(&format!("c/{number}"), json!({"n": 0})).await;
    }
    let (start, _) = fixture.documents.feed_end().await.expect("end");
    crate::writers::touch_in_transaction(&fixture, &["c/0", "c/1", "c/2", "c/3"], true).await;
    crate::writers::touch_in_transaction(&fixture, &["c/4"], false).await;
    fixture.insert("c/9", json!({})).await;
    let page = fixture.documents.feed(&Feed::After(start), None, 2).await.expect("feed");
    assert_eq!(page.changes.len(), 4, "the whole transaction, beyond the asked number");
    let middle = Feed::After(page.changes[1].position.clone());
    let rest = fixture.documents.feed(&middle, None, 10).await.expect("feed").changes;
    let rest: Vec<_> = rest.iter().map(brief).collect();
    assert_eq!(rest, ["update c/2@2", "update c/3@2", "create c/9@1"]);
    fixture.finish().await;
}

#[tokio::test]
async fn a_place_of_another_history_is_diverged_and_not_silence() {
    let fixture = Fixture::open().await;
    fixture.insert("c/a", json!({})).await;
    let change = fixture.changes().await.remove(0);
    let mut ahead = change.position.clone();
    // Mark, eight digits of time: the first byte of the time, a century ahead.
    ahead.state[10] = ahead.state[10].saturating_add(0x20);
    let mut unknown = change.position.clone();
    let last = unknown.state.len() - 20;
    unknown.state[last] ^= 0xff;
    for place in [ahead, unknown, Position::default()] {
        let error = fixture.documents.feed(&Feed::After(place), None, 1).await.expect_err("feed");
        assert_eq!(error.kind(), ErrorKind::TokenExpired);
        assert_eq!(error.expired_reason(), Some(ExpiredReason::Diverged));
    }
    fixture.finish().await;
}

#[tokio::test]
async fn trimmed_history_is_expired_before_its_end_and_whole_behind_it() {
    let fixture = Fixture::open().await;
    for number in 0..6 {
        fixture.clock.set(START + number * 1000);
        fixture.insert(&format!("c/{number}"), json!({})).await;
    }
    let changes = fixture.changes().await;
    let times: Vec<_> =
        changes.iter().map(|change| change.commit_time.as_milliseconds() - START).collect();
    assert_eq!(times, [0, 1000, 2000, 3000, 4000, 5000]);
    let from = |index: usize| Feed::After(changes[index].position.clone());
    // A cursor stands at the place that will be refused.
    assert!(fixture.documents.feed(&from(0), None, 1).await.expect("feed").more);
    let trim =
        |before| fixture.documents.trim_feed(Timestamp::from_milliseconds(START + before), 2);
    assert_eq!(trim(3000).await.expect("trim"), 2, "as many as asked");
    assert_eq!(trim(3000).await.expect("trim"), 1);
    assert_eq!(trim(3000).await.expect("trim"), 0);
    assert_eq!(fixture.log().await.len(), 3);
    let again = fixture.again().await;
    for handle in [&fixture, &again] {
        assert_eq!(handle.documents.feed(&from(2), None, 9).await.expect("feed").changes.len(), 3);
        let error = handle.documents.feed(&from(1), None, 9).await.expect_err("trimmed");
        assert_eq!(error.expired_reason(), Some(ExpiredReason::Trimmed));
        assert_eq!(error.oldest_time(), Some(Timestamp::from_milliseconds(START + 3000)));
    }
    again.documents.close().await.expect("close");
    fixture.finish().await;
}

#[tokio::test]
async fn a_dropped_collection_ends_no_watch_and_a_dropped_database_ends_it_loudly() {
    let fixture = Fixture::open().await;
    fixture.insert("c/a", json!({})).await;
    let (mut place, _) = fixture.documents.feed_end().await.expect("end");
    let raw = fixture.raw().await;
    raw.collection::<mongodb::bson::Document>("documents").drop().await.expect("drop");
    fixture.insert("c/b", json!({})).await;
    let mut seen = Vec::new();
    while seen.is_empty() {
        let page = fixture.documents.feed(&Feed::After(place), None, 10).await.expect("feed");
        seen.extend(page.changes.iter().map(brief));
        place = page.end;
    }
    assert_eq!(seen, ["create c/b@1"]);
    raw.drop().await.expect("drop");
    let error = loop {
        match fixture.documents.feed(&Feed::After(place), None, 10).await {
            Ok(page) => place = page.end,
            Err(error) => break error,
        }
    };
    assert_eq!(error.expired_reason(), Some(ExpiredReason::Diverged));
    fixture.finish().await;
}

/// Case 18 of the catalogue of routes: an update in place tells the record as it is by now, or nothing if it is gone; it is never
/// taken for a delete, which would remove the document from a shadow.
#[tokio::test]
async fn case_18_a_foreign_update_tells_a_newer_record_or_nothing_and_never_a_delete() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw_documents().await;
    let set = |n: i64| doc! { "$set": { "data.n": n } };
    fixture.insert("c/a", json!({"n": 1})).await;
    raw.update_one(doc! { "fullpath": "c/a" }, set(2)).await.expect("update");
    fixture.update("c/a", json!({"n": 3})).await;
    fixture.insert("c/b", json!({"n": 1})).await;
    raw.update_one(doc! { "fullpath": "c/b" }, set(2)).await.expect("update");
    raw.delete_one(doc! { "fullpath": "c/b" }).await.expect("delete");
    fixture.insert("c/c", json!({})).await;

    let changes = fixture.changes().await;
    let log: Vec<_> = changes.iter().map(brief).collect();
    let wanted = ["create c/a@1", "update c/a@2", "update c/a@2", "create c/b@1", "create c/c@1"];
    assert_eq!(log, wanted);
    assert_eq!(changes[1].document.value().expect("value"), json!({"n": 3}));
    fixture.finish().await;
}
