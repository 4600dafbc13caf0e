//! The hub beyond what the conformance suite can see: the ring's bounds and who pays for slow readers.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use syntrix_storage_core::backend::OpenContext;
use syntrix_storage_core::{
    BulkItem, CollectionPath, DocumentPath, DocumentStore, ErrorKind, Event, Location,
    SettingsNode, SettingsValue, WatchOptions, WatchStart, WatchStream,
};
use syntrix_storage_engine::{DocumentEngine, EngineOptions};

async fn engine() -> DocumentEngine {
    let factory = syntrix_storage_memory::factory();
    let provider = factory
        .configure(&SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default()))
        .unwrap();
    let backend = provider.open(&OpenContext::new(".")).await.unwrap();
    DocumentEngine::start(backend.documents().unwrap(), EngineOptions::default())
}

async fn create_many(store: &DocumentEngine, collection: &str, count: usize) {
    let collection = CollectionPath::parse(collection).unwrap();
    let items: Vec<_> = (0..count)
        .map(|number| BulkItem::Create {
            path: collection.document(&format!("d{number}")).unwrap(),
            data: json!({"n": number}),
        })
        .collect();
    for chunk in items.chunks(1000) {
        for result in store.bulk(chunk.to_vec(), Default::default()).await.unwrap() {
            result.unwrap();
        }
    }
}

async fn event(stream: &mut WatchStream) -> Event {
    loop {
        let item = tokio::time::timeout(Duration::from_secs(20), stream.next()).await;
        if let Some(event) = item.expect("no event in time").expect("ended").unwrap().into_event() {
            return event;
        }
    }
}

async fn expect_numbers(stream: &mut WatchStream, count: usize) {
    for number in 0..count {
        assert_eq!(event(stream).await.document.value().unwrap()["n"], number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_behind_the_ring_gets_everything_from_history() {
    let store = engine().await;
    let mut stream = store.watch(None, WatchStart::Now, WatchOptions::default()).await.unwrap();
    create_many(&store, "warm", 1).await;
    event(&mut stream).await;
    // More than the ring holds, while nobody reads.
    create_many(&store, "c", 70_000).await;
    expect_numbers(&mut stream, 70_000).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_topic_is_not_pushed_out_by_a_busy_one() {
    let store = engine().await;
    let quiet = CollectionPath::parse("quiet").unwrap();
    let mut stream =
        store.watch(Some(&quiet), WatchStart::Now, WatchOptions::default()).await.unwrap();
    create_many(&store, "busy", 70_000).await;
    create_many(&store, "quiet", 3).await;
    expect_numbers(&mut stream, 3).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_resume_while_writers_write_miss_and_repeat_nothing() {
    let store = Arc::new(engine().await);
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { create_many(&store, "c", 20_000).await })
    };
    let mut start = WatchStart::Oldest;
    let mut next = 0;
    while next < 20_000 {
        let mut stream = store.watch(None, start, WatchOptions::default()).await.unwrap();
        let mut last = None;
        for _ in 0..(next % 700 + 1).min(20_000 - next) {
            let event = event(&mut stream).await;
            assert_eq!(event.document.value().unwrap()["n"], next);
            next += 1;
            last = Some(event.token);
        }
        start = WatchStart::Token(last.unwrap());
    }
    writer.await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_stream_ends_after_its_idle_timeout() {
    let store = engine().await;
    let options = WatchOptions::default().with_idle_timeout(Duration::from_millis(1));
    let mut stream = store.watch(None, WatchStart::Now, options).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(stream.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_engine_ends_its_streams() {
    let store = engine().await;
    let mut stream = store.watch(None, WatchStart::Now, WatchOptions::default()).await.unwrap();
    drop(store);
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_write_is_whole_or_absent() {
    let store = engine().await;
    for number in 0..200 {
        let path = DocumentPath::parse(&format!("c/d{number}")).unwrap();
        let mut write = store.create(&path, json!({"a": 1, "b": 1}), Default::default());
        for _ in 0..number % 4 {
            if (&mut write).now_or_never().is_some() {
                break;
            }
        }
        drop(write);
        match store.get(&path, Default::default()).await {
            Ok(document) => assert_eq!(document.value().unwrap(), json!({"a": 1, "b": 1})),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
    }
}
