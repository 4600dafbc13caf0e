//! How the server answers: by the declared index, without a sort, reading about as much as it returns.

use mongodb::bson::{Document as Record, doc};
use serde_json::json;
use syntrix_storage_core::backend::Write;
use syntrix_storage_core::{
    Direction, IndexDefinition, Operation, Operator, OrderBy, Query, QueryPlan, Timestamp,
};

use crate::common::{Fixture, context, document};

const ROOMS: usize = 20;
const MESSAGES: usize = 2000;

async fn filled() -> (Fixture, IndexDefinition) {
    let fixture = Fixture::open().await;
    let fields = vec![
        OrderBy::new("room", Direction::Ascending).expect("valid"),
        OrderBy::new("sent.at", Direction::Descending).expect("valid"),
    ];
    let index = IndexDefinition::new("a/*/messages", fields).expect("valid");
    fixture.documents.create_index(&index).await.expect("create index");
    let data = |number: usize| json!({"room": format!("r{}", number % ROOMS), "sent": {"at": number}, "tags": [number % 3]});
    let writes = (0..MESSAGES)
        .map(|number| Write::Insert(document(&format!("a/b/messages/{number}"), data(number))));
    let outcomes = fixture.documents.write(writes.collect(), &context(Operation::Bulk)).await;
    assert!(outcomes.iter().all(Result::is_ok));
    (fixture, index)
}

/// Runs the plan while the server's profiler listens, and gives what it noted of the one query.
async fn profile(fixture: &Fixture, plan: &QueryPlan) -> Record {
    let raw = fixture.raw().await;
    raw.run_command(doc! { "profile": 2 }).await.expect("profile");
    fixture.documents.query(plan, &context(Operation::Query)).await.expect("query");
    raw.run_command(doc! { "profile": 0 }).await.expect("profile");
    let filter = doc! { "op": "query", "command.find": "documents" };
    let notes = raw.collection::<Record>("system.profile");
    let note =
        notes.find_one(filter).sort(doc! { "ts": -1 }).await.expect("profile").expect("noted");
    notes.drop().await.expect("drop");
    note
}

fn query() -> Query {
    Query::new("a/b/messages").expect("valid").filter("room", Operator::Equal, "r7").expect("valid")
}

async fn check(fixture: &Fixture, index: &IndexDefinition, query: Query, keys_max: i32) {
    let mut plan = QueryPlan::check(query).expect("valid");
    plan.assign_index(std::slice::from_ref(index)).expect("served");
    let note = profile(fixture, &plan).await;
    let summary = note.get_str("planSummary").expect("summary");
    assert!(summary.contains("s.room") && summary.contains("IXSCAN"), "{summary}");
    assert!(note.get_bool("hasSortStage").is_err(), "sorted in memory: {summary}");
    let keys = note.get_i32("keysExamined").expect("keys");
    assert!(keys <= keys_max, "{keys} keys for {keys_max}: {summary}");
}

#[tokio::test]
async fn a_page_comes_from_the_index_in_its_order() {
    let (fixture, index) = filled().await;
    let newest = query().order_by("sent.at", Direction::Descending).expect("valid").limit(10);
    check(&fixture, &index, newest.clone(), 12).await;
    let since = newest.clone().filter("sent.at", Operator::Greater, 500).expect("valid");
    check(&fixture, &index, since, 12).await;
    let oldest = query().order_by("sent.at", Direction::Ascending).expect("valid").limit(10);
    check(&fixture, &index, oldest, 12).await;
    fixture.finish().await;
}

#[tokio::test]
async fn the_next_page_begins_where_the_last_one_ended() {
    let (fixture, index) = filled().await;
    let newest = query().order_by("sent.at", Direction::Descending).expect("valid").limit(10);
    let path = crate::common::parse("a/b/messages/1007");
    check(&fixture, &index, newest.start_after(vec![json!(1007)], path), 40).await;
    fixture.finish().await;
}

#[tokio::test]
async fn a_purge_names_the_collections_of_what_it_removes() {
    let fixture = Fixture::open().await;
    for path in ["c/a", "c/b", "d/a"] {
        fixture.insert(path, json!({})).await;
        fixture.delete(path).await;
    }
    let raw = fixture.raw().await;
    raw.run_command(doc! { "profile": 2 }).await.expect("profile");
    let report = fixture.documents.purge(Timestamp::LATEST, 10).await.expect("purge");
    raw.run_command(doc! { "profile": 0 }).await.expect("profile");
    assert_eq!((report.purged, report.more), (3, false));
    let notes = raw.collection::<Record>("system.profile");
    let note = notes.find_one(doc! { "op": "remove" }).await.expect("profile").expect("noted");
    let filter = note.get_document("command").and_then(|command| command.get_document("q"));
    let filter = filter.expect("filter");
    assert_eq!(filter.get_document("collection").expect("named"), &doc! { "$in": ["c", "d"] });
    fixture.finish().await;
}
