//! Two databases, and a follower that keeps the second up to date as a replicator does.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage::backend::{
    Applied, Backend, BackendFactory, CallContext, DocumentBackend, Feed, OpenContext, Write,
};
use syntrix_storage::{
    Body, Document, DocumentPath, Error, ErrorKind, Location, Metadata, Operation, Result,
    SettingsNode, SettingsValue, Timestamp, Version,
};
use syntrix_storage_routing::{Barrier, Depth, Finding, Verify, VerifyOptions, VerifySummary};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const MIGRATE: CallContext = CallContext::new(Operation::Migrate);

/// A primary in memory and a shadow in SQLite.
pub struct Pair {
    pub primary: Arc<dyn DocumentBackend>,
    pub shadow: Arc<dyn DocumentBackend>,
    _backends: [Arc<dyn Backend>; 2],
    _folder: TempDir,
}

impl Pair {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = open(syntrix_storage_memory::factory(), &folder).await;
        let sqlite = open(syntrix_storage_sqlite::factory(), &folder).await;
        Self {
            primary: memory.documents().unwrap(),
            shadow: sqlite.documents().unwrap(),
            _backends: [memory, sqlite],
            _folder: folder,
        }
    }

    /// A pair with `count` equal documents on both sides.
    pub async fn with_equal(count: usize) -> Self {
        let pair = Self::open().await;
        for number in 0..count {
            let document = document(&format!("rooms/r{number:05}"), 1, r#"{"a":1,"b":{"c":2.5}}"#);
            put(&pair.primary, document.clone()).await;
            put(&pair.shadow, document).await;
        }
        pair
    }

    /// Compares both sides; nothing is under way.
    pub async fn verify(&self, depth: Depth) -> (Vec<Finding>, VerifySummary) {
        self.verify_behind(&Still, VerifyOptions::default().with_depth(depth)).await
    }

    pub async fn verify_behind(
        &self,
        barrier: &dyn Barrier,
        options: VerifyOptions,
    ) -> (Vec<Finding>, VerifySummary) {
        let mut findings = Vec::new();
        let mut report = |finding| {
            findings.push(finding);
            Ok(())
        };
        let (primary, shadow) = (Arc::clone(&self.primary), Arc::clone(&self.shadow));
        let verify = Verify::new(primary, shadow, barrier, options);
        let summary = verify.run(&mut report).await.unwrap();
        (findings, summary)
    }
}

async fn open(factory: Box<dyn BackendFactory>, folder: &TempDir) -> Arc<dyn Backend> {
    let settings = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
    let provider = factory.configure(&settings).unwrap();
    provider.open(&OpenContext::new(folder.path())).await.unwrap()
}

pub fn path(text: &str) -> DocumentPath {
    DocumentPath::parse(text).unwrap()
}

pub fn document(text: &str, version: i64, body: &str) -> Document {
    let metadata = Metadata {
        version: Version::new(version),
        created_at: Timestamp::from_milliseconds(1000),
        updated_at: Timestamp::from_milliseconds(1000 + version),
        deleted: false,
    };
    Document::from_parts(path(text), metadata, Body::from_canonical(body))
}

/// Puts `document` there whatever is there.
pub async fn put(side: &Arc<dyn DocumentBackend>, document: Document) {
    let write = match side.get(document.path(), &MIGRATE).await.unwrap() {
        None => Write::Insert(document),
        Some(current) => Write::Replace { expected: current.version(), document },
    };
    let outcome = side.write(vec![write], &MIGRATE).await.pop().unwrap().unwrap();
    assert!(matches!(outcome, Applied::Yes(_)));
}

/// Removes a record without a trace, as damage does.
pub async fn lose(side: &Arc<dyn DocumentBackend>, text: &str) {
    let current = side.get(&path(text), &MIGRATE).await.unwrap().unwrap();
    let metadata =
        Metadata { deleted: true, updated_at: Timestamp::default(), ..current.metadata() };
    put(side, Document::from_parts(path(text), metadata, Body::empty())).await;
    side.purge(Timestamp::from_milliseconds(1), 1000).await.unwrap();
}

/// Both sides stand still, so there is nothing to wait for.
pub struct Still;

#[async_trait]
impl Barrier for Still {
    async fn pass(&self) -> Result<()> {
        Ok(())
    }
}

/// Follows the primary's feed, and is asked to show that it passed a place by being asked for a round that began later.
pub struct Follower {
    rounds: watch::Receiver<u64>,
    _task: JoinHandle<()>,
}

impl Follower {
    /// Starts one that looks at the feed every `pause`.
    pub fn start(pair: &Pair, pause: Duration) -> Self {
        let (primary, shadow) = (Arc::clone(&pair.primary), Arc::clone(&pair.shadow));
        let (done, rounds) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut place = Feed::Oldest;
            loop {
                tokio::time::sleep(pause).await;
                loop {
                    let page = primary.feed(&place, None, 500).await.unwrap();
                    let images = page.changes.into_iter().map(|change| change.document);
                    let writes = images.map(Write::ApplyIfNewer).collect();
                    for outcome in shadow.write(writes, &MIGRATE).await {
                        outcome.unwrap();
                    }
                    place = Feed::After(page.end);
                    if !page.more {
                        break;
                    }
                }
                done.send_modify(|round| *round += 1);
            }
        });
        Self { rounds, _task: task }
    }
}

#[async_trait]
impl Barrier for Follower {
    async fn pass(&self) -> Result<()> {
        let mut rounds = self.rounds.clone();
        // The round under way may have read the feed already.
        let wanted = *rounds.borrow() + 2;
        rounds
            .wait_for(|round| *round >= wanted)
            .await
            .map(|_| ())
            .map_err(|_| Error::new(ErrorKind::Internal, "barrier").with_message("it stopped"))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self._task.abort();
    }
}
