//! A role that is not the owner: all that the script grants is enough, and nothing more is there.

use serde_json::json;
use syntrix_storage_core::backend::{Feed, Write};
use syntrix_storage_core::{
    Direction, ErrorKind, IndexDefinition, ManualClock, Operation, OrderBy, Timestamp,
};

use crate::common::{Fixture, Place, START, context, document, provider};
use crate::identities::{insert, record, request};

const SCRIPT: &str = include_str!("../../../../docs/backends/postgres-role.sql");

/// The script as psql would run it.
fn script(schema: &str, role: &str) -> String {
    let lines = SCRIPT.lines().filter(|line| !line.starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.replace(":\"schema\"", schema).replace(":\"role\"", role)
}

/// A role that may log in and nothing else, and the dsn of the same server for it.
async fn role(fixture: &Fixture) -> (String, String) {
    let role = format!("app_{}", fixture.place.namespace);
    let raw = fixture.raw().await;
    let create = format!("CREATE ROLE {role} LOGIN PASSWORD 'canary-of-the-role'");
    raw.batch_execute(&create).await.expect("role");
    let behind = fixture.place.dsn.find('@').expect("user");
    (role.clone(), format!("postgres://{role}:canary-of-the-role{}", &fixture.place.dsn[behind..]))
}

async fn drop_role(fixture: &Fixture, role: &str) {
    let raw = fixture.raw().await;
    raw.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.expect("drop");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripts_grants_are_enough_for_all_three_stores() {
    let owner = Fixture::open().await;
    let (role, dsn) = role(&owner).await;
    let raw = owner.raw().await;
    raw.batch_execute(&script(&owner.place.schema(), &role)).await.expect("script");
    let place = std::sync::Arc::new(Place { dsn, namespace: owner.place.namespace.clone() });
    let app = Fixture::at(place, &json!({})).await;
    app.insert("case/a", json!({"n": 1})).await;
    app.update("case/a", json!({"n": 2})).await;
    app.delete("case/a").await;
    assert_eq!(app.feed(Feed::Oldest).await.changes.len(), 3);
    let late = Timestamp::from_milliseconds(START + 1000);
    assert_eq!(app.documents.purge(late, 10).await.expect("purge").purged, 1);
    assert_eq!(app.documents.trim_feed(late, 10).await.expect("trim"), 3);
    let users = app.backend.users().expect("users");
    users.ensure_indexes().await.expect("indexes");
    let place = users.changes_end().await.expect("end");
    users.write(insert(record("u1", "ada")), &context(Operation::Write)).await.expect("write");
    let login = syntrix_storage_core::backend::UserWrite::Login {
        id: record("u1", "ada").user.id,
        expected: 0,
        state: record("u1", "ada").login_state(),
    };
    users.write(login, &context(Operation::Write)).await.expect("login");
    assert_eq!(users.changes_since(&place, 10).await.expect("feed").records.len(), 1);
    let revocations = app.backend.revocations().expect("revocations");
    revocations.ensure_indexes().await.expect("indexes");
    revocations.join(request("t"), &context(Operation::Write)).await.expect("join");
    revocations.purge(10).await.expect("purge");
    app.documents.health().await.expect("health");

    let fields = vec![OrderBy::new("a", Direction::Ascending).expect("field")];
    let index = IndexDefinition::new("case", fields).expect("index");
    let error = app.documents.create_index(&index).await.expect_err("created");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    app.backend.close().await.expect("close");
    drop_role(&owner, &role).await;
}

#[tokio::test]
async fn a_role_that_may_not_create_gets_the_missing_statements() {
    let fixture = Fixture::open().await;
    let (role, dsn) = role(&fixture).await;
    let place = Place::new(dsn);
    let provider = provider(&place.block(&json!({})));
    let error = provider.open(&place.context(&ManualClock::starting_at(START))).await;
    let error = error.expect_err("opened");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    let statements = error.fact("statements").expect("statements");
    assert!(statements.contains("CREATE SCHEMA") && statements.contains("CREATE TABLE"));
    assert!(!statements.contains("token_key)"), "the key is shown");
    drop_role(&fixture, &role).await;
}

#[tokio::test]
async fn a_role_without_grants_is_told_where_they_are_listed() {
    let owner = Fixture::open().await;
    let (role, dsn) = role(&owner).await;
    let place = Place { dsn, namespace: owner.place.namespace.clone() };
    let provider = provider(&place.block(&json!({})));
    let error = provider.open(&place.context(&owner.clock)).await.expect_err("opened");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(error.to_string().contains("postgres-role.sql"), "{error}");
    owner.write(Write::Insert(document("case/a", json!({})))).await.expect("the owner may");
    drop_role(&owner, &role).await;
}
