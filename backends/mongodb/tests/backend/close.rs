//! Closing: the last store closes the connections, none before it does, and the server has none left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::{Document as Record, doc};
use serde_json::json;
use syntrix_storage_core::backend::Feed;
use syntrix_storage_core::{ErrorKind, Operation};

use crate::common::{Fixture, context, parse, uri};
use crate::set::Set;

/// Longer than anybody has to wait for a close.
const LONG: Duration = Duration::from_secs(20);

/// Connections of one application, idle ones included.
async fn connections(client: &mongodb::Client, application: &str) -> usize {
    let pipeline = [
        doc! { "$currentOp": { "allUsers": true, "idleConnections": true } },
        doc! { "$match": { "appName": application } },
    ];
    let cursor = client.database("admin").aggregate(pipeline).await.expect("currentOp");
    let rows: Vec<Record> = futures_util::TryStreamExt::try_collect(cursor).await.expect("rows");
    rows.len()
}

/// The server takes a moment to notice that a socket was closed.
async fn connections_in_the_end(client: &mongodb::Client, application: &str) -> usize {
    for _ in 0..50 {
        if connections(client, application).await == 0 {
            return 0;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    connections(client, application).await
}

#[tokio::test]
async fn the_last_store_takes_the_connections_with_it() {
    let application = format!("closing-{}", fastrand::u32(..));
    let named = format!("{}&appName={application}", uri());
    let observer = mongodb::Client::with_uri_str(&uri()).await.expect("client");
    let first = Fixture::on(&named, &json!({})).await;
    let second = Fixture::on(&named, &json!({})).await;
    first.insert("c/a", json!({})).await;
    // A reader that is still waiting on the server.
    let (end, _) = second.documents.feed_end().await.expect("end");
    let waiting = {
        let (documents, end) = (Arc::clone(&second.documents), end.clone());
        tokio::spawn(async move { documents.wait_for_change(&end, Duration::from_secs(30)).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    first.documents.close().await.expect("close");
    first.documents.close().await.expect("closed already");
    let error =
        first.documents.get(&parse("c/a"), &context(Operation::Read)).await.expect_err("closed");
    assert_eq!(error.kind(), ErrorKind::Closed);
    second.insert("c/b", json!({})).await;
    assert!(connections(&observer, &application).await > 0);
    let start = Instant::now();
    second.documents.close().await.expect("close");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let _ = waiting.await.expect("the wait ends");
    assert_eq!(connections_in_the_end(&observer, &application).await, 0);
    for fixture in [first, second] {
        observer
            .database(&format!("backend_tests_{}", fixture.namespace))
            .drop()
            .await
            .expect("drop");
    }
}

#[tokio::test]
async fn a_reader_that_gives_up_leaves_the_feed_in_order() {
    let fixture = Fixture::open().await;
    let (end, _) = fixture.documents.feed_end().await.expect("end");
    for number in 0..30 {
        let wait = fixture.documents.wait_for_change(&end, Duration::from_secs(1));
        let _ = tokio::time::timeout(Duration::from_millis(number % 4), wait).await;
        let from = Feed::After(end.clone());
        let read = fixture.documents.feed(&from, None, 100);
        let _ = tokio::time::timeout(Duration::from_millis(number % 3), read).await;
        fixture.insert(&format!("c/{number}"), json!({})).await;
    }
    let page = fixture.documents.feed(&Feed::After(end), None, 100).await.expect("feed");
    assert_eq!(page.changes.len(), 30);
    fixture.finish().await;
}

/// Nobody writes: such a server ends a wait with its time alone, whatever is killed. One that has no cursor yet must not begin.
#[tokio::test(flavor = "multi_thread")]
async fn a_close_is_not_held_up_by_who_waits_or_is_about_to() {
    let set = Set::start(1).await;
    let observer = mongodb::Client::with_uri_str(&set.uri("")).await.expect("client");
    let mut quickest = LONG;
    for pause_ms in [0, 1, 2, 3, 5, 8, 100] {
        let application = format!("waiting-{pause_ms}");
        let uri = set.uri(&format!("&appName={application}"));
        let fixture = Fixture::at(&uri, &application.replace('-', "_"), &json!({})).await;
        let (end, _) = fixture.documents.feed_end().await.expect("end");
        // The first takes the cursor that stands there, so the second has to open one.
        let waits = [(); 2].map(|()| {
            let (documents, end) = (Arc::clone(&fixture.documents), end.clone());
            tokio::spawn(async move { documents.wait_for_change(&end, LONG).await })
        });
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        let start = Instant::now();
        fixture.documents.close().await.expect("close");
        quickest = quickest.min(start.elapsed());
        assert!(start.elapsed() < LONG / 4, "{:?}", start.elapsed());
        for waited in waits {
            let _ = waited.await.expect("the wait ends");
        }
        assert_eq!(connections_in_the_end(&observer, &application).await, 0);
    }
    // A second is the longest wait on the server in one go.
    assert!(quickest < Duration::from_millis(500), "{quickest:?}");
}
