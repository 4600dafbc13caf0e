//! The process of a server of a test's own. No driver is needed, so that tests of other crates share it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use self::wire::{Client, Document, Reply};

#[allow(dead_code, reason = "other servers are asked elsewhere")]
#[path = "../../../../xtask/src/servers/probe.rs"]
mod probe;
#[path = "../../../../xtask/src/servers/wire.rs"]
pub mod wire;

const SHARED: &str = "SYNTRIX_STORAGE_TEST_MONGO";
/// Longest until a server answers a command. A busy machine makes the first start slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that ends with the test.
pub struct Mongod {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    options: Vec<String>,
    process: Child,
}

impl Mongod {
    /// Starts the program that runs the shared server again, in a folder of its own. It may not answer yet.
    pub fn launch(options: &[&str]) -> Self {
        Self::launch_on(tempfile::tempdir().expect("folder"), options)
    }

    fn launch_on(folder: TempDir, options: &[&str]) -> Self {
        let program = program();
        let options = owned(options);
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        let process = launch(&program, folder.path(), port, &options);
        Self { program, folder, port, options, process }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn options(&self) -> &[String] {
        &self.options
    }

    /// As [`Mongod::launch`], on a copy of what `other`, which was ended, has on the disk.
    pub fn launch_copy(other: &Self, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let from = other.folder.path().join(".");
        let copied = Command::new("cp").arg("-r").arg(from).arg(folder.path()).status();
        assert!(copied.expect("cp").success(), "the data were not copied");
        Self::launch_on(folder, options)
    }

    /// Ends the process as a power cut would, but for the disk's cache.
    pub fn kill(&mut self) {
        self.process.kill().expect("kill");
        self.process.wait().expect("wait");
    }

    /// Starts one that was ended again, on what is on the disk.
    pub fn restart(&mut self) {
        self.process = launch(&self.program, self.folder.path(), self.port, &self.options);
    }

    /// As [`Mongod::restart`], with other options.
    pub fn restart_with(&mut self, options: &[&str]) {
        self.options = owned(options);
        self.restart();
    }

    /// What it says to a command of its administration; one that repeated does no harm, as an answer may get lost.
    pub fn ask(&self, command: impl Fn() -> Document) -> Reply {
        self.ask_in("admin", command)
    }

    /// As [`Mongod::ask`], in another database.
    pub fn ask_in(&self, database: &str, command: impl Fn() -> Document) -> Reply {
        let end = Instant::now() + PATIENCE;
        loop {
            let ask = || Client::connect(self.port)?.run(&command().text("$db", database));
            match ask() {
                Ok(reply) => return reply,
                Err(failure) => assert!(Instant::now() < end, "{failure}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// As [`Mongod::ask`], and it must do it.
    pub fn command(&self, command: impl Fn() -> Document) -> Reply {
        let reply = self.ask(command);
        assert!(reply.is_ok(), "{}", reply.message());
        reply
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn owned(options: &[&str]) -> Vec<String> {
    options.iter().map(|option| (*option).to_owned()).collect()
}

fn launch(program: &Path, folder: &Path, port: u16, options: &[String]) -> Child {
    let mut command = Command::new(program);
    command
        .args(["--bind_ip", "127.0.0.1", "--port", &port.to_string()])
        .args(["--wiredTigerCacheSizeGB", "0.25", "--journalCommitInterval", "2", "--dbpath"])
        .arg(folder)
        .stdout(Stdio::null());
    command.args(options).spawn().expect("mongod")
}

/// The program behind the shared server, which runs on this machine.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("SYNTRIX_STORAGE_TEST_MONGOD") {
        return program.into();
    }
    let status = Client::connect(shared_port())
        .and_then(|client| client.run(&Document::new().int("serverStatus", 1).text("$db", "admin")))
        .expect("the shared server's status");
    let pid = status.number("pid").expect("pid");
    std::fs::read_link(format!("/proc/{pid}/exe")).expect(
        "the program of the shared server: SYNTRIX_STORAGE_TEST_MONGOD names it where /proc does not tell",
    )
}

fn shared_port() -> u16 {
    let uri = std::env::var(SHARED).unwrap_or_else(|_| {
        panic!(
            "{SHARED} names no server; `cargo xtask servers up` starts one and says how to set it"
        )
    });
    let port = uri.strip_prefix("mongodb://127.0.0.1:").and_then(|rest| rest.split('/').next());
    port.and_then(|port| port.parse().ok()).unwrap_or_else(|| {
        panic!("{SHARED} is no server on this machine; SYNTRIX_STORAGE_TEST_MONGOD names the program to start")
    })
}
