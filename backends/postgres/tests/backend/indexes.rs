//! Declared indexes: built beside readers and writers, rebuilt when half done, and used without a sort.

use serde_json::json;
use syntrix_storage_core::{Direction, ErrorKind, INDEXES_MAX, IndexDefinition, OrderBy};

use crate::common::Fixture;

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
async fn what_a_drop_left_behind_is_built_anew_also_when_it_is_not_declared_any_more() {
    let fixture = Fixture::open().await;
    let index = index(PATTERN, &["room", "-ts"]);
    fixture.documents.create_index(&index).await.expect("create");
    let raw = fixture.raw().await;
    let spoil = "UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = $1::text::regclass::oid";
    raw.execute(spoil, &[&index.name()]).await.expect("spoil");
    raw.batch_execute("DELETE FROM indexes").await.expect("forget");
    fixture.documents.create_index(&index).await.expect("create");
    assert!(fixture.documents.list_indexes().await.expect("list")[0].ready);
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = $1::text::regclass::oid";
    assert!(raw.query_one(valid, &[&index.name()]).await.expect("valid").get::<_, bool>(0));
}

/// Waiting for an open transaction, a drop is stopped: what is left is declared, not ready, and can be dropped.
#[tokio::test]
async fn a_drop_that_is_stopped_half_way_can_be_done_again() {
    let fixture = Fixture::open().await;
    let index = index(PATTERN, &["room", "-ts"]);
    fixture.documents.create_index(&index).await.expect("create");
    let (holder, raw) = (fixture.raw().await, fixture.raw().await);
    holder.batch_execute("BEGIN; SELECT count(*) FROM documents").await.expect("begin");
    let (documents, name) = (fixture.documents.clone(), index.name().to_owned());
    let dropping = tokio::spawn(async move { documents.drop_index(&name).await });
    let stop = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
         AND state = 'active' AND query LIKE 'DROP INDEX CONCURRENTLY%{}%{}%'",
        fixture.place.schema(),
        index.name()
    );
    let started = std::time::Instant::now();
    while raw.query(&stop, &[]).await.expect("stop").is_empty() {
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "no drop to be seen");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    dropping.await.expect("task").expect_err("dropped");
    holder.batch_execute("COMMIT").await.expect("commit");
    assert_eq!(fixture.documents.list_indexes().await.expect("list").len(), 1);
    assert!(fixture.documents.drop_index(index.name()).await.expect("drop"));
    assert!(fixture.documents.list_indexes().await.expect("list").is_empty());
    let left = "SELECT count(*) FROM pg_class WHERE relname = $1";
    let left = raw.query_one(left, &[&index.name()]).await.expect("left");
    assert_eq!(left.get::<_, i64>(0), 0);
    fixture.documents.create_index(&index).await.expect("create");
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
