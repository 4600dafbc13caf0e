//! Documents on MongoDB against the bare driver on the same server, with the same pool and the same guarantees, by the wall
//! clock: what counts is how long an answer takes. The server is the one that `SYNTRIX_STORAGE_TEST_MONGO` names.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, RawDocumentBuf, doc, rawdoc};
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern, WriteConcern};
use mongodb::{Client, Collection};
use serde_json::json;
use syntrix_storage::{
    BulkItem, Direction, DocumentPath, DocumentStore, IndexDefinition, Operator, OrderBy, Query,
    Storage, StorageConfig, WatchItem, WatchOptions, WatchStart,
};

use crate::Failure;
use crate::rounds::{Pair, Row, measure, percentile};

const VARIABLE: &str = "SYNTRIX_STORAGE_TEST_MONGO";
const DATABASE: &str = "bench_mongo";
const DOCUMENTS: usize = 200_000;
const ROOMS: usize = 100;
const GETS: usize = 4_000;
const CREATES: usize = 3_000;
const QUERIES: usize = 300;
const EVENTS: usize = 20_000;
/// Tasks that read at the same time.
const LOADS: [usize; 3] = [1, 16, 64];
const WRITERS: usize = 64;

/// Both sides, on the same server.
struct Sides {
    raw: Collection<RawDocumentBuf>,
    created: Collection<RawDocumentBuf>,
    store: Arc<dyn DocumentStore>,
}

pub async fn run(rounds: usize) -> Result<Vec<Row>, Failure> {
    let uri = std::env::var(VARIABLE).map_err(|_| {
        format!("{VARIABLE} names no server; `cargo xtask servers up mongo` starts one")
    })?;
    let text = format!(
        "storage: {{document: {{backend: mongo, mongo: {{uri: \"{uri}\", db: {DATABASE}}}}}}}"
    );
    let config = StorageConfig::from_yaml(&text, "bench.yaml")
        .with_namespace("layer")
        .with_maintenance(false);
    let storage = Storage::from_config(config.clone()).await?;
    let database = bare(&uri).await?.database(&format!("{DATABASE}_layer"));
    let store = storage.documents()?;
    let sides = Sides {
        raw: database.collection("documents"),
        created: database.collection("bare"),
        store,
    };
    sides.fill(&storage).await?;

    let mut rows = Vec::new();
    for tasks in LOADS {
        let pairs = sides.gets(rounds, tasks).await?;
        rows.push(Row::ratio(&format!("MongoDB get, {tasks} tasks"), &pairs, GETS, 1.08));
    }
    let pairs = sides.queries(rounds).await?;
    rows.push(Row::ratio("MongoDB query of 200,000 documents", &pairs, QUERIES, 1.15));
    let pairs = sides.creates(rounds).await?;
    rows.push(Row::ratio("MongoDB create, 64 tasks", &pairs, CREATES, 0.50));
    rows.extend(sides.latency().await?);
    rows.push(sides.catch_up().await?);
    storage.close().await?;
    config.remove_namespace().await?;
    Ok(rows)
}

/// The guarantees and the pool of the layer.
async fn bare(uri: &str) -> Result<Client, Failure> {
    let mut options = ClientOptions::parse(uri).await?;
    options.max_pool_size = Some(32);
    options.read_concern = Some(ReadConcern::majority());
    options.write_concern =
        Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
    Ok(Client::with_options(options)?)
}

fn path(number: usize) -> Result<DocumentPath, String> {
    DocumentPath::parse(&format!("messages/m{number}")).map_err(|error| error.to_string())
}

fn data(number: usize) -> serde_json::Value {
    json!({"room": format!("room{:03}", number % ROOMS), "ts": number, "text": "x".repeat(150), "n": [1, 2, 3]})
}

/// Spread over the documents like a shuffle.
fn number(operation: usize) -> usize {
    operation * 7919 % DOCUMENTS
}

impl Sides {
    async fn fill(&self, storage: &Storage) -> Result<(), Failure> {
        let fields = vec![
            OrderBy::new("room", Direction::Ascending)?,
            OrderBy::new("ts", Direction::Descending)?,
        ];
        storage.document_admin()?.create_index(&IndexDefinition::new("messages", fields)?).await?;
        for first in (0..DOCUMENTS).step_by(1000) {
            let items = (first..first + 1000)
                .map(|number| Ok(BulkItem::Create { path: path(number)?, data: data(number) }));
            let items = items.collect::<Result<Vec<_>, String>>()?;
            for outcome in self.store.bulk(items, Default::default()).await? {
                outcome?;
            }
        }
        Ok(())
    }

    async fn gets(&self, rounds: usize, tasks: usize) -> Result<Vec<Pair>, Failure> {
        pairs(
            rounds,
            || spread(tasks, |first| raw_gets(self.raw.clone(), first, tasks)),
            || spread(tasks, |first| layer_gets(Arc::clone(&self.store), first, tasks)),
        )
        .await
    }

    async fn queries(&self, rounds: usize) -> Result<Vec<Pair>, Failure> {
        pairs(
            rounds,
            || spread(1, |_| raw_queries(self.raw.clone())),
            || spread(1, |_| layer_queries(Arc::clone(&self.store))),
        )
        .await
    }

    async fn creates(&self, rounds: usize) -> Result<Vec<Pair>, Failure> {
        let round = std::sync::atomic::AtomicUsize::new(0);
        let next = || round.fetch_add(1, std::sync::atomic::Ordering::Relaxed) * CREATES;
        pairs(
            rounds,
            || {
                let from = next();
                spread(WRITERS, move |first| raw_creates(self.created.clone(), from, first))
            },
            || {
                let from = next();
                spread(WRITERS, move |first| layer_creates(Arc::clone(&self.store), from, first))
            },
        )
        .await
    }

    /// From the acknowledgement to the event, at 250 writes a second.
    async fn latency(&self) -> Result<Vec<Row>, Failure> {
        let mut stream = self.store.watch(None, WatchStart::Now, WatchOptions::default()).await?;
        let mut times = Vec::new();
        for number in 0..1000 {
            let path = DocumentPath::parse(&format!("watched/w{number}"))?;
            let start = Instant::now();
            self.store.create(&path, data(number), Default::default()).await?;
            let acknowledged = Instant::now();
            next_event(&mut stream).await?;
            times.push(acknowledged.elapsed().as_secs_f64() * 1000.0);
            tokio::time::sleep(Duration::from_millis(4).saturating_sub(start.elapsed())).await;
        }
        let row = |name, share, gate| {
            let figure = percentile(&times, share);
            Row::figure(name, "–".into(), "–".into(), figure, "ms", gate)
        };
        Ok(vec![
            row("MongoDB commit to event, p50", 0.5, 2.0),
            row("MongoDB commit to event, p99", 0.99, 20.0),
        ])
    }

    /// Microseconds an event when a history is read as a whole; 25,000 a second are 40.
    async fn catch_up(&self) -> Result<Row, Failure> {
        let options = WatchOptions::default();
        let mut stream = self.store.watch(None, WatchStart::Oldest, options).await?;
        let start = Instant::now();
        for _ in 0..EVENTS {
            next_event(&mut stream).await?;
        }
        let each = start.elapsed().as_secs_f64() * 1e6 / EVENTS as f64;
        Ok(Row::figure("MongoDB catch-up, an event", "–".into(), "–".into(), each, "µs", 40.0))
    }
}

async fn next_event(stream: &mut syntrix_storage::WatchStream) -> Result<(), Failure> {
    while let Some(item) = stream.next().await {
        if let WatchItem::Event(event) = item? {
            black_box(event);
            return Ok(());
        }
    }
    Err("the stream ended".into())
}

async fn pairs<R, L>(
    rounds: usize,
    raw: impl Fn() -> R,
    layer: impl Fn() -> L,
) -> Result<Vec<Pair>, Failure>
where
    R: Future<Output = Result<(), Failure>>,
    L: Future<Output = Result<(), Failure>>,
{
    let mut pairs = Vec::new();
    for round in 0..=rounds {
        let raw = measure(raw()).await?.wall;
        let layer = measure(layer()).await?.wall;
        if round > 0 {
            pairs.push(Pair { raw, layer });
        }
    }
    Ok(pairs)
}

/// Runs `work` in so many tasks at the same time.
async fn spread<F>(tasks: usize, work: impl Fn(usize) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let running: Vec<_> = (0..tasks).map(|first| tokio::spawn(work(first))).collect();
    for task in running {
        task.await??;
    }
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn raw_gets(
    collection: Collection<RawDocumentBuf>,
    first: usize,
    tasks: usize,
) -> Result<(), String> {
    for operation in (first..GETS).step_by(tasks) {
        let path = path(number(operation))?;
        let bytes = path.key().as_bytes().to_vec();
        let id = Binary { subtype: BinarySubtype::Generic, bytes };
        let filter = doc! { "_id": id, "collection": "messages" };
        black_box(collection.find_one(filter).await.map_err(text)?);
    }
    Ok(())
}

async fn layer_gets(
    store: Arc<dyn DocumentStore>,
    first: usize,
    tasks: usize,
) -> Result<(), String> {
    for operation in (first..GETS).step_by(tasks) {
        let path = path(number(operation))?;
        black_box(store.get(&path, Default::default()).await.map_err(text)?);
    }
    Ok(())
}

/// By hand one needs the key, and one row more than asked, to offer the next page.
async fn raw_queries(collection: Collection<RawDocumentBuf>) -> Result<(), String> {
    for operation in 0..QUERIES {
        let room = format!("room{:03}", operation % ROOMS);
        let filter = doc! {
            "collection": "messages", "pat": "messages", "deleted": false,
            "s.room": room, "s.ts": { "$gt": (DOCUMENTS / 2) as i64 },
        };
        let find =
            collection.find(filter).sort(doc! { "s.ts": -1, "_id": -1 }).limit(21).batch_size(22);
        let mut cursor = find.await.map_err(text)?;
        while cursor.advance().await.map_err(text)? {
            black_box(cursor.current());
        }
    }
    Ok(())
}

async fn layer_queries(store: Arc<dyn DocumentStore>) -> Result<(), String> {
    for operation in 0..QUERIES {
        let room = format!("room{:03}", operation % ROOMS);
        let query = Query::new("messages")
            .and_then(|query| query.filter("room", Operator::Equal, room))
            .and_then(|query| query.filter("ts", Operator::Greater, (DOCUMENTS / 2) as i64))
            .and_then(|query| query.order_by("ts", Direction::Descending))
            .map_err(text)?;
        black_box(store.query(query.limit(20), Default::default()).await.map_err(text)?);
    }
    Ok(())
}

async fn raw_creates(
    collection: Collection<RawDocumentBuf>,
    from: usize,
    first: usize,
) -> Result<(), String> {
    for operation in (first..CREATES).step_by(WRITERS) {
        let number = (from + operation) as i64;
        let record = rawdoc! {
            "_id": number, "room": format!("room{:03}", number % ROOMS as i64), "ts": number,
            "text": "x".repeat(150), "n": [1_i64, 2_i64, 3_i64],
        };
        collection.insert_one(record).await.map_err(text)?;
    }
    Ok(())
}

async fn layer_creates(
    store: Arc<dyn DocumentStore>,
    from: usize,
    first: usize,
) -> Result<(), String> {
    for operation in (first..CREATES).step_by(WRITERS) {
        let number = from + operation;
        let path = DocumentPath::parse(&format!("created/c{number}")).map_err(text)?;
        store.create(&path, data(number), Default::default()).await.map_err(text)?;
    }
    Ok(())
}
