//! Opening, sharing and letting go of connections.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::backend::Write;
use syntrix_storage_core::{ErrorKind, Operation};

use crate::common::{Fixture, context, document, dsn, parse, provider};

/// Connections of this process's stores that name the schema in their last statement, or listen for it.
async fn connections(fixture: &Fixture) -> i64 {
    let raw = fixture.raw().await;
    let id: String = raw
        .query_one("SELECT encode(store_id, 'hex') FROM metadata", &[])
        .await
        .map_or_else(|_| "none".into(), |row| row.get(0));
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'syntrix-storage' \
        AND (query LIKE $1 OR query LIKE $2)";
    let (schema, channel) = (format!("%{}%", fixture.place.schema()), format!("%{id}%"));
    raw.query_one(sql, &[&schema, &channel]).await.expect("activity").get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn close_leaves_no_connection_behind() {
    let fixture = Arc::new(Fixture::open().await);
    let users = fixture.backend.users().expect("users");
    let tasks = (0..20).map(|number| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            fixture.insert(&format!("case/d{number}"), json!({})).await;
            fixture.get(&format!("case/d{number}")).await.expect("document");
            fixture.log().await
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("task");
    }
    assert!(connections(&fixture).await >= 3);
    fixture.documents.close().await.expect("close");
    let error = fixture.documents.get(&parse("case/d1"), &context(Operation::Read)).await;
    assert_eq!(error.expect_err("read").kind(), ErrorKind::Closed);
    // The other store of the same backend is still open.
    users.health().await.expect("health");
    users.close().await.expect("close");
    fixture.backend.close().await.expect("close");
    for _ in 0..100 {
        if connections(&fixture).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} connections are left", connections(&fixture).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_dropped_without_close_leaves_no_connection_either() {
    let fixture = Fixture::open().await;
    let second = fixture.again().await;
    second.insert("case/a", json!({})).await;
    fixture.backend.close().await.expect("close");
    drop(second);
    for _ in 0..100 {
        if connections(&fixture).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("connections are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_connections_are_replaced_without_a_lost_call() {
    let fixture = Fixture::open().await;
    fixture.insert("case/a", json!({})).await;
    fixture.get("case/a").await.expect("document");
    let raw = fixture.raw().await;
    let kill = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%{}%'",
        fixture.place.schema()
    );
    raw.batch_execute(&kill).await.expect("kill");
    tokio::time::sleep(Duration::from_millis(100)).await;
    fixture.get("case/a").await.expect("document");
    fixture.update("case/a", json!({"n": 2})).await;
}

#[tokio::test]
async fn a_namespace_is_a_schema_of_its_own_and_goes_as_a_whole() {
    let fixture = Fixture::open().await;
    fixture.insert("case/a", json!({})).await;
    fixture.backend.close().await.expect("close");
    let provider = provider(&fixture.place.block(&json!({})));
    provider.remove_namespace(&fixture.place.context(&fixture.clock)).await.expect("removed");
    provider.remove_namespace(&fixture.place.context(&fixture.clock)).await.expect("removed twice");
    let raw = fixture.raw().await;
    let sql = "SELECT count(*) FROM pg_namespace WHERE nspname = $1";
    let left = raw.query_one(sql, &[&fixture.place.schema()]).await.expect("schemas");
    assert_eq!(left.get::<_, i64>(0), 0);
    assert_eq!(fixture.again().await.get("case/a").await, None);
    let configured = syntrix_storage_core::backend::OpenContext::new("unused");
    let error = provider.remove_namespace(&configured).await.expect_err("removed");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn blocks_of_one_server_share_a_key_and_no_secret_is_in_it() {
    let block = json!({"dsn": "postgres://app:hunter2@db.example/app"});
    let mut other = block.clone();
    assert_eq!(provider(&block).connection_key(), provider(&other).connection_key());
    other["schema"] = json!("elsewhere");
    assert_ne!(provider(&block).connection_key(), provider(&other).connection_key());
    let shown = format!("{:?} {}", provider(&block), provider(&block).connection_key());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn no_error_shows_the_password_or_a_value() {
    let mut config: tokio_postgres::Config = dsn().parse().expect("dsn");
    config.password("hunter2");
    let (host, port) = (
        match &config.get_hosts()[0] {
            tokio_postgres::config::Host::Tcp(host) => host.clone(),
            other => panic!("{other:?}"),
        },
        config.get_ports()[0],
    );
    let wrong = [
        format!("postgres://nobody:hunter2@{host}:{port}/postgres"),
        format!("postgres://nobody:hunter2@{host}:1/postgres"),
        format!("postgres://nobody:hunter2@{host}:{port}/nowhere"),
    ];
    for dsn in wrong {
        let provider = provider(&json!({"dsn": dsn, "connectTimeout": "1s"}));
        let open = syntrix_storage_core::backend::OpenContext::new("unused");
        let error = provider.open(&open).await.expect_err("opened");
        let mut shown = format!("{error} {error:?} {provider:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            shown.push_str(&format!("{inner} {inner:?}"));
            source = inner.source();
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let fixture = Fixture::open().await;
    let raw = fixture.raw().await;
    raw.batch_execute("ALTER TABLE documents ADD CHECK (data->>'bad' IS NULL)")
        .await
        .expect("rule");
    let write = Write::Insert(document("case/a", json!({"bad": "hunter2"})));
    let error = fixture.write(write).await.expect_err("written");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}
