//! The processes as the gate's tool starts them, on a file: killed writers and watchers pass, a broken promise does not.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

struct Run(TempDir);

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let text = "storage:\n  document: {backend: sqlite, sqlite: {}}\n  \
                    revocation: {backend: sqlite, sqlite: {}}\n";
        std::fs::write(folder.path().join("storage.yaml"), text).expect("configuration");
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syntrix-storage-soak"));
        command.arg(what).arg("--config").arg(self.file("storage.yaml"));
        command
    }

    fn worker(&self, what: &str, journal: &str, more: &[&str]) -> Child {
        let mut command = self.command(what);
        command.arg("--journal").arg(self.file(journal)).args(more).stdin(Stdio::piped());
        command.spawn().expect("a process")
    }

    fn writer(&self, journal: &str) -> Child {
        let writer = self.worker("write", journal, &["--seed", "7", "--hurried"]);
        until(|| {
            lines(&self.file(journal), "told") > 20 && lines(&self.file(journal), "revoked") > 5
        });
        writer
    }

    fn finish(&self) {
        assert!(self.command("finish").status().expect("finish").success());
    }

    fn verify(&self, writers: &[&str], watchers: &[&str]) -> Value {
        let mut command = self.command("verify");
        writers.iter().for_each(|it| _ = command.arg("--writer").arg(self.file(it)));
        watchers.iter().for_each(|it| _ = command.arg("--watcher").arg(self.file(it)));
        let output = command.output().expect("verify");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a report")
    }
}

fn lines(file: &Path, kind: &str) -> usize {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.matches(&format!("{{\"{kind}\":")).count()
}

fn until(is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < deadline, "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Without closing its input, which would ask it to end.
fn ends_well(process: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = process.try_wait().expect("wait") {
            return assert!(status.success(), "{status}");
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(mut process: Child) {
    process.kill().expect("kill");
    process.wait().expect("wait");
}

fn found(report: &Value) -> u64 {
    let kinds = ["lost", "doubled", "reordered", "wrong", "forgotten"];
    kinds.iter().map(|kind| report["findings"][kind].as_u64().expect("a number")).sum()
}

#[test]
fn killed_writers_and_a_killed_watcher_on_a_file_break_no_promise() {
    let run = Run::new();
    kill(run.writer("one.jsonl"));
    let watcher = run.worker("watch", "watcher.jsonl", &[]);
    until(|| lines(&run.file("watcher.jsonl"), "change") > 5);
    kill(watcher);
    let mut second = run.writer("two.jsonl");
    let mut watcher = run.worker("watch", "watcher.jsonl", &["--collection", "soak"]);
    drop(second.stdin.take());
    assert!(second.wait().expect("wait").success());
    run.finish();
    ends_well(&mut watcher);

    let report = run.verify(&["one.jsonl", "two.jsonl"], &["watcher.jsonl"]);
    assert_eq!(found(&report), 0, "{report}");
    assert!(report["acknowledged"].as_u64() > Some(40) && report["revoked"].as_u64() > Some(10));
}

#[test]
fn what_was_acknowledged_and_is_not_there_is_found() {
    let run = Run::new();
    kill(run.writer("one.jsonl"));
    run.finish();
    let mut journal = OpenOptions::new().append(true).open(run.file("one.jsonl")).unwrap();
    let more = "{\"begun\":{\"mark\":\"m\",\"path\":\"soak/d1\",\"delete\":false,\"at\":1}}\n\
                {\"told\":{\"mark\":\"m\",\"path\":\"soak/d1\",\"version\":99999,\"left\":\"deleted\",\"at\":2}}\n\
                {\"revoked\":{\"token\":\"t\",\"at\":3}}\n";
    // A killed writer may have left a line half written.
    journal.write_all(format!("\n{more}").as_bytes()).unwrap();
    let text = std::fs::read_to_string(run.file("one.jsonl")).unwrap();
    let whole = text.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok());
    let whole: String = whole.map(|line| format!("{line}\n")).collect();
    std::fs::write(run.file("one.jsonl"), whole).unwrap();

    let report = run.verify(&["one.jsonl"], &[]);
    assert_eq!(report["findings"]["lost"], 1, "{report}");
    assert_eq!(report["findings"]["forgotten"], 1, "{report}");
    assert_eq!(found(&report), 2, "{report}");
}

#[test]
fn a_watcher_that_missed_a_change_is_found() {
    let run = Run::new();
    kill(run.writer("one.jsonl"));
    run.finish();
    ends_well(&mut run.worker("watch", "watcher.jsonl", &[]));
    let file = run.file("watcher.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let without: String = text.lines().skip(1).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, without).unwrap();
    assert!(run.verify(&["one.jsonl"], &["watcher.jsonl"])["findings"]["lost"].as_u64() > Some(0));
}
