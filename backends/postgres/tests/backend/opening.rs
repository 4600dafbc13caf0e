//! What is checked before a store opens, in the configuration and on the server.

use serde_json::{Value, json};
use syntrix_storage_core::{Error, ErrorKind};

use crate::common::{Fixture, connect, node, provider};

fn refused(settings: &Value) -> Error {
    let configured = syntrix_storage_postgres::factory().configure(&node(settings));
    configured.map(|_| ()).expect_err(&settings.to_string())
}

#[test]
fn settings_that_cannot_work_are_refused_by_key() {
    let local = "postgres://app@127.0.0.1/app";
    for (key, settings) in [
        ("dsn", json!({"dsn": "nonsense://"})),
        ("dsn", json!({"dsn": "user=app"})),
        ("dsn", json!({"dsn": "postgres://app@127.0.0.1/app?options=-c%20x"})),
        ("schema", json!({"dsn": local, "schema": "Big"})),
        ("schema", json!({"dsn": local, "schema": "pg_own"})),
        ("schema", json!({"dsn": local, "schema": "x".repeat(31)})),
        ("poolConnectionsMax", json!({"dsn": local, "poolConnectionsMax": 1})),
        ("operationTimeout", json!({"dsn": local, "operationTimeout": "0s"})),
        ("tls", json!({"dsn": local, "tls": {"certificate": "c.pem"}})),
        ("allowPlaintext", json!({"dsn": "postgres://app@db.example/app?sslmode=disable"})),
        ("allowPlaintext", json!({"dsn": "postgres://app@db.example/app", "tls": {"mode": "off"}})),
        (
            "tls",
            json!({"dsn": "postgres://app@db.example/app?sslmode=require", "tls": {"mode": "off"}}),
        ),
        ("watchRetention", json!({"dsn": local, "watchRetention": "60d"})),
        ("unknown", json!({"dsn": local, "unknown": 1})),
    ] {
        let error = refused(&settings);
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{settings}");
        assert_eq!(error.fact("key"), Some(key), "{settings}: {error}");
    }
    provider(
        &json!({"dsn": "postgres://app@db.example/app", "tls": {"mode": "off"}, "allowPlaintext": true}),
    );
}

/// Who shares a connection shares its rights.
#[test]
fn blocks_share_connections_only_if_they_name_the_same_password_and_addresses() {
    let key = |dsn: &str| provider(&json!({"dsn": dsn})).connection_key();
    let one = key("postgres://app:hunter2@127.0.0.1/app");
    assert_eq!(one, key("host=127.0.0.1 port=5432 user=app password=hunter2 dbname=app"));
    assert!(!one.contains("hunter2"));
    let address =
        |number: u8| format!("host=localhost hostaddr=127.0.0.{number} user=app dbname=app");
    let others = [
        key("postgres://app:hunter3@127.0.0.1/app"),
        key("postgres://app@127.0.0.1/app"),
        key("postgres://other:hunter2@127.0.0.1/app"),
        key(&address(1)),
        key(&address(2)),
    ];
    for (number, other) in others.iter().enumerate() {
        assert_ne!(&one, other);
        assert!(!others[..number].contains(other), "{other}");
    }
    assert_eq!(key(&address(1)), key(&address(1)));
}

/// On a server that asks for it: a block with a wrong password gets nothing from one with the right one.
#[tokio::test]
async fn a_block_with_a_wrong_password_is_refused_beside_one_with_the_right_one() {
    let server = crate::server::Server::start(&[]);
    let raw = connect(&server.dsn()).await;
    raw.batch_execute("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'right'").await.expect("role");
    let rule = "host all app all scram-sha-256\nhost all admin all trust\n";
    std::fs::write(server.data().join("pg_hba.conf"), rule).expect("rule");
    raw.batch_execute("SELECT pg_reload_conf()").await.expect("reload");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let block = |password: &str| {
        let dsn = format!("postgres://app:{password}@127.0.0.1:{}/postgres", server.port);
        provider(&json!({"dsn": dsn}))
    };
    let open = syntrix_storage_core::backend::OpenContext::new("unused");
    let (right, wrong) = (block("right"), block("wrong"));
    let backend = right.open(&open).await.expect("open");
    assert_ne!(right.connection_key(), wrong.connection_key());
    let error = wrong.open(&open).await.expect_err("opened");
    assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
    backend.close().await.expect("close");
}

#[test]
fn a_missing_certificate_file_is_named_by_what_it_is() {
    let settings =
        json!({"dsn": "postgres://app@db.example/app", "tls": {"ca": "/nowhere/ca.pem"}});
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let open = syntrix_storage_core::backend::OpenContext::new("unused");
    let error = runtime.block_on(provider(&settings).open(&open)).expect_err("opened");
    assert_eq!((error.kind(), error.fact("file")), (ErrorKind::ConfigInvalid, Some("ca")));
}

/// A server of another machine is asked for TLS; here it is this machine by another name, and it has none.
#[test]
fn a_server_without_tls_is_not_spoken_to_in_plaintext() {
    let mut config: tokio_postgres::Config = crate::common::dsn().parse().expect("dsn");
    let port = config.get_ports()[0];
    config.dbname("postgres");
    let settings =
        json!({"dsn": format!("postgres://app:hunter2@127.0.0.1:{port}/postgres?sslmode=require")});
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let open = syntrix_storage_core::backend::OpenContext::new("unused");
    let error = runtime.block_on(provider(&settings).open(&open)).expect_err("opened");
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[tokio::test]
async fn a_schema_of_a_newer_release_is_refused_and_left_alone() {
    let fixture = Fixture::open().await;
    fixture
        .raw()
        .await
        .batch_execute("UPDATE metadata SET schema_version = 99")
        .await
        .expect("sql");
    let provider = provider(&fixture.place.block(&json!({})));
    let error = provider.open(&fixture.place.context(&fixture.clock)).await.expect_err("opened");
    assert_eq!((error.kind(), error.fact("schema_version")), (ErrorKind::Unsupported, Some("99")));
}

#[tokio::test]
async fn a_sequence_that_gives_out_numbers_ahead_is_refused_with_the_remedy() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw().await;
    raw.batch_execute("ALTER SEQUENCE changes_seq CACHE 50").await.expect("sql");
    let provider = provider(&fixture.place.block(&json!({})));
    let open = fixture.place.context(&fixture.clock);
    let error = provider.open(&open).await.expect_err("opened");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    raw.batch_execute(error.fact("statement").expect("statement")).await.expect("remedy");
    provider.open(&open).await.expect("open");
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    let fixture = Fixture::open().await;
    let raw = connect(&fixture.place.dsn).await;
    let name = format!("latin_{}", fixture.place.namespace);
    let create = format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    raw.batch_execute(&create).await.expect("database");
    let mut block = fixture.place.block(&json!({}));
    let cut = fixture.place.dsn.rfind('/').expect("database");
    block["dsn"] = json!(format!("{}/{name}", &fixture.place.dsn[..cut]));
    let error =
        provider(&block).open(&fixture.place.context(&fixture.clock)).await.expect_err("opened");
    assert_eq!((error.kind(), error.fact("encoding")), (ErrorKind::ConfigInvalid, Some("LATIN1")));
    raw.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.expect("drop");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_open_at_once_make_one_schema() {
    let fixture = Fixture::open().await;
    fixture.backend.close().await.expect("close");
    let raw = connect(&fixture.place.dsn).await;
    raw.batch_execute(&format!("DROP SCHEMA {} CASCADE", fixture.place.schema()))
        .await
        .expect("drop");
    let opened = (0..6).map(|_| {
        let place = fixture.place.clone();
        tokio::spawn(async move { Fixture::at(place, &json!({})).await })
    });
    let mut tokens = Vec::new();
    for open in opened.collect::<Vec<_>>() {
        let fixture = open.await.expect("open");
        let seal = fixture.documents.token_seal();
        tokens.push(seal.seal(&Default::default(), Default::default()).as_str().to_owned());
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "one store id for all");
}
