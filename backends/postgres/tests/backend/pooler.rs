//! Behind a transaction-mode pooler: no prepared statement is left behind, nothing is set for the session, nobody listens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::Feed;
use syntrix_storage_core::{Direction, ErrorKind, Operation, Query, QueryPlan};

use crate::common::{Fixture, context, provider};
use crate::indexes::index;

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

/// A field name may be any text, and where a backslash were no character of its own, one could end the literal it is in.
#[tokio::test(flavor = "multi_thread")]
async fn strings_of_the_old_kind_are_refused_and_a_backslash_in_a_name_is_a_character() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw().await;
    let role = format!("old_{}", fixture.place.namespace);
    let create = format!(
        "CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'pw'; ALTER ROLE {role} SET standard_conforming_strings = off"
    );
    raw.batch_execute(&create).await.expect("role");
    let of_role = |dsn: &str| {
        let host = dsn.split('@').next_back().expect("host").to_owned();
        format!("postgres://{role}:pw@{host}")
    };
    let mut block = fixture.place.block(&json!({"pooler": "transaction"}));
    block["dsn"] = json!(of_role(&fixture.place.dsn));
    let context_of = fixture.place.context(&fixture.clock);
    let error = provider(&block).open(&context_of).await.expect_err("opened");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(error.to_string().contains("standard_conforming_strings"), "{error}");
    // A session of our own has it set.
    block["pooler"] = json!("none");
    let own = provider(&block).open(&context_of).await.expect("open");
    let key = "\\'::text)) IS NULL --";
    fixture.insert("case/a", json!({key: 1})).await;
    fixture.insert("case/b", json!({"k": 1})).await;
    let query = Query::new("case").and_then(|query| {
        query.filter(&format!("`{key}`"), syntrix_storage_core::Operator::Equal, json!(1))
    });
    let plan = QueryPlan::check(query.expect("query")).expect("plan");
    let found = own.documents().expect("documents");
    let found = found.query(&plan, &context(Operation::Query)).await.expect("query");
    assert_eq!(found.iter().map(|document| document.id()).collect::<Vec<_>>(), ["a"]);
    own.close().await.expect("close");
    // The statement itself means the same to a session that reads strings the old way.
    let sql = format!(
        "SELECT data->E'{}'::text FROM documents WHERE id IS NOT NULL",
        key.replace('\\', "\\\\").replace('\'', "''")
    );
    raw.batch_execute("SET standard_conforming_strings = off").await.expect("set");
    assert_eq!(raw.query(&sql, &[]).await.expect("query").len(), 2);
    raw.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.expect("drop");
}

/// No lock outlives a statement there, so builds meet; each handle has connections of its own, as processes have.
#[tokio::test(flavor = "multi_thread")]
async fn indexes_that_are_declared_at_the_same_time_are_all_built() {
    let fixture = Fixture::with(&json!({"pooler": "transaction"})).await;
    for number in 0..50 {
        fixture.insert(&format!("case/d{number}"), json!({"a": number, "b": number})).await;
    }
    let wanted = [index("case", &["a", "b"]), index("case", &["b", "-a"]), index("case", &["a"])];
    let mut building = tokio::task::JoinSet::new();
    for number in 0..6 {
        let handle =
            Fixture::at(Arc::clone(&fixture.place), &json!({"pooler": "transaction"})).await;
        let index = wanted[number % wanted.len()].clone();
        building.spawn(async move { handle.documents.create_index(&index).await });
    }
    while let Some(built) = building.join_next().await {
        built.expect("task").expect("built");
    }
    let listed = fixture.documents.list_indexes().await.expect("list");
    assert_eq!(listed.len(), wanted.len());
    assert!(listed.iter().all(|index| index.ready), "{listed:?}");
}
