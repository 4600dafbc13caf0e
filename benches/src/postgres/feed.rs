//! From a commit to its event, and reading a whole history: through `watch`, and by hand from the same log.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use futures_util::StreamExt as _;
use serde_json::json;
use syntrix_storage::{DocumentPath, WatchItem, WatchOptions, WatchStart, WatchStream};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::{Bytes, Server, fill, path, raw_create};
use crate::Failure;
use crate::rounds::{Row, median, percentile};
use crate::store::document_1_kib;

/// What the layer's pages hold too.
const COLUMNS: &str = "id,fullpath,version,created_at,updated_at,deleted,data,event,seq,nonce,committed_at,\
    before_version,before_created_at,before_updated_at,before_data";
const BACKLOG: usize = 200_000;
/// By hand one would read in pages of this many.
const PAGE: i64 = 1_000;
const EVENTS: usize = 2_000;
/// 250 writes a second.
const INTERVAL: Duration = Duration::from_millis(4);
const GATE_P50_MS: f64 = 2.0;
const GATE_P99_MS: f64 = 20.0;
/// 100,000 events a second.
const GATE_US_PER_EVENT: f64 = 10.0;

pub(super) async fn rows(dsn: &str, rounds: usize) -> Result<Vec<Row>, Failure> {
    let mut rows = latency(dsn).await?;
    rows.push(catch_up(dsn, rounds).await?);
    Ok(rows)
}

/// The time from the acknowledgement to the event, while writes come at their own pace.
async fn latency(dsn: &str) -> Result<Vec<Row>, Failure> {
    let server = Server::open(dsn, "bench_latency").await?;
    let by_hand = delays_by_hand(&server).await?;
    let delays_ms = delays(&server).await?;
    server.close().await?;
    let row = |name: &str, share, gate| {
        let of = |values: &[f64]| percentile(values, share);
        let raw = format!("{:.3} ms", of(&by_hand));
        let layer = format!("{:.3} ms", of(&delays_ms));
        let name = format!("PostgreSQL commit to event at 250 writes/s, {name}");
        Row::figure(&name, raw, layer, of(&delays_ms), "ms", gate)
    };
    Ok(vec![row("p50", 0.5, GATE_P50_MS), row("p99", 0.99, GATE_P99_MS)])
}

async fn delays(server: &Server) -> Result<Vec<f64>, Failure> {
    let store = server.storage.documents()?;
    let stream = store.watch(None, WatchStart::Now, WatchOptions::default()).await?;
    let reader = receive(stream);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut acknowledged = Vec::with_capacity(EVENTS);
    for number in 0..EVENTS {
        ticks.tick().await;
        store.create(&path(number)?, document_1_kib(number), Default::default()).await?;
        acknowledged.push(Instant::now());
    }
    let seen = reader.await??;
    // The event may be here before the writer has its answer: then there was no delay.
    let delay = |(number, at): (usize, Instant)| {
        let seen: &Instant = seen.get(&number).ok_or("an event is missing")?;
        Ok(seen.saturating_duration_since(at).as_secs_f64() * 1e3)
    };
    acknowledged.into_iter().enumerate().map(delay).collect()
}

/// When each event came, by its document's number.
fn receive(mut stream: WatchStream) -> JoinHandle<Result<HashMap<usize, Instant>, Failure>> {
    tokio::spawn(async move {
        let mut seen = HashMap::with_capacity(EVENTS);
        while seen.len() < EVENTS {
            let item = stream.next().await.ok_or("the watch ended")??;
            if let WatchItem::Event(event) = item {
                seen.insert(event.document.id().parse()?, Instant::now());
            }
        }
        Ok(seen)
    })
}

/// What one read of the log behind each commit takes, on an open connection that knows of the commit at once.
async fn delays_by_hand(server: &Server) -> Result<Vec<f64>, Failure> {
    let (writer, reader) = (server.pool.get().await?, server.pool.get().await?);
    let (insertion, mut last) = (server.insertion(), 0);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut delays_ms = Vec::with_capacity(EVENTS);
    for number in 0..EVENTS {
        ticks.tick().await;
        let path = DocumentPath::parse(&format!("raw/{number}"))?;
        raw_create(&writer, &insertion, &path, number).await?;
        let acknowledged = Instant::now();
        if read_by_hand(&server.schema, &reader, &mut last).await? != 1 {
            return Err("a commit is not in the log".into());
        }
        delays_ms.push(acknowledged.elapsed().as_secs_f64() * 1e3);
    }
    Ok(delays_ms)
}

/// Reads the next page behind `last` and looks at all that is in it.
async fn read_by_hand(schema: &str, client: &Object, last: &mut i64) -> Result<usize, Failure> {
    let sql =
        format!("SELECT {COLUMNS} FROM {schema}.changes WHERE seq > $1 ORDER BY seq LIMIT {PAGE}");
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&*last]).await?;
    for row in &rows {
        for column in [0, 1, 6] {
            black_box(row.try_get::<_, Bytes>(column)?);
        }
        black_box((
            row.try_get::<_, i64>(2)?,
            row.try_get::<_, i64>(3)?,
            row.try_get::<_, i64>(4)?,
        ));
        black_box((
            row.try_get::<_, bool>(5)?,
            row.try_get::<_, i16>(7)?,
            row.try_get::<_, i64>(9)?,
        ));
        black_box((row.try_get::<_, i64>(10)?, row.try_get::<_, Option<i64>>(11)?));
        *last = row.try_get(8)?;
    }
    Ok(rows.len())
}

/// Microseconds an event when a history of 200,000 is read as a whole.
async fn catch_up(dsn: &str, rounds: usize) -> Result<Row, Failure> {
    let server = Server::open(dsn, "bench_catch_up").await?;
    let store = server.storage.documents()?;
    let document = |number: usize| {
        let room = format!("room{:03}", number % 100);
        Ok((path(number)?, json!({"room": room, "ts": number, "text": "lorem ipsum ".repeat(15)})))
    };
    fill(&*store, (0..BACKLOG).map(document)).await?;
    let (mut raw, mut layer) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let by_hand = history_by_hand(&server).await?;
        let watched = history(&server).await?;
        if round > 0 {
            raw.push(by_hand);
            layer.push(watched);
        }
    }
    server.close().await?;
    let (raw, layer) = (median(raw), median(layer));
    let told = |each: f64| format!("{:.0} k events/s", 1e3 / each);
    let name = "PostgreSQL catch-up of 200,000, wall per event";
    Ok(Row::figure(name, told(raw), told(layer), layer, "µs", GATE_US_PER_EVENT))
}

async fn history(server: &Server) -> Result<f64, Failure> {
    let store = server.storage.documents()?;
    let start = Instant::now();
    let mut stream = store.watch(None, WatchStart::Oldest, WatchOptions::default()).await?;
    let mut received = 0;
    while received < BACKLOG {
        let item = stream.next().await.ok_or("the watch ended")??;
        received += usize::from(matches!(black_box(item), WatchItem::Event(_)));
    }
    Ok(per_event(start))
}

async fn history_by_hand(server: &Server) -> Result<f64, Failure> {
    let client = server.pool.get().await?;
    let start = Instant::now();
    let (mut last, mut received) = (0, 0);
    while received < BACKLOG {
        received += match read_by_hand(&server.schema, &client, &mut last).await? {
            0 => return Err("the log is shorter than the history".into()),
            count => count,
        };
    }
    Ok(per_event(start))
}

fn per_event(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6 / BACKLOG as f64
}
