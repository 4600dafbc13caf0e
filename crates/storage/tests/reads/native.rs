//! Routes to replicas that the primary's own database feeds, whichever it is, and pairs of a write and a read of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use serde_json::json;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::conformance::{Group, Selection, run};
use syntrix_storage::routing::{ShadowState, VerifyOptions};
use syntrix_storage::{
    Consistency, DocumentStore, ErrorKind, Query, QueryOptions, ReadOptions, Storage,
    StorageConfig, StorageHarness,
};
use tempfile::TempDir;

use crate::pair::path;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// Documents on a primary, and a native replica of it.
pub fn config(main: &str, shadow: &str) -> StorageConfig {
    let text = format!(
        "storage:\n  document:\n    backend: main\n    main: {main}\n    other: {shadow}\n  \
         routing:\n    document: {{shadow: other, strategy: read-replica}}\n"
    );
    StorageConfig::from_yaml(text, "route.yaml")
}

/// The suite's cases of routes that need no shadow to write to: who wrote sees it, pages are not older, no age is the primary's.
pub async fn expect_cases_hold(main: &str, shadow: &str) {
    let harness = StorageHarness::open_in_fresh_folder(config(main, shadow)).await.unwrap();
    let selection = Selection::all().with_groups([Group::Rte]);
    let report = run(Arc::new(harness), &selection, |_| {}).await;
    let counts = (report.passed, report.failed, report.not_applicable);
    assert_eq!(counts, (3, 0, 9), "{}", report.failures());
}

/// A route from a primary to a native replica.
pub struct Route {
    pub storage: Storage,
    pub documents: Arc<dyn DocumentStore>,
    counters: Snapshotter,
    _folder: TempDir,
}

impl Route {
    /// Opens one between two blocks.
    pub async fn open(main: &str, shadow: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(main, shadow).with_data_dir(folder.path());
        let recorder = DebuggingRecorder::new();
        let counters = recorder.snapshotter();
        // A route makes its counters while it is opened, which happens on this thread.
        let recording = metrics::set_default_local_recorder(&recorder);
        let storage = Storage::from_config(config).await.unwrap();
        drop(recording);
        let documents = storage.documents().unwrap();
        Self { storage, documents, counters, _folder: folder }
    }

    /// Who answered the reads since this was asked last: `shadow`, or the primary for a reason that it goes by.
    pub fn answers(&self) -> BTreeMap<String, u64> {
        let all = self.counters.snapshot().into_vec();
        let counted = all.into_iter().filter_map(|(key, _, _, value)| {
            let DebugValue::Counter(count) = value else { return None };
            let reason = key.key().labels().find(|label| label.key() == "reason");
            let name = match key.key().name() {
                "syntrix_storage_shadow_reads_total" => "shadow",
                "syntrix_storage_fallback_total" => reason?.value(),
                _ => return None,
            };
            Some((name.to_owned(), count))
        });
        let counted: BTreeMap<_, _> = counted.collect();
        assert!(counted.contains_key("shadow"), "the route has no counters");
        counted
    }

    /// Waits until the replica answers what it has.
    pub async fn until_replica_answers(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        self.answers();
        while self.answers()["shadow"] == 0 {
            assert!(Instant::now() < end, "the primary answers everything");
            self.read(text, Consistency::Session).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn read(&self, text: &str, consistency: Consistency) -> i64 {
        let options = ReadOptions::default().with_consistency(consistency);
        let found = self.documents.get(&path(text), options).await.unwrap();
        found.value().unwrap()["n"].as_i64().unwrap()
    }

    pub async fn create(&self, text: &str, n: i64) {
        self.documents.create(&path(text), json!({"n": n}), Default::default()).await.unwrap();
    }

    pub async fn update(&self, text: &str, n: i64) {
        self.documents.update(&path(text), json!({"n": n}), Default::default()).await.unwrap();
    }

    /// Every read that must see the last write of a document in `rooms` does, lists too, and so does one that allows no age: nothing
    /// is as fresh as that but the primary.
    pub async fn expect_newest(&self, id: &str, n: i64) {
        let at = format!("rooms/{id}");
        for consistency in
            [Consistency::Session, Consistency::Strong, Consistency::Bounded(Duration::ZERO)]
        {
            assert_eq!(self.read(&at, consistency).await, n, "{consistency:?}");
        }
        let query = Query::new("rooms").unwrap();
        let page = self.documents.query(query, QueryOptions::default()).await.unwrap();
        let seen = page.documents.iter().find(|found| found.path() == &path(&at)).unwrap();
        assert_eq!(seen.value().unwrap()["n"], n, "lists see the write, too");
    }

    async fn shadow(&self) -> ShadowState {
        self.storage.routing(StoreKind::Documents).unwrap().status().await.unwrap().shadow
    }

    /// Waits for a state of the shadow.
    pub async fn until(&self, is: impl Fn(&ShadowState) -> bool) -> ShadowState {
        let end = Instant::now() + PATIENCE;
        loop {
            let state = self.shadow().await;
            if is(&state) || Instant::now() > end {
                assert!(is(&state), "{state:?}");
                return state;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Compares both sides; a route that was only just opened is ready for it.
    pub async fn expect_equal_sides(&self, documents: u64) {
        let control = self.storage.document_route().unwrap();
        let options = VerifyOptions::default();
        let summary = control.verify(options, PATIENCE, &mut |_| Ok(())).await.unwrap();
        assert!(summary.equal && summary.primary.documents == documents, "{summary:?}");
    }

    /// Everything written so far is on the shadow.
    pub async fn drain(&self) {
        self.storage.routing(StoreKind::Documents).unwrap().drain(PATIENCE).await.unwrap();
    }
}

/// Pairs of a write and a read of it, from several tasks. Each task has documents of its own, so it knows what it must see.
pub async fn expect_no_stale_pairs(route: &Arc<Route>, tasks: usize, pairs: usize) {
    let started = Instant::now();
    let run = fastrand::u64(..);
    let running = (0..tasks).map(|task| {
        let route = Arc::clone(route);
        tokio::spawn(async move {
            let mut stale = 0;
            for pair in 0..pairs / tasks {
                stale +=
                    usize::from(!write_and_read(&route, &format!("r{run}-{task}"), pair).await);
            }
            stale
        })
    });
    let mut stale = 0;
    for task in running.collect::<Vec<_>>() {
        stale += task.await.unwrap();
    }
    eprintln!("{pairs} pairs in {:?}, {stale} stale", started.elapsed());
    assert_eq!(stale, 0);
}

/// Whether the read saw the write: a new document, a new version, or that it is gone; and lists, too.
async fn write_and_read(route: &Route, task: &str, pair: usize) -> bool {
    let (documents, n) = (&route.documents, i64::try_from(pair).unwrap());
    let at = path(&format!("pairs/{task}/of/d{}", pair / 4));
    let read = async || {
        let found = documents.get(&at, ReadOptions::default()).await;
        match found {
            Ok(found) => Some(found.value().unwrap()["n"].as_i64().unwrap()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                None
            }
        }
    };
    match pair % 4 {
        0 => {
            documents.create(&at, json!({"n": n}), Default::default()).await.unwrap();
            read().await == Some(n)
        }
        1 => {
            documents.update(&at, json!({"n": n}), Default::default()).await.unwrap();
            read().await == Some(n)
        }
        2 => {
            documents.update(&at, json!({"n": n}), Default::default()).await.unwrap();
            let query = Query::new(&format!("pairs/{task}/of")).unwrap();
            let page = documents.query(query, QueryOptions::default()).await.unwrap();
            let seen = page.documents.iter().find(|found| found.path() == &at);
            seen.is_some_and(|found| found.value().unwrap()["n"] == n)
        }
        _ => {
            documents.delete(&at, Default::default()).await.unwrap();
            read().await.is_none()
        }
    }
}

/// How many pairs: a slice in the gate, 100,000 when asked for.
pub fn pairs_wanted() -> usize {
    let wanted = std::env::var("SYNTRIX_STORAGE_TEST_PAIRS").ok();
    wanted.map_or(2000, |wanted| wanted.parse().unwrap())
}

/// Reads with the token of each write of `rooms/a` by another handle see that write, whichever replica they meet.
pub async fn expect_tokens_kept(writer: &Route, reader: &Arc<Route>) {
    for n in 2..20 {
        let written =
            writer.documents.update(&path("rooms/a"), json!({"n": n}), Default::default()).await;
        let token = written.unwrap().session_token();
        let reads = (0..16).map(|_| {
            let (reader, token) = (Arc::clone(reader), token.clone());
            tokio::spawn(async move {
                let options = ReadOptions::default().with_session(token);
                let found = reader.documents.get(&path("rooms/a"), options).await.unwrap();
                found.value().unwrap()["n"].as_i64().unwrap()
            })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(read.await.unwrap(), n);
        }
    }
}
