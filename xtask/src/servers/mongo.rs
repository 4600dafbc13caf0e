//! A private MongoDB: a replica set of one, because change streams and transactions need one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::launch::Launched;
use super::wire::{Client, Document, Reply};
use crate::failure::{Context, Failure, Result};

/// The name of the set.
pub(crate) const SET: &str = "rs0";

/// Longest the only member may take to elect itself.
const ELECTION_LIMIT: Duration = Duration::from_secs(60);

/// What a command says of a set that was initiated before.
const ALREADY_INITIALIZED: i64 = 23;

/// Starts it, makes it a replica set and waits until it is the primary.
///
/// # Errors
///
/// When it does not start or does not become primary.
pub(super) fn start(program: &Path, folder: &Path) -> Result<(Launched, String)> {
    let data = folder.join("data");
    fs::create_dir_all(&data).context(|| format!("making {}", data.display()))?;
    let mut launched =
        Launched::start(folder, |port| command(program, port, folder), |port| hello(port).is_ok())?;
    if let Err(failure) = become_primary(launched.port) {
        let _ = launched.child.kill();
        let _ = launched.child.wait();
        return Err(failure);
    }
    let url = format!("mongodb://127.0.0.1:{}/?replicaSet={SET}", launched.port);
    Ok((launched, url))
}

/// What starts a member with its data below `folder`.
pub(crate) fn command(program: &Path, port: u16, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--dbpath").arg(folder.join("data")).args(["--port", &port.to_string()]);
    command.args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", SET]);
    command.args(["--wiredTigerCacheSizeGB", "0.25"]);
    // Alone in its set it answers a linearizable read with the next write of its journal, a hundred milliseconds later otherwise.
    command.args(["--journalCommitInterval", "2"]);
    // A primary that is asked to end waits 15 s for its clients otherwise.
    command.args(["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"]);
    // What was dropped stays that long, five minutes otherwise: thousands of files of cases that are over, each looked at by every checkpoint.
    command.args(["--setParameter", "minSnapshotHistoryWindowInSeconds=15"]);
    // Failpoints, with which tests make a server fail on demand.
    command.args(["--setParameter", "enableTestCommands=1"]);
    command
}

/// What a member says about itself.
///
/// # Errors
///
/// When nobody is there.
pub(crate) fn hello(port: u16) -> Result<Reply> {
    Client::connect(port)?.run(&Document::new().int("hello", 1).text("$db", "admin"))
}

fn become_primary(port: u16) -> Result<()> {
    let initiated = Client::connect(port)?.run(&initiate(port))?;
    if !initiated.is_ok() && initiated.code() != Some(ALREADY_INITIALIZED) {
        return Err(Failure::new(format!("replSetInitiate: {}", initiated.message())));
    }
    let deadline = Instant::now() + ELECTION_LIMIT;
    while Instant::now() < deadline {
        if hello(port).is_ok_and(|reply| reply.boolean("isWritablePrimary") == Some(true)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(Failure::new("mongod did not become primary"))
}

fn initiate(port: u16) -> Document {
    let member = Document::new().int("_id", 0).text("host", &format!("127.0.0.1:{port}"));
    let config = Document::new().text("_id", SET).array("members", vec![member]);
    Document::new().document("replSetInitiate", config).text("$db", "admin")
}
