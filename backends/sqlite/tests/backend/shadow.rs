//! The file as a shadow that somebody else keeps locked, for seconds in the gate and for minutes in the long form.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::routing::{Depth, VerifyOptions};
use syntrix_storage::{
    DocumentAdmin, DocumentPath, DocumentStore, ErrorKind, Patch, Result, ScanRequest, Storage,
    StorageConfig, WriteResult,
};

const ROUTE: &str = "storage:\n  document:\n    backend: main\n    main: {kind: memory}\n    \
     other: {kind: sqlite, path: shadow.db}\n  routing:\n    document: {strategy: dual-write, shadow: other}\n";
const SHADOW_ALONE: &str =
    "storage:\n  document:\n    backend: other\n    other: {kind: sqlite, path: shadow.db}\n";

const TASKS: u64 = 4;
const KEYS: u64 = 300;
/// Between two writes of a task: the memory would outrun any file.
const PAUSE: Duration = Duration::from_millis(2);
/// No caller waits for a shadow.
const WRITE_MAX: Duration = Duration::from_secs(1);

/// How long the file is locked and left alone, in turns. A mirrored write may take two seconds, and a connection waits for five.
const LOCKED_MS: std::ops::Range<u64> = 50..7000;
const FREE_MS: std::ops::Range<u64> = 100..1000;
/// A run of this length begins with a long lock.
const LONG_RUN: Duration = Duration::from_secs(300);
const LONG_LOCK: Duration = Duration::from_secs(120);

/// Long enough for whatever must happen at all.
const PATIENCE: Duration = Duration::from_secs(150);

/// The highest acknowledged version of each document.
type Acknowledged = Arc<Mutex<HashMap<String, i64>>>;

#[tokio::test(flavor = "multi_thread")]
async fn case_12_nothing_is_lost_while_the_shadows_file_is_locked_by_somebody_else() {
    let folder = tempfile::tempdir().expect("folder");
    let storage = open(ROUTE, folder.path()).await;
    let control = storage.routing(StoreKind::Documents).expect("route");
    control.drain(PATIENCE).await.expect("a shadow that is there");
    let (over, acknowledged) = (Arc::new(AtomicBool::new(false)), Acknowledged::default());
    let tasks: Vec<_> = (0..TASKS)
        .map(|seed| {
            let documents = storage.documents().expect("documents");
            tokio::spawn(write_until(Arc::clone(&over), documents, Arc::clone(&acknowledged), seed))
        })
        .collect();
    let file = folder.path().join("shadow.db");
    let locks = tokio::task::spawn_blocking(move || lock_again_and_again(&file, torment_time()));
    let locks = locks.await.expect("locks");
    over.store(true, Ordering::Relaxed);
    let mut writes = 0;
    for task in tasks {
        writes += task.await.expect("a writer");
    }
    control.drain(PATIENCE).await.expect("drained");
    expect_the_same(&storage).await;
    let acknowledged = acknowledged.lock().expect("acknowledged").clone();
    expect_on(&*storage.document_admin().expect("admin"), &acknowledged).await;
    let shadow = open(SHADOW_ALONE, folder.path()).await;
    expect_on(&*shadow.document_admin().expect("admin"), &acknowledged).await;
    eprintln!("{writes} acknowledged, the shadow locked {locks} times");
    assert!(writes > 500 && locks > 2, "{writes} writes, {locks} locks");
    shadow.close().await.expect("close");
    storage.close().await.expect("close");
}

/// Seconds of torment: a slice in the gate, minutes when asked for.
fn torment_time() -> Duration {
    let seconds = std::env::var("SYNTRIX_STORAGE_TEST_TORMENT_SECONDS").ok();
    Duration::from_secs(seconds.map_or(15, |seconds| seconds.parse().expect("seconds")))
}

async fn open(text: &str, folder: &Path) -> Storage {
    let config = StorageConfig::from_yaml(text, "shadow.yaml").with_data_dir(folder);
    Storage::from_config(config).await.expect("open")
}

/// Nobody else writes meanwhile, as when another program holds a transaction.
fn lock_again_and_again(file: &Path, time: Duration) -> u32 {
    let mut random = fastrand::Rng::with_seed(12);
    let (begun, mut locks) = (Instant::now(), 0);
    let other = rusqlite::Connection::open(file).expect("another connection");
    other.busy_timeout(Duration::from_secs(30)).expect("set");
    while begun.elapsed() < time {
        let long = time >= LONG_RUN && locks == 0;
        other.execute_batch("BEGIN EXCLUSIVE").expect("locked");
        let locked = Duration::from_millis(random.u64(LOCKED_MS));
        std::thread::sleep(if long { LONG_LOCK } else { locked });
        other.execute_batch("ROLLBACK").expect("free");
        locks += 1;
        std::thread::sleep(Duration::from_millis(random.u64(FREE_MS)));
    }
    locks
}

/// How many writes were acknowledged; none may wait.
async fn write_until(
    over: Arc<AtomicBool>,
    documents: Arc<dyn DocumentStore>,
    acknowledged: Acknowledged,
    seed: u64,
) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut writes = 0;
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let written = write(&*documents, &mut random).await;
        assert!(begun.elapsed() < WRITE_MAX, "a write took {:?}", begun.elapsed());
        match written {
            Ok(written) => {
                note(&acknowledged, &written);
                writes += 1;
            }
            Err(error) => assert!(is_another_tasks_doing(error.kind()), "{error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    writes
}

async fn write(documents: &dyn DocumentStore, random: &mut fastrand::Rng) -> Result<WriteResult> {
    let path = DocumentPath::parse(&format!("hot/d{}", random.u64(..KEYS))).expect("path");
    let data = json!({"n": random.i64(..), "text": "x".repeat(random.usize(..200))});
    match random.u32(..10) {
        0..4 => documents.create(&path, data, Default::default()).await,
        4..6 => documents.update(&path, data, Default::default()).await,
        6..8 => {
            let patch = Patch::from_value(json!({"n": random.i64(..)})).expect("patch");
            documents.patch(&path, patch, Default::default()).await
        }
        _ => documents.delete(&path, Default::default()).await,
    }
}

fn is_another_tasks_doing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::AlreadyExists | ErrorKind::NotFound | ErrorKind::Conflict)
}

fn note(acknowledged: &Acknowledged, written: &WriteResult) {
    let mut acknowledged = acknowledged.lock().expect("acknowledged");
    let path = written.document.path().as_str().to_owned();
    let highest = acknowledged.entry(path).or_default();
    *highest = written.version().get().max(*highest);
}

async fn expect_the_same(storage: &Storage) {
    let deep = VerifyOptions::default().with_depth(Depth::Deep);
    let route = storage.document_route().expect("route");
    let mut print = |finding| {
        eprintln!("{finding:?}");
        Ok(())
    };
    let summary = route.verify(deep, PATIENCE, &mut print).await.expect("compared");
    assert!(summary.equal, "{summary:?}");
}

/// Nothing but what was acknowledged was written, so that a side has exactly the highest versions.
async fn expect_on(side: &dyn DocumentAdmin, acknowledged: &HashMap<String, i64>) {
    let mut request = ScanRequest::of(None, true);
    request.show_deleted = true;
    let mut there = HashMap::new();
    loop {
        let page = side.scan(request.clone()).await.expect("page");
        let versions = page.documents.iter();
        there.extend(versions.map(|it| (it.path().as_str().to_owned(), it.version().get())));
        request.after = page.next;
        if request.after.is_none() {
            break;
        }
    }
    assert_eq!(&there, acknowledged);
}
