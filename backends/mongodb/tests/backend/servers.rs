//! Servers of a test's own: the program that runs the shared one, started again in a folder of its own.

use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document as Record, doc};
use mongodb::error::ErrorKind as Kind;
use serde_json::json;
use syntrix_storage_core::backend::{Feed, Write};
use syntrix_storage_core::{
    Direction, ErrorKind, ExpiredReason, IndexDefinition, Operation, OrderBy, Query, QueryPlan,
    Retry, Timestamp,
};

use crate::common::{Fixture, START, context, document, open_context, provider};
use crate::set::mongod::Mongod;

/// `ExceededTimeLimit`.
const EXCEEDED_TIME_LIMIT: i32 = 262;

/// A server that ends with the test.
pub struct Server {
    process: Mongod,
}

impl Server {
    /// With options of its own, `--replSet own` among them or not.
    pub async fn start(options: &[&str]) -> Self {
        let server = Self { process: Mongod::launch(options) };
        if server.is_replica_set() {
            server.initiate().await;
        } else {
            server.command(doc! { "ping": 1 }).await;
        }
        server
    }

    fn is_replica_set(&self) -> bool {
        self.process.options().iter().any(|option| option == "--replSet")
    }

    pub fn uri(&self) -> String {
        let set = if self.is_replica_set() { "?replicaSet=own" } else { "" };
        format!("mongodb://{}/{set}", self.process.address())
    }

    /// Ends the process as a power cut would, and starts it again on what is on the disk.
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process.restart();
    }

    /// The primary gives up its place and is elected again when nobody else is there.
    pub async fn step_down(&self) {
        let client = self.client().await;
        let command = doc! { "replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": true };
        // On a busy machine it may be ready only when the second is over.
        while let Err(error) = client.database("admin").run_command(command.clone()).await {
            let kind = &*error.kind;
            assert!(
                matches!(kind, Kind::Command(failed) if failed.code == EXCEEDED_TIME_LIMIT),
                "step down: {error:?}"
            );
        }
    }

    /// A replica set that asks for passwords, with the user `root`.
    async fn start_guarded() -> (Self, Client) {
        let key = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(key.path(), "c2VjcmV0").expect("key");
        let path = key.path().to_str().expect("text").to_owned();
        let server = Self::start(&["--replSet", "own", "--keyFile", &path]).await;
        let root = doc! { "createUser": "root", "pwd": "root", "roles": ["root"] };
        // The first user may be made by whoever sits at the machine.
        server.command(root).await;
        let client = Client::with_uri_str(server.uri_of("root", "root")).await.expect("client");
        (server, client)
    }

    fn uri_of(&self, user: &str, password: &str) -> String {
        format!(
            "mongodb://{user}:{password}@{}/?replicaSet=own&authSource=admin",
            self.process.address()
        )
    }

    async fn initiate(&self) {
        let host = self.process.address();
        let configuration = doc! { "_id": "own", "members": [{ "_id": 0, "host": host }] };
        self.command(doc! { "replSetInitiate": configuration }).await;
        let start = Instant::now();
        while !self
            .command(doc! { "hello": 1 })
            .await
            .get_bool("isWritablePrimary")
            .unwrap_or(false)
        {
            assert!(start.elapsed() < Duration::from_secs(60), "no primary");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn command(&self, command: Record) -> Record {
        let client = self.client().await;
        client.database("admin").run_command(command).await.expect("command")
    }

    async fn client(&self) -> Client {
        let address = format!("mongodb://{}/?directConnection=true", self.process.address());
        Client::with_uri_str(address).await.expect("client")
    }
}

#[tokio::test]
async fn a_standalone_server_keeps_documents_and_says_how_to_watch_them() {
    let server = Server::start(&[]).await;
    let fixture = Fixture::on(&server.uri(), &json!({})).await;
    let capabilities = fixture.documents.capabilities();
    assert!(capabilities.durable && !capabilities.watch && !capabilities.before);
    fixture.insert("c/a", json!({"n": 1})).await;
    fixture.update("c/a", json!({"n": 2})).await;
    assert!(fixture.get("c/a").await.is_some());
    let plan = QueryPlan::check(Query::new("c").expect("valid")).expect("valid");
    let found = fixture.documents.query(&plan, &context(Operation::Query)).await.expect("query");
    assert_eq!(found.len(), 1);
    let error = fixture.documents.feed_end().await.expect_err("no change stream");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().expect("remedy").contains("--replSet"));
    let health = fixture.documents.health().await.expect("health");
    assert!(health.facts.contains(&("role".into(), "standalone".into())));
    fixture.finish().await;
}

/// The server's own log is small and was written over: what lay in it is expired, said so, and the rest can be read.
#[tokio::test]
async fn history_that_the_server_has_lost_is_expired_and_the_rest_goes_on() {
    let server = Server::start(&["--replSet", "own", "--oplogSize", "2", "--syncdelay", "1"]).await;
    let fixture = Fixture::on(&server.uri(), &json!({})).await;
    fixture.insert("c/first", json!({})).await;
    let lost = Feed::After(fixture.changes().await[0].position.clone());
    let raw = fixture.raw().await.collection::<Record>("filler");
    let start = Instant::now();
    let error = loop {
        raw.insert_one(doc! { "filler": "x".repeat(1 << 20) }).await.expect("insert");
        match fixture.again().await.documents.feed(&lost, None, 1).await {
            Err(error) => break error,
            Ok(_) => assert!(start.elapsed() < Duration::from_secs(120), "the log is never cut"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(error.kind(), ErrorKind::TokenExpired);
    assert_eq!(error.expired_reason(), Some(ExpiredReason::Trimmed));
    fixture.insert("c/second", json!({})).await;
    let log = fixture.log().await;
    assert_eq!(log, ["create c/second@1"], "from the oldest place that is left");
    fixture.documents.trim_feed(Timestamp::from_milliseconds(START - 1), 10).await.expect("trim");
    assert_eq!(fixture.log().await, ["create c/second@1"]);
    fixture.finish().await;
}

/// The canary must be nowhere in what the layer shows.
const PASSWORD: &str = "hunter2canary";

#[tokio::test]
async fn a_role_that_reads_and_writes_is_enough_and_one_that_only_reads_is_told_so() {
    let (server, root) = Server::start_guarded().await;
    let database = "backend_tests_t_guarded";
    for (user, role) in [("app", "readWrite"), ("reader", "read")] {
        let roles = vec![doc! { "role": role, "db": database }];
        let user = doc! { "createUser": user, "pwd": PASSWORD, "roles": roles };
        root.database("admin").run_command(user).await.expect("user");
    }
    let (app, reader) = (server.uri_of("app", PASSWORD), server.uri_of("reader", PASSWORD));
    let too_early = provider(&reader, &json!({})).open(&open_context("t_guarded")).await;
    let too_early = too_early.expect_err("nothing is there yet");
    assert_eq!(too_early.kind(), ErrorKind::ConfigInvalid);

    let fixture = Fixture::at(&app, "t_guarded", &json!({})).await;
    fixture.insert("c/a", json!({"n": 1})).await;
    fixture.update("c/a", json!({"n": 2})).await;
    fixture.backend.users().expect("users").ensure_indexes().await.expect("indexes");
    fixture.backend.revocations().expect("revocations").ensure_indexes().await.expect("indexes");
    let index =
        IndexDefinition::new("c", vec![OrderBy::new("n", Direction::Ascending).expect("valid")]);
    fixture.documents.create_index(&index.expect("valid")).await.expect("index");
    assert_eq!(fixture.log().await, ["create c/a@1", "update c/a@2"]);

    let reading = Fixture::at(&reader, "t_guarded", &json!({})).await;
    assert!(reading.get("c/a").await.is_some());
    let write = Write::Insert(document("c/b", json!({})));
    let refused = reading.write(write).await.expect_err("may not write");
    assert_eq!((refused.kind(), refused.retry()), (ErrorKind::ConfigInvalid, Retry::Never));

    let wrong = server.uri_of("app", &format!("{PASSWORD}wrong"));
    let settings = json!({"serverSelectionTimeout": "1s"});
    let stranger = provider(&wrong, &settings).open(&open_context("t_guarded")).await;
    let stranger = stranger.expect_err("wrong password");
    let shown = format!(
        "{too_early:?}{too_early}{refused:?}{refused}{stranger:?}{stranger}{:?}{:?}",
        reading.backend, reading.documents
    );
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert_eq!(stranger.kind(), ErrorKind::ConfigInvalid);
    reading.documents.close().await.expect("close");
    fixture.documents.close().await.expect("close");
}

#[tokio::test]
async fn a_role_that_may_not_change_the_schema_gets_the_command() {
    let (server, root) = Server::start_guarded().await;
    let database = "backend_tests_t_plain";
    let resource = doc! { "db": database, "collection": "" };
    let actions =
        ["find", "insert", "update", "remove", "changeStream", "listCollections", "listIndexes"];
    let role = doc! {
        "createRole": "plain",
        "privileges": [{ "resource": resource, "actions": &actions[..] }],
        "roles": [],
    };
    root.database("admin").run_command(role).await.expect("role");
    let user = doc! { "createUser": "plain", "pwd": PASSWORD, "roles": ["plain"] };
    root.database("admin").run_command(user).await.expect("user");
    let plain = server.uri_of("plain", PASSWORD);
    let opened = provider(&plain, &json!({})).open(&open_context("t_plain")).await;
    let error = opened.expect_err("the collections are missing");
    let command = error.fact("command").expect("the command to run");
    assert!(command.contains("create") && command.contains("documents"), "{command}");
    // Somebody who may makes what is missing; then the plain role is enough.
    let complete = Fixture::at(&server.uri_of("root", "root"), "t_plain", &json!({})).await;
    let fixture = Fixture::at(&plain, "t_plain", &json!({})).await;
    fixture.insert("c/a", json!({})).await;
    assert_eq!(fixture.log().await, ["create c/a@1"]);
    fixture.documents.close().await.expect("close");
    complete.finish().await;
}
