//! How fast a shadow is brought up to date: a backlog by the feed, everything by the copy.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde_json::json;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::{BulkItem, Storage, StorageConfig};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use super::{config, path};
use crate::Failure;
use crate::rounds::Row;
use crate::store::document_1_kib;

const BACKLOG: usize = 100_000;
/// Documents in one statement of the server's own inserts, and connections side by side: what the replicator uses.
const ROWS: usize = 250;
const CONNECTIONS: usize = 4;
/// What is asked of any server that can do twice as much.
const RATE_WANTED: f64 = 20_000.0;
const PATIENCE: Duration = Duration::from_secs(3600);
const LOOK: Duration = Duration::from_millis(50);

/// Inserts as a client does that writes what the layer writes: the document and its line in the change log.
const INSERT: &str = "WITH new AS (SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[]) AS n (id, fullpath, data)), \
    stored AS (INSERT INTO {schema}.documents \
        SELECT id, fullpath, 'bench', '', 1, 1, 1, FALSE, data::jsonb FROM new RETURNING *) \
    INSERT INTO {schema}.changes (event, id, fullpath, created_at, updated_at, version, deleted, data, committed_at) \
        SELECT 1, id, fullpath, created_at, updated_at, version, deleted, data, 1 FROM stored";

/// A primary with documents, and a route from it.
struct World {
    folder: TempDir,
    alone: StorageConfig,
    route: StorageConfig,
}

impl World {
    async fn new(dsn: &str, namespace: &str) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let main = "    main: {kind: sqlite}\n";
        let both = format!("{main}    other: {{kind: pg, dsn: {}}}\n", json!(dsn));
        let here = |config: StorageConfig| config.with_data_dir(folder.path());
        let alone = here(config(main, "strategy: single", namespace));
        let route = here(config(&both, "strategy: dual-write, shadow: other", namespace));
        route.remove_namespace().await?;
        Ok(Self { alone, route, folder })
    }

    /// Writes documents to the primary while nobody replicates.
    async fn fill(&self, documents: usize) -> Result<(), Failure> {
        let storage = Storage::from_config(self.alone.clone()).await?;
        let store = storage.documents()?;
        for first in (0..documents).step_by(1000) {
            let items = (first..documents.min(first + 1000)).map(|number| {
                Ok(BulkItem::Create { path: path(number)?, data: document_1_kib(number) })
            });
            let items = items.collect::<Result<Vec<_>, syntrix_storage::Error>>()?;
            for outcome in store.bulk(items, Default::default()).await? {
                outcome?;
            }
        }
        Ok(storage.close().await?)
    }

    /// Opens the route and waits until the shadow has everything: seconds, and by how much the process grew meanwhile, in MiB.
    async fn bring_up(&self) -> Result<(f64, f64), Failure> {
        let started = Instant::now();
        let storage = Storage::from_config(self.route.clone()).await?;
        let route = storage.routing(StoreKind::Documents)?;
        let (before, mut most) = (resident()?, 0.0);
        let mut drain = std::pin::pin!(route.drain(PATIENCE));
        loop {
            tokio::select! {
                drained = &mut drain => break drained?,
                () = tokio::time::sleep(LOOK) => most = resident()?.max(most),
            }
        }
        let took = started.elapsed().as_secs_f64();
        storage.close().await?;
        Ok((took, (most - before).max(0.0)))
    }

    async fn remove(self) -> Result<(), Failure> {
        self.route.remove_namespace().await?;
        Ok(self.folder.close()?)
    }
}

/// Memory of this process in MiB, without the pages of files that are mapped: those the kernel takes back when it likes.
fn resident() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).ok_or("no RssAnon")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("no RssAnon")?.parse()?;
    Ok(kib / 1024.0)
}

/// What was written while nobody replicated.
pub async fn backlog(dsn: &str) -> Result<Row, Failure> {
    let own = insert_rate(dsn, BACKLOG).await?;
    let world = World::new(dsn, "bench_backlog").await?;
    // An empty shadow is filled at once, so what is written now comes by the feed.
    world.bring_up().await?;
    world.fill(BACKLOG).await?;
    let (took, _) = world.bring_up().await?;
    world.remove().await?;
    let (rate, wanted) = (BACKLOG as f64 / took, RATE_WANTED.min(own / 2.0));
    let (raw, layer) = (format!("{own:.0}/s"), format!("{rate:.0}/s"));
    let name =
        "backlog of 100,000 by the feed: 20,000/s or half of the server's inserts, by what it is";
    Ok(Row::figure(name, raw, layer, wanted / rate, "×", 1.0))
}

/// Everything, to a shadow that has nothing.
pub async fn copy(dsn: &str, documents: usize) -> Result<[Row; 2], Failure> {
    let own = insert_rate(dsn, documents.min(BACKLOG)).await?;
    let world = World::new(dsn, "bench_copy").await?;
    world.fill(documents).await?;
    let (took, grown) = world.bring_up().await?;
    world.remove().await?;
    let rate = documents as f64 / took;
    let (raw, layer) = (format!("{own:.0}/s"), format!("{rate:.0}/s"));
    let name = format!("copy of {documents} documents: the server's own inserts by it");
    let memory = (String::new(), format!("{grown:.0} MiB"));
    Ok([
        Row::figure(&name, raw, layer, own / rate, "×", 2.0),
        Row::figure(
            "growth of the process during the copy",
            memory.0,
            memory.1,
            grown,
            "MiB",
            96.0,
        ),
    ])
}

/// Documents per second that the server takes in statements of many rows, into tables as the layer's.
async fn insert_rate(dsn: &str, documents: usize) -> Result<f64, Failure> {
    let postgres = format!("    main: {{kind: pg, dsn: {}}}\n", json!(dsn));
    let config = config(&postgres, "strategy: single", "bench_raw");
    config.remove_namespace().await?;
    Storage::from_config(config.clone()).await?.close().await?;
    let share = documents / CONNECTIONS;
    let started = Instant::now();
    let parts = (0..CONNECTIONS).map(|part| insert(dsn, part * share, share));
    try_join_all(parts).await?;
    let rate = documents as f64 / started.elapsed().as_secs_f64();
    config.remove_namespace().await?;
    Ok(rate)
}

async fn insert(dsn: &str, first: usize, count: usize) -> Result<(), Failure> {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await?;
    let driving = tokio::spawn(connection);
    let statement =
        client.prepare(&INSERT.replace("{schema}", "syntrix_storage_bench_raw")).await?;
    for from in (first..first + count).step_by(ROWS) {
        let numbers = from..(from + ROWS).min(first + count);
        let paths = numbers.clone().map(path).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<&[u8]> = paths.iter().map(|path| &path.key().as_bytes()[..]).collect();
        let texts: Vec<&str> = paths.iter().map(|path| path.as_str()).collect();
        let data: Vec<String> = numbers.map(|number| document_1_kib(number).to_string()).collect();
        client.execute(&statement, &[&keys, &texts, &data]).await?;
    }
    drop(client);
    Ok(driving.await??)
}
