//! Creates that share a statement, on a server that fails or dawdles when it is told to.

use std::time::{Duration, Instant};

use mongodb::bson::{Document as Record, doc};
use serde_json::json;
use syntrix_storage_core::backend::{Applied, Write};
use syntrix_storage_core::{ErrorKind, Operation, Retry};

use crate::common::{Fixture, context, document};
use crate::servers::Server;

async fn obedient() -> (Server, Fixture) {
    let server =
        Server::start(&["--replSet", "own", "--setParameter", "enableTestCommands=1"]).await;
    let fixture = Fixture::on(&server.uri(), &json!({})).await;
    (server, fixture)
}

/// What the next `times` inserts of documents meet with.
async fn meet(server: &Server, fixture: &Fixture, times: i32, data: Record) {
    let namespace = format!("{}.documents", fixture.raw().await.name());
    let mut all = doc! { "failCommands": ["insert"], "namespace": namespace };
    all.extend(data);
    let command =
        doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": all };
    server.command(command).await;
}

fn creates(names: &[&str]) -> Vec<Write> {
    names.iter().map(|name| Write::Insert(document(name, json!({})))).collect()
}

#[tokio::test]
async fn a_statement_that_ran_out_of_time_is_ambiguous_and_not_run_again() {
    let (server, fixture) = obedient().await;
    for code in [50, 202] {
        meet(&server, &fixture, 1, doc! { "errorCode": code }).await;
        let writes = creates(&["c/a", "c/b"]);
        for outcome in fixture.documents.write(writes, &context(Operation::Bulk)).await {
            let error = outcome.expect_err("nobody knows");
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::IfIdempotent));
        }
        assert!(fixture.get("c/a").await.is_none() && fixture.get("c/b").await.is_none());
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_statement_that_was_refused_is_tried_record_by_record() {
    /// Nothing that the layer knows, and not to be repeated by the driver.
    const BAD_VALUE: i32 = 2;
    let (server, fixture) = obedient().await;
    fixture.insert("c/b", json!({})).await;
    meet(&server, &fixture, 1, doc! { "errorCode": BAD_VALUE }).await;
    let writes = creates(&["c/a", "c/b"]);
    let outcomes = fixture.documents.write(writes, &context(Operation::Bulk)).await;
    assert!(matches!(outcomes[0], Ok(Applied::Yes(_))), "{outcomes:?}");
    assert!(matches!(outcomes[1], Ok(Applied::No(Some(_)))), "{outcomes:?}");
    fixture.finish().await;
}

/// Both statements that may be on their way are held up; whoever waits behind them and gives up has written nothing.
#[tokio::test]
async fn a_create_that_was_given_up_while_it_waited_is_never_written() {
    let (server, fixture) = obedient().await;
    meet(&server, &fixture, 2, doc! { "blockConnection": true, "blockTimeMS": 1500 }).await;
    let write = |name: &'static str, limit: Option<Duration>| {
        let documents = std::sync::Arc::clone(&fixture.documents);
        let deadline = limit.map(|limit| Instant::now() + limit);
        let operation = context(Operation::Write).with_deadline(deadline);
        tokio::spawn(async move { documents.write(creates(&[name]), &operation).await.remove(0) })
    };
    let mut held_up = Vec::new();
    for name in ["c/first", "c/second"] {
        held_up.push(write(name, None));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let late = write("c/late", Some(Duration::from_millis(100)));
    let dropped = write("c/dropped", None);
    let waiting = write("c/waiting", None);
    let error = late.await.expect("task").expect_err("no time");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    dropped.abort();
    for task in held_up.into_iter().chain([waiting]) {
        assert!(matches!(task.await.expect("task"), Ok(Applied::Yes(_))));
    }
    // Behind all that waited.
    fixture.insert("c/last", json!({})).await;
    let log = fixture.log().await;
    let late = |entry: &String| entry.contains("c/late") || entry.contains("c/dropped");
    assert!(!log.iter().any(late), "{log:?}");
    assert_eq!(log.len(), 4);
    fixture.finish().await;
}

/// More than the driver sends in one message.
#[tokio::test]
async fn creates_of_many_bytes_go_in_several_statements() {
    let fixture = Fixture::open().await;
    let text = "x".repeat(900_000);
    fixture.insert("c/55", json!({})).await;
    let write = |number| Write::Insert(document(&format!("c/{number}"), json!({ "text": text })));
    let writes: Vec<Write> = (0..60).map(write).collect();
    let outcomes = fixture.documents.write(writes, &context(Operation::Bulk)).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let stored = matches!(outcome.expect("write"), Applied::Yes(_));
        assert_eq!(stored, number != 55, "{number}");
    }
    fixture.finish().await;
}
