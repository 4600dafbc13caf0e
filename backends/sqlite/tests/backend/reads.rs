//! Reads on every lane: inline, on blocking threads, late.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::{CallContext, Write};
use syntrix_storage_core::{ErrorKind, Operation, Operator, Query, QueryPlan, Timestamp};

use crate::common::{Fixture, START, context, document, parse};

#[tokio::test]
async fn get_many_keeps_the_order_and_repeats() {
    let fixture = Fixture::open().await;
    fixture.insert("rooms/a", json!({"n": 1})).await;
    fixture.insert("rooms/b", json!({"n": 2})).await;
    let paths = ["rooms/b", "rooms/none", "rooms/a", "rooms/b"].map(parse);
    let found = fixture.documents.get_many(&paths, &context(Operation::Read)).await.expect("read");
    let names: Vec<_> =
        found.iter().map(|found| found.as_ref().map(|found| found.id().to_owned())).collect();
    assert_eq!(names, [Some("b".into()), None, Some("a".into()), Some("b".into())]);

    let many: Vec<_> = (0..1000).map(|n| parse(&format!("rooms/{}", ["a", "x"][n % 2]))).collect();
    let found = fixture.documents.get_many(&many, &context(Operation::Read)).await.expect("read");
    assert_eq!(found.iter().flatten().count(), 500);
}

#[tokio::test]
async fn reads_work_without_the_inline_lane_and_with_one_connection() {
    let settings = json!({"inlineReads": false, "readersMax": 1});
    let fixture = Arc::new(Fixture::with(&settings).await);
    let stored = fixture.insert("rooms/a", json!({"n": 1})).await;
    let reads: Vec<_> = (0..50)
        .map(|_| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move { fixture.get("rooms/a").await })
        })
        .collect();
    for read in reads {
        assert_eq!(read.await.expect("read"), Some(stored.clone()));
    }
    assert_eq!(fixture.end().await.sequence, 1);
    assert_eq!(fixture.log().await.len(), 1);
}

async fn filled(count: usize) -> Fixture {
    let fixture = Fixture::with(&json!({"synchronous": "normal"})).await;
    let writes = (0..count).map(|n| {
        Write::Insert(document(&format!("rooms/r{n}"), json!({"n": n, "tags": ["a", "b", "c", n]})))
    });
    let outcomes = fixture.documents.write(writes.collect(), &context(Operation::Bulk)).await;
    assert!(outcomes.iter().all(Result::is_ok));
    fixture
}

fn scanning_plan() -> QueryPlan {
    let query =
        Query::new("rooms").expect("query").filter("tags", Operator::Contains, json!("zzz"));
    QueryPlan::check(query.expect("filter")).expect("plan")
}

#[tokio::test]
async fn a_long_query_stops_at_its_deadline_and_the_connection_stays_usable() {
    let fixture = filled(5000).await;
    let late = CallContext::new(Operation::Query).with_deadline(Some(Instant::now()));
    for _ in 0..10 {
        let error = fixture.documents.query(&scanning_plan(), &late).await.expect_err("answered");
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }
    let in_time = CallContext::new(Operation::Query)
        .with_deadline(Some(Instant::now() + Duration::from_secs(3600)));
    assert!(fixture.documents.query(&scanning_plan(), &in_time).await.expect("query").is_empty());
}

#[tokio::test]
async fn queries_that_nobody_waits_for_let_go_of_their_connections() {
    let fixture = filled(2000).await;
    let call = context(Operation::Query);
    for _ in 0..100 {
        let plan = scanning_plan();
        let query = fixture.documents.query(&plan, &call);
        drop(tokio::time::timeout(Duration::ZERO, query).await);
    }
    assert!(fixture.documents.query(&scanning_plan(), &call).await.expect("query").is_empty());
    fixture.documents.close().await.expect("close");
}

#[tokio::test]
async fn point_reads_go_on_beside_long_queries() {
    let fixture = Arc::new(filled(3000).await);
    let queries: Vec<_> = (0..16)
        .map(|_| {
            let fixture = Arc::clone(&fixture);
            let call = context(Operation::Query);
            tokio::spawn(async move { fixture.documents.query(&scanning_plan(), &call).await })
        })
        .collect();
    for number in 0..500 {
        assert!(fixture.get(&format!("rooms/r{number}")).await.is_some());
    }
    for query in queries {
        assert!(query.await.expect("task").expect("query").is_empty());
    }
}

#[tokio::test]
async fn a_page_and_its_position_are_of_one_moment() {
    let fixture = Arc::new(Fixture::with(&json!({"synchronous": "normal"})).await);
    let writer = {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            for number in 0..300 {
                fixture.insert(&format!("rooms/r{number}"), json!({"n": number})).await;
            }
        })
    };
    let plan = QueryPlan::check(Query::new("rooms").expect("query").limit(1000)).expect("plan");
    loop {
        let call = context(Operation::Query);
        let (documents, position, time) =
            fixture.documents.query_with_position(&plan, &call).await.expect("query");
        assert_eq!(documents.len() as u64, position.sequence);
        let written = if documents.is_empty() { 0 } else { START };
        assert_eq!(time, Timestamp::from_milliseconds(written));
        if documents.len() == 300 {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.expect("writer");
}
