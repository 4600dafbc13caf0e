//! The watch hub with a crowd of subscribers, on the memory backend.
//!
//! Everything goes through the public streams, one task per subscriber. Where the hub's own speed is measured, the
//! runtime's workers are held while the changes are written, so that no writer runs beside it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use syntrix_storage::{
    BulkItem, CollectionPath, Document, DocumentPath, DocumentStore, Storage, StorageConfig,
    WatchItem, WatchOptions, WatchStart, WatchStream,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::Failure;
use crate::rounds::{Row, median, percentile};

const SUBSCRIBERS: usize = 10_000;
const COLLECTIONS: usize = 1_000;
const STALLED: usize = 1_000;
/// 60,000 changes: a little less than the ring holds, so nobody has to read history.
const CHANGES_PER_COLLECTION: usize = 60;
const GATE_US_PER_EVENT: f64 = 2.0;
const GATE_BYTES: f64 = 2048.0;
const GATE_STALLED: f64 = 1.2;
const GATE_HOT_MS: f64 = 100.0;

pub async fn run(rounds: usize) -> Result<Vec<Row>, Failure> {
    // First, while the process holds nothing else that could be freed or reused.
    let memory = memory_per_subscriber().await?;
    Ok(vec![memory, throughput(rounds).await?, stalled(rounds).await?, one_hot_collection().await?])
}

struct Store {
    storage: Storage,
    documents: Arc<dyn DocumentStore>,
}

impl Store {
    async fn open() -> Result<Self, Failure> {
        let storage = Storage::from_config(StorageConfig::memory().with_maintenance(false)).await?;
        Ok(Self { documents: storage.documents()?, storage })
    }

    async fn subscribe(&self, number: usize, collections: usize) -> Result<WatchStream, Failure> {
        let collection = CollectionPath::parse(&collection_name(number % collections))?;
        let options = WatchOptions::default();
        Ok(self.documents.watch(Some(&collection), WatchStart::Now, options).await?)
    }

    /// Creates the document `id` in every collection.
    async fn create_in_each_collection(&self, id: usize) -> Result<(), Failure> {
        let items: Result<_, Failure> = (0..COLLECTIONS)
            .map(|number| Ok(BulkItem::Create { path: path(number, id)?, data: message() }))
            .collect();
        for result in self.documents.bulk(items?, Default::default()).await? {
            result?;
        }
        Ok(())
    }
}

/// Keeps the runtime's workers busy with waiting, so that nothing but the caller's own future runs.
struct Hold(Arc<Barrier>);

impl Hold {
    fn begin() -> Self {
        let workers = tokio::runtime::Handle::current().metrics().num_workers();
        let barrier = Arc::new(Barrier::new(workers + 1));
        for _ in 0..workers {
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                barrier.wait();
                barrier.wait();
            });
        }
        barrier.wait();
        Self(barrier)
    }

    fn end(self) {
        self.0.wait();
    }
}

fn collection_name(number: usize) -> String {
    format!("rooms/{number}/messages")
}

fn path(collection: usize, id: usize) -> Result<DocumentPath, Failure> {
    Ok(DocumentPath::parse(&format!("{}/{id}", collection_name(collection)))?)
}

fn message() -> serde_json::Value {
    json!({"text": "a short message, as chats have them"})
}

/// What 10,000 more idle subscribers add to the resident memory of a process that has 10,000.
async fn memory_per_subscriber() -> Result<Row, Failure> {
    let store = Store::open().await?;
    let mut streams = Vec::with_capacity(2 * SUBSCRIBERS);
    let mut resident = Vec::new();
    for _ in 0..2 {
        for number in 0..SUBSCRIBERS {
            streams.push(store.subscribe(number, COLLECTIONS).await?);
        }
        receive_one_each(&store, &mut streams).await?;
        resident.push(resident_bytes()?);
    }
    let bytes = resident[1].saturating_sub(resident[0]) as f64 / SUBSCRIBERS as f64;
    store.storage.close().await?;
    let layer = format!("{} MiB for {}", resident[1] >> 20, 2 * SUBSCRIBERS);
    Ok(Row::figure("hub: idle subscriber, memory", "–".into(), layer, bytes, "B", GATE_BYTES))
}

/// Every stream gets one event and is then polled until it waits, as an idle one does.
async fn receive_one_each(store: &Store, streams: &mut [WatchStream]) -> Result<(), Failure> {
    // Opens whatever a stream opens at its first poll, before the events are there.
    streams.iter_mut().for_each(|stream| drop(stream.next().now_or_never()));
    store.create_in_each_collection(streams.len()).await?;
    for stream in streams.iter_mut() {
        while let WatchItem::Bookmark { .. } = stream.next().await.ok_or("ended")?? {}
        if let Some(item) = stream.next().now_or_never() {
            item.ok_or("ended")??;
        }
    }
    Ok(())
}

fn resident_bytes() -> Result<usize, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    let kibibytes: usize = line.split_whitespace().nth(1).ok_or("no figure")?.parse()?;
    Ok(kibibytes * 1024)
}

/// 60,000 changes are there at once; the clock stops when every subscriber has received all of its own.
async fn throughput(rounds: usize) -> Result<Row, Failure> {
    let store = Store::open().await?;
    let (done, all_done) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let mut tasks = Vec::with_capacity(SUBSCRIBERS);
    for number in 0..SUBSCRIBERS {
        let mut stream = store.subscribe(number, COLLECTIONS).await?;
        let (done, all_done) = (Arc::clone(&done), Arc::clone(&all_done));
        tasks.push(tokio::spawn(async move {
            let mut received = 0;
            while let Some(Ok(item)) = stream.next().await {
                let Some(event) = item.into_event() else { continue };
                assert_eq!(id_of(&event.document), received, "events come in order");
                received += 1;
                if received % CHANGES_PER_COLLECTION == 0
                    && done.fetch_add(1, Ordering::SeqCst) + 1 == SUBSCRIBERS
                {
                    all_done.notify_one();
                }
            }
        }));
    }
    let changes = COLLECTIONS * CHANGES_PER_COLLECTION;
    let mut us_per_event = Vec::new();
    for round in 0..=rounds {
        done.store(0, Ordering::SeqCst);
        let hold = Hold::begin();
        let first = round * CHANGES_PER_COLLECTION;
        for id in first..first + CHANGES_PER_COLLECTION {
            store.create_in_each_collection(id).await?;
        }
        let started = Instant::now();
        hold.end();
        all_done.notified().await;
        if round > 0 {
            us_per_event.push(started.elapsed().as_secs_f64() * 1e6 / changes as f64);
        }
    }
    store.storage.close().await?;
    for task in tasks {
        task.await?;
    }
    let per_event = median(us_per_event);
    let fan_out = SUBSCRIBERS / COLLECTIONS;
    let layer = format!(
        "{:.0} k events/s, {:.1} M received/s",
        1e3 / per_event,
        fan_out as f64 / per_event
    );
    let name = "hub: 10,000 subscribers on 1,000 collections, wall per event";
    Ok(Row::figure(name, "–".into(), layer, per_event, "µs", GATE_US_PER_EVENT))
}

fn id_of(document: &Document) -> usize {
    document.id().parse().unwrap_or(usize::MAX)
}

/// When each document was about to be committed, by its id.
struct Sent {
    epoch: Instant,
    at_us: Vec<AtomicU64>,
}

impl Sent {
    fn new(count: usize) -> Arc<Self> {
        let at_us = (0..count).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { epoch: Instant::now(), at_us })
    }

    fn now_us(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }
}

/// Receives until the engine closes, in order; returns the delays in milliseconds if they are asked for.
fn consume(
    mut stream: WatchStream,
    sent: &Arc<Sent>,
    received: &Arc<AtomicUsize>,
    keep: bool,
) -> JoinHandle<Vec<f64>> {
    let (sent, received) = (Arc::clone(sent), Arc::clone(received));
    tokio::spawn(async move {
        let mut delays_ms = Vec::new();
        while let Some(Ok(item)) = stream.next().await {
            let Some(event) = item.into_event() else { continue };
            received.fetch_add(1, Ordering::Relaxed);
            if keep {
                let at = sent.at_us[id_of(&event.document)].load(Ordering::Relaxed);
                delays_ms.push(sent.now_us().saturating_sub(at) as f64 / 1e3);
            }
        }
        delays_ms
    })
}

/// Commits one change each `interval`, to the collections in turn.
async fn write_paced(
    store: &Store,
    sent: &Sent,
    collections: usize,
    interval: Duration,
) -> Result<(), Failure> {
    let mut ticks = tokio::time::interval(interval);
    for id in 0..sent.at_us.len() {
        ticks.tick().await;
        let path = path(id % collections, id)?;
        sent.at_us[id].store(sent.now_us(), Ordering::Relaxed);
        store.documents.create(&path, message(), Default::default()).await?;
    }
    Ok(())
}

struct Crowd {
    live: usize,
    stalled: usize,
    collections: usize,
    /// One of how many subscribers keeps its delays.
    sample: usize,
}

/// Runs one crowd under paced writes and returns the delays of its live subscribers in milliseconds.
async fn delays(crowd: &Crowd, changes: usize, interval: Duration) -> Result<Vec<f64>, Failure> {
    let store = Store::open().await?;
    let (sent, received) = (Sent::new(changes), Arc::new(AtomicUsize::new(0)));
    let mut stalled = Vec::new();
    for number in 0..crowd.stalled {
        let mut stream = store.subscribe(number, crowd.collections).await?;
        // It begins to wait for news, and nobody ever asks again.
        let _ = stream.next().now_or_never();
        stalled.push(stream);
    }
    let mut tasks = Vec::with_capacity(crowd.live);
    for number in 0..crowd.live {
        let stream = store.subscribe(number, crowd.collections).await?;
        tasks.push(consume(stream, &sent, &received, number % crowd.sample == 0));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    write_paced(&store, &sent, crowd.collections, interval).await?;
    let expected = changes * crowd.live / crowd.collections;
    let limit = Instant::now() + Duration::from_secs(30);
    while received.load(Ordering::Relaxed) < expected {
        if Instant::now() > limit {
            return Err("subscribers did not receive everything within 30 s".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.storage.close().await?;
    let mut delays_ms = Vec::new();
    for task in tasks {
        delays_ms.extend(task.await?);
    }
    Ok(delays_ms)
}

/// The live subscribers' p99 with stalled ones beside them, over their p99 without.
async fn stalled(rounds: usize) -> Result<Row, Failure> {
    let (changes, interval) = (2_000, Duration::from_micros(500));
    let crowd = |stalled| Crowd { live: 9_000, stalled, collections: COLLECTIONS, sample: 1 };
    let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let alone = percentile(&delays(&crowd(0), changes, interval).await?, 0.99);
        let beside = percentile(&delays(&crowd(STALLED), changes, interval).await?, 0.99);
        if round > 0 {
            without.push(alone);
            with.push(beside);
            ratios.push(beside / alone);
        }
    }
    Ok(Row::figure(
        "hub: 1,000 of 10,000 subscribers stalled, p99 of the others",
        format!("{:.3} ms", median(without)),
        format!("{:.3} ms", median(with)),
        median(ratios),
        "×",
        GATE_STALLED,
    ))
}

async fn one_hot_collection() -> Result<Row, Failure> {
    let crowd = Crowd { live: SUBSCRIBERS, stalled: 0, collections: 1, sample: 10 };
    let delays_ms = delays(&crowd, 2_500, Duration::from_millis(2)).await?;
    let p99 = percentile(&delays_ms, 0.99);
    let layer = format!("p50 {:.1} ms", percentile(&delays_ms, 0.5));
    let name = "hub: 10,000 subscribers on one collection, 500 events/s, p99";
    Ok(Row::figure(name, "–".into(), layer, p99, "ms", GATE_HOT_MS))
}
