//! Processes that die: at random, between the two writes, or only for a while. Nothing that was acknowledged may be lost.
//!
//! Writers are this program again, told by a variable what to do. Each notes what was acknowledged in a journal of its own,
//! flushed to the disk before it goes on.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage::routing::{Depth, MirrorFault, VerifyOptions};
use syntrix_storage::{
    Document, DocumentStore, ErrorKind, Patch, Result, Storage, StorageConfig, WriteResult,
};

use crate::stores::{
    PATIENCE_AFTER_TORMENT, Pair, Route, SQLITE_TO_SQLITE, at, creation, everything, quick,
};

/// What a writer shall do: folder, seed, the two blocks and the namespace, by line.
const ORDERS: &str = "SYNTRIX_STORAGE_TEST_WRITER";
const NO_NAMESPACE: &str = "none";
const WRITERS: usize = 4;
const KEYS: u64 = 300;
/// Records from before the route, so that processes die while the shadow is being filled, too.
pub const OLD: i64 = 6000;
/// Longer than a lease.
const STOPPED: Duration = Duration::from_millis(1500);

/// Where writers begin. It is a test only because a test program has no other entry; without orders there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn entry_of_the_writers() {
    if let Some((folder, seed, pair)) = orders() {
        write_until_killed(&folder, seed, pair).await;
    }
}

/// Folder, seed and blocks, if this process is a writer.
pub fn orders() -> Option<(PathBuf, u64, Pair)> {
    let orders = std::env::var(ORDERS).ok()?;
    let lines: Vec<&str> = orders.lines().collect();
    let [folder, seed, primary, shadow, namespace] = lines[..] else { panic!("orders: {orders}") };
    let keep = |text: &str| -> &'static str { text.to_owned().leak() };
    let namespace = Some(keep(namespace)).filter(|name| *name != NO_NAMESPACE);
    let pair = Pair { primary: keep(primary), shadow: keep(shadow), namespace };
    Some((folder.into(), seed.parse().unwrap(), pair))
}

async fn write_until_killed(folder: &Path, seed: u64, pair: Pair) {
    let mut replication = quick();
    replication.fault = Some(MirrorFault::seeded(seed, 150));
    let config = pair.config(folder, "").with_replication(replication);
    let storage = open_at_last(&config).await;
    let journal = Arc::new(journal_of(folder, seed));
    let documents = storage.documents().unwrap();
    let tasks = (0..4).map(|task| {
        let (documents, journal) = (Arc::clone(&documents), Arc::clone(&journal));
        tokio::spawn(async move { write_on(&*documents, &journal, seed * 10 + task).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// Many processes that open one file at once may have to wait for each other.
pub async fn open_at_last(config: &StorageConfig) -> Storage {
    loop {
        match Storage::from_config(config.clone()).await {
            Ok(storage) => return storage,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Where a writer notes what was acknowledged.
pub fn journal_of(folder: &Path, seed: u64) -> Mutex<File> {
    let journal = folder.join(format!("journal-{seed}"));
    Mutex::new(OpenOptions::new().create(true).append(true).open(journal).unwrap())
}

async fn write_on(documents: &dyn DocumentStore, journal: &Mutex<File>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        match write_once(documents, &mut random).await {
            Ok(results) => note(journal, &results),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // A stopped process may hold the file.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn write_once(
    documents: &dyn DocumentStore,
    random: &mut fastrand::Rng,
) -> Result<Vec<WriteResult>> {
    let (path, n) = (at(&format!("hot/d{}", random.u64(..KEYS))), random.i64(..));
    let data = json!({"n": n, "text": "x".repeat(random.usize(..200))});
    let one = match random.u32(..20) {
        0..8 => documents.create(&path, data, Default::default()).await,
        8..13 => documents.update(&path, data, Default::default()).await,
        13..16 => documents.patch(&path, patch(n), Default::default()).await,
        16..19 => documents.delete(&path, Default::default()).await,
        _ => {
            let items = (0..20).map(|_| creation(format!("bulk/d{}", random.u64(..)), n));
            let outcomes = documents.bulk(items.collect(), Default::default()).await?;
            return Ok(outcomes.into_iter().filter_map(Result::ok).collect());
        }
    };
    match one {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Vec::new()),
        one => Ok(vec![one?]),
    }
}

fn patch(n: i64) -> Patch {
    Patch::from_value(json!({"n": n})).unwrap()
}

fn note(journal: &Mutex<File>, results: &[WriteResult]) {
    let lines: String = results
        .iter()
        .map(|result| format!("{} {}\n", result.document.path(), result.version()))
        .collect();
    note_lines(journal, &lines);
}

/// On the disk when it returns.
pub fn note_lines(journal: &Mutex<File>, lines: &str) {
    let mut journal = journal.lock().unwrap();
    journal.write_all(lines.as_bytes()).unwrap();
    journal.sync_data().unwrap();
}

/// The processes, and what is done to them.
pub struct Writers {
    folder: PathBuf,
    pair: Pair,
    running: Vec<Child>,
    next_seed: u64,
    random: fastrand::Rng,
    /// The test that a process begins in.
    entry: &'static str,
    pub killed: u32,
    pub died: u32,
}

impl Writers {
    pub fn new(folder: &Path, pair: Pair, seed: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            pair,
            running: Vec::new(),
            next_seed: seed * 1000,
            random: fastrand::Rng::with_seed(seed),
            entry: "crash::entry_of_the_writers",
            killed: 0,
            died: 0,
        }
    }

    /// Writers that begin in another test.
    pub fn begin_in(mut self, entry: &'static str) -> Self {
        self.entry = entry;
        self
    }

    /// Lets them write for `time`, and kills, stops and continues one now and then.
    pub async fn torment(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.replace_dead();
            let pause = Duration::from_millis(self.random.u64(100..500));
            tokio::time::sleep(pause).await;
            let victim = self.random.usize(..self.running.len());
            match self.random.u32(..4) {
                0 | 1 => {
                    self.running[victim].kill().unwrap();
                    self.killed += 1;
                }
                2 => {
                    let process = self.running[victim].id();
                    signal(process, "-STOP");
                    tokio::time::sleep(STOPPED).await;
                    signal(process, "-CONT");
                }
                _ => {}
            }
        }
        self.kill_all();
    }

    fn replace_dead(&mut self) {
        let count = self.running.len();
        self.running.retain_mut(|child| child.try_wait().unwrap().is_none());
        self.died += (count - self.running.len()) as u32;
        while self.running.len() < WRITERS {
            self.next_seed += 1;
            let child = self.start();
            self.running.push(child);
        }
    }

    fn start(&self) -> Child {
        let Pair { primary, shadow, namespace } = self.pair;
        let (folder, namespace) = (self.folder.display(), namespace.unwrap_or(NO_NAMESPACE));
        let seed = self.next_seed;
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", self.entry, "--nocapture"])
            .env(ORDERS, format!("{folder}\n{seed}\n{primary}\n{shadow}\n{namespace}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn kill_all(&mut self) {
        for mut child in self.running.drain(..) {
            // One that is dead already is what we want.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn signal(process: u32, name: &str) {
    // It may have died of itself.
    let _ = Command::new("kill").args([name, &process.to_string()]).stderr(Stdio::null()).status();
}

/// Every acknowledged write is there or was overwritten by a later one.
pub fn expect_acknowledged(folder: &Path, records: &[Document]) -> usize {
    let version = |record: &Document| (record.path().as_str().to_owned(), record.version().get());
    expect_noted(folder, &records.iter().map(version).collect())
}

/// Each noted line is a name and a version; at least that version is there.
pub fn expect_noted(folder: &Path, versions: &HashMap<String, i64>) -> usize {
    let mut acknowledged = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if !file.file_name().unwrap().to_string_lossy().starts_with("journal-") {
            continue;
        }
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let (path, version) = line.split_once(' ').unwrap();
            let there = versions.get(path).copied().unwrap_or_default();
            assert!(there >= version.parse().unwrap(), "lost: {line}, there is {there}");
            acknowledged += 1;
        }
    }
    acknowledged
}

pub async fn write_old(folder: &Path, pair: Pair) {
    write_old_records(folder, pair, OLD).await;
}

pub async fn write_old_records(folder: &Path, pair: Pair, count: i64) {
    let primary = Storage::from_config(pair.primary_alone(folder)).await.unwrap();
    let documents = primary.documents().unwrap();
    let items: Vec<_> = (0..count).map(|n| creation(format!("old/d{n}"), n)).collect();
    for part in items.chunks(1000) {
        documents.bulk(part.to_vec(), Default::default()).await.unwrap();
    }
    primary.close().await.unwrap();
}

/// Seconds of torment: a slice in the gate, minutes when asked for.
pub fn torment_time() -> Duration {
    let seconds = std::env::var("SYNTRIX_STORAGE_TEST_TORMENT_SECONDS").ok();
    Duration::from_secs(seconds.map_or(15, |seconds| seconds.parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_1_2_10_14_and_25_nothing_is_lost_when_processes_die_stop_and_go_on() {
    let folder = tempfile::tempdir().unwrap();
    write_old(folder.path(), SQLITE_TO_SQLITE).await;
    let mut writers = Writers::new(folder.path(), SQLITE_TO_SQLITE, 1);
    writers.torment(torment_time()).await;
    expect_nothing_lost(folder, &writers).await;
}

/// Opens the route once more, lets it catch up, and compares.
pub async fn expect_nothing_lost(folder: tempfile::TempDir, writers: &Writers) {
    let config = writers.pair.config(folder.path(), "");
    let route = Route::open_config(writers.pair, folder, config).await;
    route.control.drain(PATIENCE_AFTER_TORMENT).await.unwrap();
    let records = route.expect_equal_sides().await;
    let deep = VerifyOptions::default().with_depth(Depth::Deep);
    let verify = route.storage.document_route().unwrap();
    let summary = verify.verify(deep, PATIENCE_AFTER_TORMENT, &mut |_| Ok(())).await.unwrap();
    assert!(summary.equal, "{summary:?}");
    let admin = route.storage.document_admin().unwrap();
    let acknowledged = expect_acknowledged(route.folder.path(), &everything(&*admin).await);
    eprintln!(
        "{acknowledged} acknowledged, {records} records, {} killed, {} ended in all",
        writers.killed, writers.died
    );
    assert!(writers.killed > 5 && writers.died > writers.killed, "nobody died between the writes");
    assert!(acknowledged > 500);
    route.storage.close().await.unwrap();
}
