//! Declared indexes: built beside readers and writers, rebuilt when half done, and used without a sort.

use serde_json::{Value, json};
use syntrix_storage_core::{
    Direction, ErrorKind, INDEXES_MAX, IndexDefinition, Operation, Operator, OrderBy, Query,
    QueryPlan,
};

use crate::common::{Fixture, context};

use Direction::{Ascending, Descending};

const PATTERN: &str = "rooms/*/messages";

/// Fields with `-` before those that descend.
pub fn index(pattern: &str, fields: &[&str]) -> IndexDefinition {
    let field = |field: &&str| match field.strip_prefix('-') {
        Some(name) => OrderBy::new(name, Descending).expect("field"),
        None => OrderBy::new(field, Ascending).expect("field"),
    };
    IndexDefinition::new(pattern, fields.iter().map(field).collect()).expect("index")
}

#[tokio::test]
async fn an_index_is_ready_after_its_build_and_gone_after_its_drop() {
    let fixture = Fixture::open().await;
    let index = index(PATTERN, &["room", "-ts"]);
    for _ in 0..2 {
        fixture.documents.create_index(&index).await.expect("create");
    }
    let listed = fixture.again().await.documents.list_indexes().await.expect("list");
    assert!(listed.len() == 1 && listed[0].ready && listed[0].definition == index);
    assert!(fixture.documents.drop_index(index.name()).await.expect("drop"));
    assert!(!fixture.documents.drop_index(index.name()).await.expect("drop"));
    assert!(!fixture.documents.drop_index("documents_parent").await.expect("drop"));
    assert!(fixture.documents.list_indexes().await.expect("list").is_empty());
}

#[tokio::test]
async fn an_invalid_left_over_is_not_ready_and_is_built_anew() {
    let fixture = Fixture::open().await;
    let index = index(PATTERN, &["room", "-ts"]);
    fixture.documents.create_index(&index).await.expect("create");
    let raw = fixture.raw().await;
    // As a build leaves it that was stopped half way.
    let spoil = "UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = $1::text::regclass::oid";
    raw.execute(spoil, &[&index.name()]).await.expect("spoil");
    let ready = |fixture: &Fixture| {
        let documents = fixture.documents.clone();
        async move { documents.list_indexes().await.expect("list")[0].ready }
    };
    assert!(!ready(&fixture).await);
    fixture.documents.create_index(&index).await.expect("create");
    assert!(ready(&fixture).await);
    raw.batch_execute(&format!("DROP INDEX {}", index.name())).await.expect("drop");
    assert!(!ready(&fixture).await);
    fixture.documents.create_index(&index).await.expect("create");
    assert!(ready(&fixture).await);
}

#[tokio::test]
async fn more_indexes_than_a_store_may_have_are_refused() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw().await;
    for number in 0..INDEXES_MAX {
        let suggestion = index(PATTERN, &[&format!("f{number}")]).to_suggestion();
        let fields = serde_json::to_string(&suggestion.fields).expect("fields");
        let sql = "INSERT INTO indexes VALUES ($1, $2, $3::text::jsonb, 'building')";
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&suggestion.name, &suggestion.collection, &fields];
        raw.execute(sql, &row).await.expect("declare");
    }
    let error = fixture.documents.create_index(&index(PATTERN, &["more"])).await;
    assert_eq!(error.expect_err("created").kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_build_lets_writers_go_on() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw().await;
    raw.batch_execute("BEGIN; LOCK TABLE documents IN ROW EXCLUSIVE MODE").await.expect("begin");
    let index = index(PATTERN, &["room", "ts"]);
    let (documents, built) = (fixture.documents.clone(), index.clone());
    let build = tokio::spawn(async move { documents.create_index(&built).await });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    fixture.insert("rooms/x/messages/m1", json!({"room": "x"})).await;
    assert!(!build.is_finished(), "the build does not wait for the open transaction");
    raw.batch_execute("COMMIT").await.expect("commit");
    build.await.expect("task").expect("create");
}

/// The text of the statement that answers `query`, as the server last saw it.
async fn statement(fixture: &Fixture, query: Query, index: &IndexDefinition) -> String {
    let plan = QueryPlan::new(query, std::slice::from_ref(index)).expect("plan");
    let raw = fixture.raw().await;
    fixture.documents.query(&plan, &context(Operation::Query)).await.expect("query");
    let text = format!("%{}%FROM%documents WHERE collection = $1%", fixture.place.schema());
    let sql = "SELECT query FROM pg_stat_activity WHERE query LIKE $1 AND pid <> pg_backend_pid() \
        ORDER BY state_change DESC LIMIT 1";
    let row = raw.query_one(sql, &[&text]).await.expect("statement");
    row.get(0)
}

fn query(filters: &[(&str, Operator, Value)], order: &[(&str, Direction)]) -> Query {
    let mut query = Query::new("rooms/lobby/messages").expect("query").limit(20);
    for (field, operator, operand) in filters {
        query = query.filter(field, *operator, operand.clone()).expect("filter");
    }
    for (field, direction) in order {
        query = query.order_by(field, *direction).expect("order");
    }
    query
}

/// The server's own plan of the backend's statements, on a table large enough to matter.
#[tokio::test]
async fn queries_walk_their_index_without_a_sort_on_every_page() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw().await;
    let fill = "INSERT INTO documents SELECT sha256(n::text::bytea), 'rooms/lobby/messages/m' || n, 'rooms/lobby/messages', \
        'rooms/lobby', n, n, 1, FALSE, jsonb_build_object('room', n % 50, 'ts', n, 'k', n % 7) FROM generate_series(1, 20000) AS n; \
        ANALYZE documents";
    raw.batch_execute(fill).await.expect("fill");
    let by_time = index(PATTERN, &["room", "-ts"]);
    let mixed = index(PATTERN, &["k", "-ts"]);
    for index in [&by_time, &mixed] {
        fixture.documents.create_index(index).await.expect("create");
    }
    raw.batch_execute("ANALYZE documents").await.expect("analyze");
    let path =
        || syntrix_storage_core::DocumentPath::parse("rooms/lobby/messages/m1").expect("path");
    let newest = || {
        query(
            &[("room", Operator::Equal, json!(3)), ("ts", Operator::Greater, json!(100))],
            &[("ts", Descending)],
        )
    };
    let oldest = || query(&[("room", Operator::Equal, json!(3))], &[("ts", Ascending)]);
    let both = || query(&[], &[("k", Ascending), ("ts", Descending)]);
    for (query, index) in [
        (newest(), &by_time),
        (newest().start_after(vec![json!(5000)], path()), &by_time),
        (oldest(), &by_time),
        (oldest().start_after(vec![json!(5000)], path()), &by_time),
        (both(), &mixed),
        (both().start_after(vec![json!(3), json!(5000)], path()), &mixed),
    ] {
        let statement = statement(&fixture, query, index).await;
        let plan = generic_plan(&raw, &statement).await;
        assert!(plan.contains(index.name()), "{statement}\n{plan}");
        assert!(!plan.contains("Sort") && !plan.contains("Seq Scan"), "{statement}\n{plan}");
    }
}

/// How the server would run a statement without knowing its values.
async fn generic_plan(raw: &tokio_postgres::Client, statement: &str) -> String {
    raw.batch_execute(
        "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; DEALLOCATE ALL",
    )
    .await
    .expect("settings");
    raw.batch_execute(&format!("PREPARE asked AS {statement}")).await.expect("prepare");
    let count = raw
        .query_one(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'asked'",
            &[],
        )
        .await
        .expect("parameters")
        .get::<_, i32>(0);
    let nulls = vec!["NULL"; count as usize].join(",");
    let rows = raw.simple_query(&format!("EXPLAIN EXECUTE asked({nulls})")).await.expect("explain");
    let lines = rows.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}
