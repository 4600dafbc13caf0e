//! What a router needs to know: statements about documents name their collections, the shard key.
//!
//! Exports and the search for expired tombstones are about all collections; what a purge removes has a test among the plans.

use futures_util::TryStreamExt;
use mongodb::bson::{Document as Record, doc};
use serde_json::json;
use syntrix_storage_core::backend::Write;
use syntrix_storage_core::{Body, Operation, Query, QueryPlan, Timestamp};

use crate::common::{Fixture, context, document, parse};

/// Every way to reach a document: alone and with others, by path and by plan, with each kind of write.
async fn use_everything(fixture: &Fixture) {
    let (read, bulk) = (context(Operation::Read), context(Operation::Bulk));
    let later = Timestamp::from_milliseconds(crate::common::START + 5);
    let first = fixture.insert("c/a", json!({"n": 1})).await;
    let second = first.replaced(later, Body::from_canonical("{\"n\":2}"));
    let newest = second.replaced(later, Body::from_canonical("{\"n\":3}"));
    let replace = Write::Replace { expected: first.version(), document: second };
    for write in [replace, Write::ApplyIfNewer(newest)] {
        crate::common::applied(fixture.write(write).await);
    }
    fixture.update("c/a", json!({"n": 4})).await;
    fixture.insert("sys/a", json!({})).await;
    let writes = ["c/b", "d/a", "sys/b"].map(|path| Write::Insert(document(path, json!({}))));
    let outcomes = fixture.documents.write(writes.to_vec(), &bulk).await;
    assert!(outcomes.iter().all(Result::is_ok));
    fixture.documents.get(&parse("c/a"), &read).await.expect("get");
    let paths = ["c/a", "d/a", "sys/a"].map(parse);
    fixture.documents.get_many(&paths, &read).await.expect("get");
    let plan = QueryPlan::check(Query::new("c").expect("query")).expect("plan");
    fixture.documents.query(&plan, &context(Operation::Query)).await.expect("query");
    fixture.delete("c/a").await;
    fixture.delete("sys/a").await;
}

/// By what a command of the server's own notes selects documents; an insertion selects none.
fn selections(command: &Record) -> Vec<&Record> {
    let stages = command.get_array("pipeline").map(Vec::as_slice).unwrap_or_default();
    let matches =
        stages.iter().filter_map(|stage| stage.as_document()?.get_document("$match").ok());
    let named = ["filter", "query", "q"].iter().filter_map(|key| command.get_document(key).ok());
    named.chain(matches).collect()
}

/// Whether a selection says in which collections it looks.
fn names_collections(selection: &Record) -> bool {
    let parts = selection.get_array("$and").map(Vec::as_slice).unwrap_or_default();
    let nested = |part: &mongodb::bson::Bson| part.as_document().is_some_and(names_collections);
    selection.contains_key("collection") || parts.iter().any(nested)
}

#[tokio::test]
async fn statements_about_documents_name_the_collections_that_a_cluster_is_sharded_by() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw().await;
    raw.run_command(doc! { "profile": 2 }).await.expect("profile");
    use_everything(&fixture).await;
    raw.run_command(doc! { "profile": 0 }).await.expect("profile");
    let of_documents = ["documents", "sys"].map(|name| format!("{}.{name}", raw.name()));
    let notes = raw.collection::<Record>("system.profile");
    let notes = notes.find(doc! { "ns": { "$in": &of_documents[..] } }).await.expect("notes");
    let notes: Vec<Record> = notes.try_collect().await.expect("notes");
    let mut kinds = std::collections::BTreeSet::new();
    for note in &notes {
        let command = note.get_document("command").expect("command");
        for selection in selections(command) {
            assert!(names_collections(selection), "sent to every shard: {command}");
            kinds.insert(note.get_str("op").expect("op"));
        }
    }
    assert!(kinds.contains("query") && kinds.len() > 1, "not looked at: {kinds:?} of {notes:?}");
    fixture.finish().await;
}
