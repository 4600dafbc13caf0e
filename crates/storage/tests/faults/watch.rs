//! Watching a feed that fails: events come late, never twice and never not at all.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use syntrix_storage::conformance::faults::{Fault, FaultRule, Method};
use syntrix_storage::{
    DocumentPath, DocumentStore, ErrorKind, Event, WatchOptions, WatchStart, WatchStream,
};

use crate::stores::{Stores, everywhere, in_time};

const DOCUMENTS: usize = 4;
const VERSIONS: i64 = 20;

fn path(number: usize) -> DocumentPath {
    DocumentPath::parse(&format!("rooms/{number}")).unwrap()
}

/// Opening looks at the feed and may fail like any call; a stream that is open does not.
async fn watch(stores: &Stores, start: WatchStart) -> WatchStream {
    loop {
        let options = WatchOptions::default().with_heartbeat(Duration::from_millis(50));
        match stores.documents.watch(None, start.clone(), options).await {
            Ok(stream) => return stream,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
        }
    }
}

/// Every document in every version.
async fn write_all(stores: &Stores) {
    for version in 1..=VERSIONS {
        for number in 0..DOCUMENTS {
            let (path, data) = (path(number), json!({"n": version}));
            match version {
                1 => stores.documents.create(&path, data, Default::default()).await.unwrap(),
                _ => stores.documents.update(&path, data, Default::default()).await.unwrap(),
            };
        }
    }
}

async fn events(stream: &mut WatchStream, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        let item = in_time(stream.next()).await.expect("the stream ended").unwrap();
        events.extend(item.into_event());
    }
    events
}

fn versions(events: &[Event]) -> HashMap<String, Vec<i64>> {
    let mut versions = HashMap::<_, Vec<i64>>::new();
    for event in events {
        let document = &event.document;
        versions.entry(document.path().to_string()).or_default().push(document.version().get());
    }
    versions
}

fn expect_all_once(events: &[Event]) {
    let versions = versions(events);
    assert_eq!(versions.len(), DOCUMENTS);
    for (path, versions) in versions {
        assert_eq!(versions, (1..=VERSIONS).collect::<Vec<_>>(), "{path}");
    }
}

/// Nothing more comes: the next item is a bookmark.
async fn expect_no_more(stream: &mut WatchStream) {
    let item = in_time(stream.next()).await.expect("the stream ended").unwrap();
    assert!(item.into_event().is_none(), "an event too many");
}

fn disturb(stores: &Stores) {
    for kind in [Fault::FailBefore, Fault::FailAfter] {
        for method in [Method::Feed, Method::FeedEnd, Method::WaitForChange] {
            stores.fail(FaultRule::new(kind).at(method).with_chance(0.1));
        }
    }
    stores.fail(FaultRule::new(Fault::Delay(Duration::from_millis(5))).at(Method::Feed).every(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_under_a_failing_feed_gets_every_change_once_and_in_order() {
    everywhere(async |stores| {
        let mut stream = watch(&stores, WatchStart::Now).await;
        disturb(&stores);
        let (events, ()) =
            tokio::join!(events(&mut stream, DOCUMENTS * VERSIONS as usize), write_all(&stores));
        expect_all_once(&events);
        stores.faults.heal();
        expect_no_more(&mut stream).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_history_under_a_failing_feed_gets_every_change_once_and_in_order() {
    everywhere(async |stores| {
        write_all(&stores).await;
        disturb(&stores);
        let mut stream = watch(&stores, WatchStart::Oldest).await;
        let count = DOCUMENTS * VERSIONS as usize;
        let events = events(&mut stream, count).await;
        expect_all_once(&events);
        let middle = WatchStart::Token(events[count / 2].token.clone());
        let mut resumed = watch(&stores, middle).await;
        let rest = self::events(&mut resumed, count - count / 2 - 1).await;
        assert_eq!(versions(&rest), versions(&events[count / 2 + 1..]));
        stores.faults.heal();
        expect_no_more(&mut resumed).await;
    })
    .await;
}

/// Guards against a stream that ends quietly, or never, when the feed cannot be read at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_damaged_ends_the_stream_with_its_error() {
    everywhere(async |stores| {
        let mut stream = watch(&stores, WatchStart::Now).await;
        let damaged = FaultRule::new(Fault::FailBefore).at(Method::Feed);
        stores.fail(damaged.with_error(ErrorKind::Internal));
        write_all(&stores).await;
        let ended = loop {
            match in_time(stream.next()).await.expect("the stream ended quietly") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(ended.kind(), ErrorKind::Internal);
        assert!(in_time(stream.next()).await.is_none());
    })
    .await;
}

/// Wake-ups that never come, or only as errors, delay an event by the next look and lose nothing.
#[tokio::test(flavor = "multi_thread")]
async fn lost_wake_ups_lose_no_event() {
    for fault in [Fault::Hang, Fault::HangAfter, Fault::FailBefore, Fault::FailAfter] {
        everywhere(async |stores| {
            stores.fail(FaultRule::new(fault).at(Method::WaitForChange));
            let mut stream = watch(&stores, WatchStart::Now).await;
            let path = path(0);
            stores.documents.create(&path, json!({}), Default::default()).await.unwrap();
            let created = events(&mut stream, 1).await.remove(0);
            assert_eq!(created.document.path(), &path);
            stores.documents.delete(&path, Default::default()).await.unwrap();
            assert!(events(&mut stream, 1).await[0].document.is_deleted());
        })
        .await;
    }
}

/// A feed that does not answer is no sign of life; what happened meanwhile comes in order when it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_feed_gives_no_bookmarks_and_then_everything() {
    /// The last answer counts for 3 s.
    const SILENCE: Duration = Duration::from_millis(4500);
    everywhere(async |stores| {
        let mut stream = watch(&stores, WatchStart::Now).await;
        expect_no_more(&mut stream).await;
        stores.fail(FaultRule::new(Fault::Delay(SILENCE)).at(Method::Feed).times(1));
        tokio::time::sleep(Duration::from_millis(600)).await;
        write_all(&stores).await;
        let frozen = std::time::Instant::now();
        let mut signs = Vec::new();
        let first = loop {
            match in_time(stream.next()).await.unwrap().unwrap().into_event() {
                Some(event) => break event,
                None => signs.push(frozen.elapsed()),
            }
        };
        let late = signs.iter().filter(|at| **at > Duration::from_millis(3100)).count();
        assert_eq!(late, 0, "signs of life of a feed that is silent: {signs:?}");
        let mut all = vec![first];
        all.extend(events(&mut stream, DOCUMENTS * VERSIONS as usize - 1).await);
        expect_all_once(&all);
    })
    .await;
}
