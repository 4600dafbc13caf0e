//! Runs the binary in a folder of its own.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The binary with a data directory that is removed in the end.
pub(crate) struct Program {
    folder: TempDir,
}

/// What a run left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A path in the folder, outside the data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).expect("a file");
        self.path(name).display().to_string()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syntrix-storage"));
        command.arg("--data-dir").arg(self.path("data")).args(arguments);
        command.env_remove("RUST_LOG").current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdin(Stdio::piped()).spawn().expect("the binary starts")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(self.command(arguments).output().expect("the binary runs"))
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Finished {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("the binary reads its input");
        drop(stdin);
        Finished::of(child.wait_with_output().expect("the binary ends"))
    }

    /// Runs what must succeed and returns its lines of JSON.
    pub(crate) fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        let finished = self.run(arguments);
        assert_eq!(finished.code, 0, "{arguments:?}: {}", finished.stderr);
        finished.json_lines()
    }
}

impl Finished {
    pub(crate) fn of(output: Output) -> Self {
        keep(&output.stderr);
        Self {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The error that `--output json` prints on stderr.
    pub(crate) fn json_error(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stderr).expect(&self.stderr);
        value["error"].clone()
    }
}

/// Leaves what went to stderr where the gate searches it for credentials. Results, on stdout, may name a token.
fn keep(text: &[u8]) {
    let Some(folder) = std::env::var_os("SYNTRIX_STORAGE_TEST_LOGS") else { return };
    let file = PathBuf::from(folder).join(format!("command-line-{}.log", std::process::id()));
    let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
    file.expect("a log").write_all(text).expect("a log");
}

/// Lines `{"path","data"}` for `c/1`, `c/2`, ….
pub(crate) fn numbered_lines(count: usize) -> String {
    let line = |n| format!("{{\"path\":\"c/{n}\",\"data\":{{\"n\":{n}}}}}\n");
    (1..=count).map(line).collect()
}
