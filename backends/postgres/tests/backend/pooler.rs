//! Behind a transaction-mode pooler: no prepared statement is left behind, nothing is set for the session, nobody listens.

use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::Feed;
use syntrix_storage_core::{Direction, Operation, Query, QueryPlan};

use crate::common::{Fixture, context};

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_a_session_of_its_own() {
    let fixture = Fixture::with(&json!({"pooler": "transaction"})).await;
    for number in 0..5 {
        fixture.insert(&format!("case/d{number}"), json!({"k": number % 2, "n": number})).await;
    }
    assert_eq!(fixture.get("case/d3").await.expect("document").value().expect("value")["n"], 3);
    assert_eq!(fixture.log().await.len(), 5);
    let query = Query::new("case")
        .and_then(|query| query.order_by("k", Direction::Ascending))
        .and_then(|query| query.order_by("n", Direction::Descending))
        .expect("query");
    let path = syntrix_storage_core::DocumentPath::parse("case/d2").expect("path");
    let plan = QueryPlan::check(query.start_after(vec![json!(0), json!(2)], path)).expect("plan");
    let found = fixture.documents.query(&plan, &context(Operation::Query)).await.expect("query");
    let names: Vec<_> = found.iter().map(|document| document.id().to_owned()).collect();
    assert_eq!(names, ["d0", "d3", "d1"]);
    let listens = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%LISTEN %' AND query LIKE '%' || \
        (SELECT encode(store_id, 'hex') FROM metadata) || '%'";
    let raw = fixture.raw().await;
    assert_eq!(raw.query_one(listens, &[]).await.expect("activity").get::<_, i64>(0), 0);
    let place = fixture.end().await;
    let other = fixture.again().await;
    other.insert("case/later", json!({})).await;
    let started = Instant::now();
    let mut page = fixture.feed(Feed::After(place.clone())).await;
    while page.changes.is_empty() {
        assert!(started.elapsed() < Duration::from_secs(5), "never seen");
        fixture
            .documents
            .wait_for_change(&page.end, Duration::from_millis(500))
            .await
            .expect("wait");
        page = fixture.feed(Feed::After(place.clone())).await;
    }
}
