//! Opening: what is made, what is verified, what is refused, and that no error shows a password.

use mongodb::bson::{Document as Record, doc};
use serde_json::json;
use syntrix_storage_core::{ErrorKind, Operation};

use crate::common::{Fixture, context, open_context, parse, provider, uri};

#[tokio::test]
async fn eight_processes_may_open_a_new_store_at_once() {
    let first = Fixture::open().await;
    let namespace = first.namespace.clone();
    first.finish().await;
    let opening = (0..8).map(|_| {
        let namespace = namespace.clone();
        tokio::spawn(async move { Fixture::at(&uri(), &namespace, &json!({})).await })
    });
    let mut stores = Vec::new();
    for task in opening.collect::<Vec<_>>() {
        stores.push(task.await.expect("opened"));
    }
    let ids: std::collections::HashSet<_> =
        stores.iter().map(|store| format!("{:?}", store.documents.token_seal())).collect();
    assert_eq!(ids.len(), 1);
    stores[0].insert("c/a", json!({})).await;
    for store in &stores {
        assert!(store.get("c/a").await.is_some());
    }
    let last = stores.pop().expect("one");
    for store in stores {
        store.documents.close().await.expect("close");
    }
    last.finish().await;
}

#[tokio::test]
async fn data_of_a_newer_release_is_left_alone() {
    let fixture = Fixture::open().await;
    let metadata = fixture.raw().await.collection::<Record>("syntrix_metadata");
    let newer = doc! { "$set": { "format": 99 } };
    metadata.update_one(doc! { "_id": "documents:documents" }, newer).await.expect("update");
    let opened = provider(&uri(), &json!({})).open(&open_context(&fixture.namespace)).await;
    assert_eq!(opened.expect_err("too new").kind(), ErrorKind::Unsupported);
    fixture.finish().await;
}

#[tokio::test]
async fn an_index_of_the_schema_that_was_dropped_comes_back_and_a_wrong_one_is_named() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw_documents().await;
    raw.drop_index("fullpath").await.expect("drop");
    let again = fixture.again().await;
    let names = raw.list_index_names().await.expect("names");
    assert!(names.contains(&"fullpath".to_owned()));
    again.documents.close().await.expect("close");
    raw.drop_index("fullpath").await.expect("drop");
    let wrong = doc! {
        "createIndexes": "documents",
        "indexes": [{ "key": { "fullpath": -1 }, "name": "fullpath" }],
    };
    fixture.raw().await.run_command(wrong).await.expect("index");
    let opened = provider(&uri(), &json!({})).open(&open_context(&fixture.namespace)).await;
    assert_eq!(opened.expect_err("wrong index").fact("name"), Some("fullpath"));
    fixture.finish().await;
}

#[tokio::test]
async fn without_before_images_the_store_does_not_claim_them() {
    let fixture = Fixture::on(&uri(), &json!({"beforeImages": false})).await;
    assert!(!fixture.documents.capabilities().before);
    fixture.insert("c/a", json!({})).await;
    fixture.update("c/a", json!({"n": 1})).await;
    assert!(fixture.changes().await.iter().all(|change| change.before.is_none()));
    fixture.finish().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_within_the_time_that_was_set() {
    let start = std::time::Instant::now();
    let settings = json!({"serverSelectionTimeout": "300ms", "connectTimeout": "200ms"});
    let provider =
        provider("mongodb://app:hunter2canary@127.0.0.1:1/?directConnection=true", &settings);
    let error = provider.open(&open_context("t_nobody")).await.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    let shown = format!("{error} {error:?} {provider:?} {}", provider.connection_key());
    assert!(!shown.contains("hunter2canary"), "{shown}");
}

#[tokio::test]
async fn a_deadline_that_passes_is_a_timeout() {
    let fixture = Fixture::open().await;
    let passed = std::time::Instant::now().checked_sub(std::time::Duration::from_millis(20));
    let hurried =
        context(Operation::Read).with_deadline(Some(passed.expect("later than the start")));
    let error = fixture.documents.get(&parse("c/a"), &hurried).await.expect_err("no time");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(fixture.get("c/a").await.is_none(), "the next call is not disturbed");
    fixture.finish().await;
}

#[tokio::test]
async fn only_a_namespace_can_be_removed() {
    let context = syntrix_storage_core::backend::OpenContext::new("unused");
    let error = provider(&uri(), &json!({})).remove_namespace(&context).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
