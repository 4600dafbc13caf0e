//! What goes into the server comes out of it, key by key and number by number.

use mongodb::bson::doc;
use serde_json::{Value, json};

use crate::common::Fixture;

#[tokio::test]
async fn every_kind_of_value_and_key_survives_the_server() {
    let fixture = Fixture::open().await;
    let values = json!({
        "": {"": [{}, [], ""]},
        "$set": {"$gt": 1, "$oid": "no id", "$date": {"$numberLong": "1"}},
        "1.0.1": {"a.b": {"..": 1}},
        "%": "%25", "%_": "%2E", "%24x": true,
        "q\"r\\s\n\t": "\u{1}\u{1f600}é",
        "_id": 1,
        "numbers": [0, -1, i64::MAX, i64::MIN, 9007199254740993i64, 0.1, -1.5e300, 5e-324, 1e19, 1.7976931348623157e308],
        "long": "x".repeat(100_000),
        "null": null,
    });
    let nested = json!({ "nested": values });
    fixture.insert("c/values", nested.clone()).await;
    let stored = fixture.get("c/values").await.expect("present");
    assert_eq!(stored.value().expect("value"), nested);
    // The feed decodes what the driver parsed, not the raw answer: it must come to the same.
    let changes = fixture.changes().await;
    assert_eq!(changes[0].document, stored);
    fixture.finish().await;
}

#[tokio::test]
async fn the_largest_document_in_its_worst_form_is_stored_watched_and_replaced() {
    let fixture = Fixture::open().await;
    let zeros = Value::from(vec![0; 524_000]);
    fixture.insert("c/zeros", json!({ "zeros": zeros })).await;
    let updated = fixture.update("c/zeros", json!({ "zeros": zeros })).await;
    let changes = fixture.changes().await;
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[1].document.raw(), updated.raw());
    assert!(changes[1].before.is_some(), "both images fit into one event");
    fixture.finish().await;
}

#[tokio::test]
async fn a_record_that_somebody_else_damaged_is_an_error_and_stops_no_watcher() {
    let fixture = Fixture::open().await;
    fixture.insert("c/a", json!({"n": 1})).await;
    let raw = fixture.raw_documents().await;
    raw.insert_one(doc! { "_id": "foreign" }).await.expect("insert");
    raw.update_one(doc! { "fullpath": "c/a" }, doc! { "$set": { "data.n": 2_i64 } })
        .await
        .expect("update");
    fixture.insert("c/b", json!({})).await;
    let log = fixture.log().await;
    assert_eq!(log, ["create c/a@1", "update c/a@1", "create c/b@1"]);
    raw.update_one(doc! { "fullpath": "c/b" }, doc! { "$unset": { "data": 1 } })
        .await
        .expect("update");
    let read = fixture
        .documents
        .get(
            &crate::common::parse("c/b"),
            &crate::common::context(syntrix_storage_core::Operation::Read),
        )
        .await;
    assert_eq!(read.expect_err("damaged").kind(), syntrix_storage_core::ErrorKind::Internal);
    fixture.finish().await;
}

#[tokio::test]
async fn a_foreign_change_too_large_for_its_images_comes_without_them_and_stops_nobody() {
    let fixture = Fixture::open().await;
    fixture.insert("c/a", json!({})).await;
    let raw = fixture.raw_documents().await;
    for version in 2_i64..=3 {
        let mut record = raw.find_one(doc! {}).await.expect("find").expect("present");
        record.insert("version", version);
        record.insert("op", "u");
        record.insert("data", doc! { "filler": "x".repeat(9 << 20) });
        raw.replace_one(doc! { "fullpath": "c/a" }, record).await.expect("replace");
    }
    fixture.insert("c/b", json!({})).await;
    let changes = fixture.changes().await;
    let log: Vec<_> = changes.iter().map(crate::common::brief).collect();
    assert_eq!(log, ["create c/a@1", "update c/a@2", "update c/a@3", "create c/b@1"]);
    assert!(changes[1].before.is_some() && changes[2].before.is_none());
    fixture.finish().await;
}

#[tokio::test]
async fn a_strong_read_asks_a_majority() {
    let fixture = Fixture::open().await;
    fixture.insert("c/a", json!({"n": 1})).await;
    let context = crate::common::context(syntrix_storage_core::Operation::Read);
    let strong = context.with_consistency(syntrix_storage_core::Consistency::Strong);
    let read = fixture.documents.get(&crate::common::parse("c/a"), &strong).await.expect("get");
    assert_eq!(read.expect("present").raw(), r#"{"n":1}"#);
    fixture.finish().await;
}
