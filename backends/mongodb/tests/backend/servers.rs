//! Servers of a test's own: the program that runs the shared one, started again in a folder of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document as Record, doc};
use serde_json::json;
use syntrix_storage_core::{ErrorKind, Operation, Query, QueryPlan};
use tempfile::TempDir;

use crate::common::{Fixture, context, uri};

/// The program behind the shared server, which runs on this machine.
async fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("SYNTRIX_STORAGE_TEST_MONGOD") {
        return program.into();
    }
    let client = Client::with_uri_str(&uri()).await.expect("client");
    let status =
        client.database("admin").run_command(doc! { "serverStatus": 1 }).await.expect("status");
    let pid = status.get_i64("pid").expect("pid");
    std::fs::read_link(format!("/proc/{pid}/exe")).expect(
        "the program of the shared server: SYNTRIX_STORAGE_TEST_MONGOD names it where /proc does not tell",
    )
}

/// A server that ends with the test.
pub struct Server {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    replica_set: bool,
    process: Child,
}

impl Server {
    pub async fn start(replica_set: bool) -> Self {
        let program = program().await;
        let folder = tempfile::tempdir().expect("folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        let process = launch(&program, &folder, port, replica_set);
        let server = Self { program, folder, port, replica_set, process };
        if replica_set {
            server.initiate().await;
        } else {
            server.command(doc! { "ping": 1 }).await;
        }
        server
    }

    pub fn uri(&self) -> String {
        let set = if self.replica_set { "?replicaSet=own" } else { "" };
        format!("mongodb://127.0.0.1:{}/{set}", self.port)
    }

    /// Ends the process as a power cut would, and starts it again on what is on the disk.
    pub fn kill_and_restart(&mut self) {
        self.process.kill().expect("kill");
        self.process.wait().expect("wait");
        self.process = launch(&self.program, &self.folder, self.port, self.replica_set);
    }

    async fn initiate(&self) {
        let host = format!("127.0.0.1:{}", self.port);
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

    async fn command(&self, command: Record) -> Record {
        let address = format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port);
        let client = Client::with_uri_str(address).await.expect("client");
        client.database("admin").run_command(command).await.expect("command")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(program: &PathBuf, folder: &TempDir, port: u16, replica_set: bool) -> Child {
    let mut command = Command::new(program);
    command
        .args([
            "--bind_ip",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--wiredTigerCacheSizeGB",
            "0.25",
        ])
        .arg("--dbpath")
        .arg(folder.path())
        .stdout(Stdio::null());
    if replica_set {
        command.args(["--replSet", "own"]);
    }
    command.spawn().expect("mongod")
}

#[tokio::test]
async fn a_standalone_server_keeps_documents_and_says_how_to_watch_them() {
    let server = Server::start(false).await;
    let fixture = Fixture::on(&server.uri(), &json!({})).await;
    let capabilities = fixture.documents.capabilities();
    assert!(capabilities.durable && !capabilities.watch && !capabilities.before);
    fixture.insert("c/a", json!({"n": 1})).await;
    fixture.update("c/a", json!({"n": 2})).await;
    assert!(fixture.get("c/a").await.is_some());
    let plan = QueryPlan::check(Query::new("c").unwrap()).unwrap();
    let found = fixture.documents.query(&plan, &context(Operation::Query)).await.expect("query");
    assert_eq!(found.len(), 1);
    let error = fixture.documents.feed_end().await.expect_err("no change stream");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().expect("remedy").contains("--replSet"));
    let health = fixture.documents.health().await.expect("health");
    assert!(health.facts.contains(&("role".into(), "standalone".into())));
    fixture.finish().await;
}
