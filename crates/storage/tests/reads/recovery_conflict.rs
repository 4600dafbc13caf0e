//! A standby that ends reads: replay does not wait for them, and the primary vacuums away, or locks, what they look at.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syntrix_storage::{Consistency, Document, DocumentPath, Query, QueryOptions, ReadOptions};
use tokio::task::JoinHandle;

use crate::native::{PATIENCE, Route, expect_no_stale_pairs};
use crate::pair::path;
use crate::standby::{Cluster, ask_all, open};

/// Replay ends whatever is in its way at once, and the primary is not told what is being read.
const SETTINGS: &[&str] = &["max_standby_streaming_delay = 0", "hot_standby_feedback = off"];
/// So many, and so large, that a list takes a while: most of the time one is under way.
const DOCUMENTS: usize = 300;
const TEXT_BYTES: usize = 20_000;
/// Conflicts of each kind that are waited for.
const CONFLICTS_WANTED: u64 = 5;
/// Reads at once.
const READERS: usize = 4;

/// A kind of conflict, and what on the primary leads to it: a row that is taken away, a lock.
const TORMENTS: [(&str, &str); 2] = [
    ("snapshot", "VACUUM syntrix_storage.documents"),
    ("lock", "BEGIN; LOCK TABLE syntrix_storage.documents IN ACCESS EXCLUSIVE MODE; COMMIT"),
];
const PAUSE: &str = "SELECT pg_sleep(0.03)";

/// Reads that the standby has ended.
fn conflicts(cluster: &Cluster, kind: &str) -> u64 {
    let of = "FROM pg_stat_database_conflicts WHERE datname = 'postgres'";
    let counted = ask_all(&cluster.standbys[0], &[&format!("SELECT confl_{kind} {of}")]);
    counted.parse().unwrap()
}

/// What is read, and what is known of it: the first document is rewritten all the time. It is small, as what takes its old
/// versions away must be faster than a read.
struct World {
    route: Arc<Route>,
    begun: AtomicI64,
    acknowledged: AtomicI64,
    stop: AtomicBool,
}

impl World {
    async fn fill(route: Arc<Route>) -> Arc<Self> {
        futures_util::future::join_all((0..DOCUMENTS).map(|number| {
            let route = Arc::clone(&route);
            async move {
                let text_bytes = if number == 0 { 0 } else { TEXT_BYTES };
                let body = body(0, text_bytes);
                route.documents.create(&at(number), body, Default::default()).await.unwrap();
            }
        }))
        .await;
        let (begun, acknowledged, stop) = Default::default();
        Arc::new(Self { route, begun, acknowledged, stop })
    }

    async fn rewrite(&self) {
        while !self.stop.load(SeqCst) {
            let n = self.begun.fetch_add(1, SeqCst) + 1;
            let written = self.route.documents.update(&at(0), body(n, 0), Default::default()).await;
            written.unwrap();
            self.acknowledged.store(n, SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Reads until told to stop; none fails, and each sees what it must.
    async fn read(&self, reader: usize) -> usize {
        let session = reader.is_multiple_of(2);
        let consistency = if session { Consistency::Session } else { Consistency::Any };
        let mut reads = 0;
        while !self.stop.load(SeqCst) {
            let least = if session { self.acknowledged.load(SeqCst) } else { 0 };
            let found = match reads % 3 {
                0 => self.get_many(consistency).await,
                _ => self.list(consistency).await,
            };
            assert_eq!(found.len(), DOCUMENTS);
            let first = found.iter().find(|found| found.path() == &at(0)).unwrap();
            let n = first.value().unwrap()["n"].as_i64().unwrap();
            assert!(
                least <= n && n <= self.begun.load(SeqCst),
                "{n} where {least} was acknowledged"
            );
            reads += 1;
        }
        reads
    }

    async fn list(&self, consistency: Consistency) -> Vec<Document> {
        let options = QueryOptions::default().with_consistency(consistency);
        let query = Query::new("large").unwrap().limit(1000);
        self.route.documents.query(query, options).await.unwrap().documents
    }

    async fn get_many(&self, consistency: Consistency) -> Vec<Document> {
        let options = ReadOptions::default().with_consistency(consistency);
        let paths: Vec<_> = (0..DOCUMENTS).map(at).collect();
        let found = self.route.documents.get_many(&paths, options).await.unwrap();
        found.into_iter().flatten().collect()
    }

    /// Takes away on the primary what reads of the standby need, until the standby has ended enough of them.
    fn torment(self: &Arc<Self>, cluster: Arc<Cluster>) -> JoinHandle<()> {
        let world = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            for (kind, statement) in TORMENTS {
                let end = Instant::now() + PATIENCE;
                while conflicts(&cluster, kind) < CONFLICTS_WANTED && Instant::now() < end {
                    ask_all(&cluster.primary, &[statement, PAUSE].repeat(10));
                }
            }
            world.stop.store(true, SeqCst);
        })
    }
}

fn at(number: usize) -> DocumentPath {
    path(&format!("large/d{number}"))
}

fn body(n: i64, text_bytes: usize) -> Value {
    let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(text_bytes).collect();
    json!({"n": n, "text": text})
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_replay_ends_on_a_standby_are_answered_by_the_primary() {
    let cluster = Arc::new(Cluster::start_with(1, SETTINGS).await);
    let route = Arc::new(open(&cluster.primary, &cluster.standbys[0].dsn()).await);
    let world = World::fill(Arc::clone(&route)).await;
    route.drain().await;
    route.until_replica_answers("large/d1").await;
    let writer = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.rewrite().await }
    });
    let readers = (0..READERS).map(|reader| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.read(reader).await })
    });
    let readers: Vec<_> = readers.collect();
    let tormenting = world.torment(Arc::clone(&cluster));
    expect_no_stale_pairs(&route, 4, 80).await;
    tormenting.await.unwrap();
    writer.await.unwrap();
    let mut reads = 0;
    for reader in readers {
        reads += reader.await.unwrap();
    }
    let answers = route.answers();
    let seen = TORMENTS.map(|(kind, _)| conflicts(&cluster, kind));
    eprintln!("{reads} reads, conflicts {seen:?}, answers {answers:?}");
    // Else nothing was in the way of anything.
    assert!(seen.iter().all(|count| *count > 0), "snapshot and lock conflicts: {seen:?}");
    assert!(answers["error"] > 0 && answers["shadow"] > 0, "{answers:?}");
    route.until_replica_answers("large/d1").await;
    route.storage.close().await.unwrap();
}
