//! A server that is killed: what was acknowledged is there afterwards, and the log equals the writes.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::{Applied, Feed, Write};
use syntrix_storage_core::{ErrorKind, Retry};
use tempfile::TempDir;

use crate::common::{Fixture, Place, brief, document};

/// A server of this test's own. PostgreSQL refuses to run as root, so then it runs as `postgres`.
struct Server {
    folder: TempDir,
    port: u16,
}

impl Server {
    fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))
            .expect("mode");
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        let server = Self { folder, port };
        server.run(
            "initdb",
            &["-U", "admin", "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync"],
        );
        let own = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n{}\n",
            settings.join("\n")
        );
        std::fs::write(server.data().join("more.conf"), own).expect("settings");
        let include = "\ninclude = 'more.conf'\n";
        let file = server.data().join("postgresql.conf");
        let text = std::fs::read_to_string(&file).expect("settings") + include;
        std::fs::write(&file, text).expect("settings");
        server.up();
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn up(&self) {
        let log = self.folder.path().join("log");
        self.run("pg_ctl", &["-w", "-l", &log.to_string_lossy(), "start"]);
    }

    /// Ends the server and all its processes at once, as a power cut of the machine would, but for the disk's cache.
    fn kill(&self) {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("pid");
        let pid = file.lines().next().expect("pid").to_owned();
        let children =
            Command::new("ps").args(["--ppid", &pid, "-o", "pid="]).output().expect("ps");
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        let pids = children.split_whitespace().chain([pid.as_str()]);
        Command::new("kill").arg("-9").args(pids).status().expect("kill");
        let gone = Instant::now() + Duration::from_secs(10);
        while Path::new(&format!("/proc/{pid}")).exists() && Instant::now() < gone {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = bin().join(program);
        let as_root = std::fs::metadata("/proc/self").is_ok_and(|own| {
            use std::os::unix::fs::MetadataExt as _;
            own.uid() == 0
        });
        let mut command = match as_root {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        let data = self.data();
        command.arg("-D").arg(data).args(arguments).current_dir(self.folder.path());
        // A server that keeps our pipe would keep us waiting for its end.
        let log = std::fs::File::create(self.folder.path().join("output")).expect("output");
        let status =
            command.stdin(Stdio::null()).stdout(log.try_clone().expect("output")).stderr(log);
        let status = status.status().expect("PostgreSQL's programs are needed, 15 or later");
        let output = std::fs::read_to_string(self.folder.path().join("output")).expect("output");
        assert!(status.success(), "{output}");
    }

    fn dsn(&self) -> String {
        format!("postgres://admin@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.kill();
        }
    }
}

/// Where the server's programs are: in the path, or where Debian keeps them.
fn bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    newest.max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_no_acknowledged_write_and_its_log_equals_the_writes() {
    let server = Server::start(&[]);
    let fixture = Arc::new(Fixture::at(Place::new(server.dsn()), &json!({})).await);
    let start = fixture.end().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers = (0..8).map(|writer| {
        let (fixture, stop) = (Arc::clone(&fixture), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut acknowledged, mut open) = (Vec::new(), Vec::new());
            let mut number = 0;
            while !stop.load(Ordering::SeqCst) {
                let path = format!("case/w{writer}-{number}");
                number += 1;
                match fixture.write(Write::Insert(document(&path, json!({})))).await {
                    Ok(Applied::Yes(_)) => acknowledged.push(path),
                    Ok(Applied::No(there)) => panic!("{path} was written before: {there:?}"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                        if error.retry() != Retry::Safe {
                            open.push(path);
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
            (acknowledged, open)
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.up();
        let accepted = Instant::now();
        while fixture.documents.health().await.is_err() {
            assert!(accepted.elapsed() < Duration::from_secs(5), "not reconnected");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::SeqCst);
    let (mut acknowledged, mut open) = (Vec::new(), Vec::new());
    for writer in writers {
        let (sure, unsure) = writer.await.expect("writer");
        acknowledged.extend(sure);
        open.extend(unsure);
    }
    assert!(acknowledged.len() > 50, "only {} writes", acknowledged.len());
    let mut logged = Vec::new();
    let mut place = start;
    loop {
        let page = fixture.feed(Feed::After(place)).await;
        logged.extend(page.changes.iter().map(brief));
        place = page.end;
        if !page.more {
            break;
        }
    }
    logged.sort();
    assert!(logged.windows(2).all(|pair| pair[0] != pair[1]), "a change came twice");
    let stored = fixture.raw().await;
    let stored = stored.query("SELECT fullpath FROM documents", &[]).await.expect("documents");
    let mut stored: Vec<_> =
        stored.iter().map(|row| format!("create {}@1", row.get::<_, &str>(0))).collect();
    stored.sort();
    assert_eq!(logged, stored, "the log is not what is stored");
    for path in &acknowledged {
        assert!(logged.binary_search(&format!("create {path}@1")).is_ok(), "{path} is lost");
    }
    let known = |entry: &String| {
        let path = entry.trim_start_matches("create ").trim_end_matches("@1").to_owned();
        acknowledged.contains(&path) || open.contains(&path)
    };
    assert!(logged.iter().all(known), "a write is there that was said not to be");
    fixture.backend.close().await.expect("close");
}

#[tokio::test]
async fn a_standby_is_refused_and_says_so() {
    let server = Server::start(&[]);
    server.run("pg_ctl", &["-w", "-m", "fast", "stop"]);
    std::fs::write(server.data().join("standby.signal"), "").expect("signal");
    server.up();
    let place = Place::new(server.dsn());
    let provider = crate::common::provider(&place.block(&json!({})));
    let clock = syntrix_storage_core::ManualClock::starting_at(0);
    let error = provider.open(&place.context(&clock)).await.expect_err("opened");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("standby"), "{error}");
}

#[tokio::test]
async fn a_server_without_prompt_commits_is_told_to_wait_for_the_disk() {
    let server = Server::start(&["synchronous_commit = off"]);
    let fixture = Fixture::at(Place::new(server.dsn()), &json!({})).await;
    let report = fixture.documents.health().await.expect("health");
    let fact = report.facts.iter().find(|(name, _)| name == "synchronousCommit");
    assert_eq!(fact.map(|(_, value)| value.as_str()), Some("on"));
    fixture.backend.close().await.expect("close");
    // Behind a transaction pooler nothing can be set for a session of our own.
    let place = Place::new(server.dsn());
    let provider = crate::common::provider(&place.block(&json!({"pooler": "transaction"})));
    let clock = syntrix_storage_core::ManualClock::starting_at(0);
    let error = provider.open(&place.context(&clock)).await.expect_err("opened");
    assert!(error.to_string().contains("synchronous_commit"), "{error}");
}
