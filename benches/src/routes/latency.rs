//! What a caller waits for: with a shadow, with a frozen one, and with comparisons.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::{DocumentStore, Storage};
use syntrix_storage_fault_proxy::{Fault, Proxy};
use tempfile::TempDir;

use super::{config, path};
use crate::Failure;
use crate::rounds::{Pair, Row, measure, median, percentile};
use crate::store::document_1_kib;

const DOCUMENTS: usize = 100;
/// Writes to each store in a round.
const WRITES: usize = 100;
const READS: usize = 20_000;
/// After each write, so that one task is a rate that both cores carry: the shadow's work, of which the replicator's part begins
/// ten milliseconds later, is over when the same store is written again.
const PAUSE: Duration = Duration::from_millis(10);
const ORDERS: [[usize; 4]; 4] = [[0, 1, 2, 3], [1, 3, 0, 2], [2, 0, 3, 1], [3, 2, 1, 0]];
const PATIENCE: Duration = Duration::from_secs(60);

/// One open storage with documents in it.
struct Side {
    storage: Storage,
    documents: Arc<dyn DocumentStore>,
    config: syntrix_storage::StorageConfig,
    has_server: bool,
    _folder: TempDir,
}

impl Side {
    async fn open(blocks: &str, routing: &str, namespace: &str) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let config = config(blocks, routing, namespace).with_data_dir(folder.path());
        let has_server = blocks.contains("pg");
        config.remove_namespace().await?;
        let storage = Storage::from_config(config.clone()).await?;
        let documents = storage.documents()?;
        for number in 0..DOCUMENTS {
            let data = document_1_kib(number);
            documents.create(&path(number)?, data, Default::default()).await?;
        }
        let side = Self { storage, documents, config, has_server, _folder: folder };
        side.drain().await?;
        Ok(side)
    }

    /// Waits for the shadow, if there is one.
    async fn drain(&self) -> Result<(), Failure> {
        match self.storage.routing(StoreKind::Documents) {
            Ok(route) => Ok(route.drain(PATIENCE).await?),
            Err(_) => Ok(()),
        }
    }

    async fn write(&self, number: usize) -> Result<f64, Failure> {
        let (at, data) = (path(number % DOCUMENTS)?, document_1_kib(number));
        let started = Instant::now();
        self.documents.update(&at, data, Default::default()).await?;
        let took = started.elapsed();
        tokio::time::sleep(PAUSE).await;
        Ok(took.as_secs_f64() * 1e6)
    }

    async fn close(self) -> Result<(), Failure> {
        self.storage.close().await?;
        if self.has_server {
            self.config.remove_namespace().await?;
        }
        Ok(())
    }
}

fn sqlite() -> &'static str {
    "    main: {kind: sqlite}\n"
}

fn sqlite_to_postgres(dsn: &str) -> String {
    format!(
        "{}    other: {{kind: pg, dsn: {}, acquireTimeout: 2s, connectTimeout: 2s}}\n",
        sqlite(),
        json!(dsn)
    )
}

/// Writes to both databases one after the other, alone, and through routes; each is written in turn, so all see the same machine.
pub async fn writes(dsn: &str, rounds: usize) -> Result<Vec<Row>, Failure> {
    let both = sqlite_to_postgres(dsn);
    let postgres = format!("    main: {{kind: pg, dsn: {}}}\n", json!(dsn));
    let waiting = "strategy: dual-write, shadow: other, mirror: wait";
    let sides = [
        Side::open(sqlite(), "strategy: single", "bench_one").await?,
        Side::open(&postgres, "strategy: single", "bench_two").await?,
        Side::open(&both, waiting, "bench_wait").await?,
        Side::open(&both, "strategy: dual-write, shadow: other", "bench_back").await?,
    ];
    let mut medians: Vec<[f64; 4]> = Vec::new();
    for round in 0..=rounds {
        let mut taken = [const { Vec::new() }; 4];
        for number in 0..WRITES {
            // Each behind each other one as often: what a write leaves behind must not be another side's.
            for place in ORDERS[number % ORDERS.len()] {
                taken[place].push(sides[place].write(number).await?);
            }
        }
        if round > 0 {
            medians.push(taken.map(median));
        }
    }
    for side in sides {
        side.close().await?;
    }
    let row = |name, alone: fn(&[f64; 4]) -> f64, routed: usize, gate| {
        let of = |figure: &dyn Fn(&[f64; 4]) -> f64| median(medians.iter().map(figure).collect());
        let figure = of(&|each| each[routed] / alone(each));
        let (alone, routed) = (of(&|each| alone(each)), of(&|each| each[routed]));
        Row::figure(name, format!("{alone:.0} µs"), format!("{routed:.0} µs"), figure, "×", gate)
    };
    Ok(vec![
        row(
            "dual-write, mirror: wait, p50 against the sum of both alone",
            |each| each[0] + each[1],
            2,
            1.10,
        ),
        row("dual-write in the background, p50 against the primary alone", |each| each[0], 3, 1.05),
    ])
}

/// The slowest of a hundred writes while the shadow is frozen, against the same without a shadow.
pub async fn frozen(dsn: &str, rounds: usize) -> Result<Row, Failure> {
    let (head, address, tail) = split(dsn)?;
    let proxy = Proxy::start(address.parse()?).await?;
    let through = format!("{head}{}{tail}", proxy.address());
    let alone = Side::open(sqlite(), "strategy: single", "bench_alone").await?;
    let both = sqlite_to_postgres(&through);
    let routed = Side::open(&both, "strategy: dual-write, shadow: other", "bench_frozen").await?;
    proxy.set(Fault::BlackHole);
    let mut taken = [const { Vec::new() }; 2];
    for number in 0..WRITES * (rounds + 1) {
        taken[0].push(alone.write(number).await?);
        taken[1].push(routed.write(number).await?);
    }
    proxy.set(Fault::None);
    alone.close().await?;
    routed.close().await?;
    let [alone, routed] = taken.map(|taken| percentile(&taken, 0.99));
    let (raw, layer) = (format!("{alone:.0} µs"), format!("{routed:.0} µs"));
    // What two runs of the same differ by on a machine with neighbours.
    Ok(Row::figure(
        "write with a frozen shadow, p99 against single",
        raw,
        layer,
        routed / alone,
        "×",
        1.25,
    ))
}

/// A dsn without and with its address between.
fn split(dsn: &str) -> Result<(&str, &str, &str), Failure> {
    let begin = dsn.rfind('@').ok_or("the dsn names no user")? + 1;
    let end = begin + dsn[begin..].find('/').ok_or("the dsn names no database")?;
    Ok((&dsn[..begin], &dsn[begin..end], &dsn[end..]))
}

/// Reads by one task, with and without a comparison in the background.
pub async fn compared_reads(rounds: usize) -> Result<Row, Failure> {
    let blocks = "    main: {kind: sqlite}\n    other: {kind: sqlite, path: other.db}\n";
    let alone = Side::open(sqlite(), "strategy: single", "bench_reads").await?;
    let compared = "strategy: dual-write, shadow: other, reads: both";
    let compared = Side::open(blocks, compared, "bench_compared").await?;
    let paths = (0..DOCUMENTS).map(path).collect::<Result<Vec<_>, _>>()?;
    let read = async |side: &Side| {
        measure(async {
            for number in 0..READS {
                black_box(
                    side.documents.get(&paths[number % DOCUMENTS], Default::default()).await?,
                );
            }
            Ok(())
        })
        .await
    };
    let mut pairs = Vec::new();
    for round in 0..=rounds {
        let (raw, layer) = match round % 2 {
            0 => {
                let raw = read(&alone).await?.wall;
                (raw, read(&compared).await?.wall)
            }
            _ => {
                let layer = read(&compared).await?.wall;
                (read(&alone).await?.wall, layer)
            }
        };
        if round > 0 {
            pairs.push(Pair { raw, layer });
        }
    }
    alone.close().await?;
    compared.close().await?;
    Ok(Row::ratio("get with `reads: both` against single, wall", &pairs, READS, 1.03))
}
