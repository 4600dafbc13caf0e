//! Whether PostgreSQL answers our statements the way they were written for: by index range, without sorting.

use serde_json::{Value, json};
use syntrix_storage_core::backend::OpenContext;
use syntrix_storage_core::{
    Direction, DocumentPath, IndexDefinition, Operator, OrderBy, Query, QueryPlan, SettingsNode,
    SettingsValue,
};
use tokio_postgres::{Client, NoTls};

use crate::sql::in_schema;
use crate::statement::select;
use crate::watch::END;
use Direction::{Ascending, Descending};
use Operator::{Contains, Equal, Greater, In, Less, NotEqual};

const COLLECTION: &str = "rooms/lobby/messages";
const NAMESPACE: &str = "test_plans";
const SCHEMA: &str = "syntrix_storage_test_plans";

/// Enough rows that a wrong plan costs more than the right one.
const FILL: &str = "INSERT INTO syntrix_storage_test_plans.documents \
    SELECT substring(sha256(n::text::bytea) FOR 16), 'rooms/lobby/messages/m' || n, 'rooms/lobby/messages', 'rooms/lobby', \
    n, n, 1, FALSE, jsonb_build_object('room', n % 50, 'ts', n, 'k', n % 7) FROM generate_series(1, 20000) AS n";

async fn raw() -> Client {
    let dsn = std::env::var("SYNTRIX_STORAGE_TEST_PG").expect(
        "SYNTRIX_STORAGE_TEST_PG names no server; `cargo xtask servers up` starts one and says how to set it",
    );
    let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await.expect("connect");
    tokio::spawn(connection);
    let drop = format!("SET client_min_messages = warning; DROP SCHEMA IF EXISTS {SCHEMA} CASCADE");
    client.batch_execute(&drop).await.expect("drop");
    let block = SettingsValue::Map(vec![(
        "dsn".into(),
        Default::default(),
        SettingsNode::new(SettingsValue::Text(dsn), Default::default()),
    )]);
    let block = SettingsNode::new(block, Default::default());
    let open = OpenContext::new("unused").with_namespace(NAMESPACE).expect("namespace");
    let provider = crate::factory().configure(&block).expect("settings");
    let backend = provider.open(&open).await.expect("open");
    let documents = backend.documents().expect("documents");
    client.batch_execute(FILL).await.expect("fill");
    for index in indexes() {
        documents.create_index(&index).await.expect("index");
    }
    backend.close().await.expect("close");
    client
        .batch_execute(&format!("ANALYZE {SCHEMA}.documents; SET enable_seqscan = off"))
        .await
        .expect("analyze");
    client
}

fn index(fields: &[(&str, Direction)]) -> IndexDefinition {
    let fields = fields.iter().map(|(field, direction)| OrderBy::new(field, *direction));
    let fields = fields.map(|field| field.expect("field")).collect();
    IndexDefinition::new("rooms/*/messages", fields).expect("index")
}

fn indexes() -> [IndexDefinition; 3] {
    [
        index(&[("room", Ascending), ("ts", Descending)]),
        index(&[("k", Ascending), ("ts", Descending)]),
        index(&[("room", Ascending), ("updatedAt", Ascending)]),
    ]
}

fn query(filters: &[(&str, Operator, Value)], order: &[(&str, Direction)]) -> Query {
    let mut query = Query::new(COLLECTION).expect("query").limit(20);
    for (field, operator, operand) in filters {
        query = query.filter(field, *operator, operand.clone()).expect("filter");
    }
    for (field, direction) in order {
        query = query.order_by(field, *direction).expect("order");
    }
    query
}

fn behind(query: Query, values: &[Value]) -> Query {
    let path = DocumentPath::parse("rooms/lobby/messages/m1").expect("path");
    query.start_after(values.to_vec(), path)
}

/// How the server runs the statement of a query, with its values.
async fn explain(client: &Client, query: Query) -> String {
    let plan = QueryPlan::new(query, &indexes()).expect("plan");
    let select = select(&plan, SCHEMA);
    let sql = format!("EXPLAIN {}", select.sql);
    let rows = client.query_typed(&sql, &select.parameters()).await.expect("explain");
    rows.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn queries_walk_their_index_without_a_sort_on_every_page() {
    let client = raw().await;
    let names = indexes().map(|index| index.name().to_owned());
    let room = || ("room", Equal, json!(3));
    let newest = || query(&[room(), ("ts", Greater, json!(100))], &[("ts", Descending)]);
    let oldest = || query(&[room()], &[("ts", Ascending)]);
    let mixed = || query(&[], &[("k", Ascending), ("ts", Descending)]);
    let changed = || query(&[room()], &[("updatedAt", Descending)]);
    let residual = [
        room(),
        ("k", NotEqual, json!(1)),
        ("version", Less, json!(7)),
        ("tags", Contains, json!("t")),
    ];
    let by = |name: usize| names[name].as_str();
    for (query, index) in [
        (newest(), by(0)),
        (behind(newest(), &[json!(5000)]), by(0)),
        (oldest(), by(0)),
        (behind(oldest(), &[json!(5000)]), by(0)),
        (behind(oldest(), &[json!("t")]), by(0)),
        (query(&residual, &[("ts", Descending)]), by(0)),
        (mixed(), by(1)),
        (behind(mixed(), &[json!(3), json!(5000)]), by(1)),
        (changed(), by(2)),
        (behind(changed(), &[json!(5000)]), by(2)),
        (query(&[], &[]), "documents_collection"),
        (behind(query(&[], &[]), &[]), "documents_collection"),
        (query(&[], &[("updatedAt", Descending)]), "documents_updated_at"),
        (behind(query(&[], &[("updatedAt", Descending)]), &[json!(5000)]), "documents_updated_at"),
        (query(&[("createdAt", Greater, json!(5))], &[]), "documents_created_at"),
    ] {
        let plan = explain(&client, query.clone()).await;
        assert!(plan.contains(index), "{query:?}\n{plan}");
        assert!(!plan.contains("Sort") && !plan.contains("Seq Scan"), "{query:?}\n{plan}");
    }
    let list = query(&[("room", In, json!([1, "x", null]))], &[("ts", Descending)]);
    let plan = explain(&client, list).await;
    assert!(plan.contains(by(0)), "{plan}");
    let end = format!("EXPLAIN {}", in_schema(END, SCHEMA));
    let rows = client.query_typed(&end, &[]).await.expect("explain");
    let plan = rows.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>().join("\n");
    assert!(plan.contains("changes_xid") && plan.contains("changes_pkey"), "{plan}");
    assert!(!plan.contains("Sort"), "{plan}");
    client.batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE")).await.expect("drop");
}
