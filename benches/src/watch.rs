//! From the acknowledged commit to the watcher, in one process.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use syntrix_storage::{DocumentPath, WatchItem, WatchOptions, WatchStart};

use crate::Failure;
use crate::rounds::{Row, median, percentile};
use crate::store::{Fixture, document_1_kib};

const EVENTS_PER_ROUND: usize = 200;
const GATE_MS: f64 = 0.2;

pub async fn run(rounds: usize) -> Result<Vec<Row>, Failure> {
    let fixture = Fixture::open().await?;
    let store = fixture.storage.documents()?;
    let mut stream = store.watch(None, WatchStart::Now, WatchOptions::default()).await?;
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let reader = tokio::spawn(async move {
        while let Some(Ok(item)) = stream.next().await {
            if let WatchItem::Event(event) = item {
                let _ = sender.send((event.document.id().to_owned(), Instant::now()));
            }
        }
    });
    let mut delays_ms = Vec::new();
    for number in 0..rounds * EVENTS_PER_ROUND {
        let path = DocumentPath::parse(&format!("bench/{number}"))?;
        store.create(&path, document_1_kib(number), Default::default()).await?;
        let committed = Instant::now();
        let (id, seen) = received.recv().await.ok_or("the watch ended")?;
        assert_eq!(id, path.id(), "events come in order");
        // The event may be here before the writer has its answer: then there was no delay.
        delays_ms.push(seen.saturating_duration_since(committed).as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fixture.storage.close().await?;
    reader.await?;
    let p99 = percentile(&delays_ms, 0.99);
    let layer = format!("p99 {p99:.3} ms");
    let p50 = median(delays_ms);
    Ok(vec![Row::figure("commit to watcher, p50, wall", "–".into(), layer, p50, "ms", GATE_MS)])
}
