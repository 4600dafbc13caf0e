//! Checks of tokens on Redis, in CPU time of this process. The server is the one that `SYNTRIX_STORAGE_TEST_REDIS` names.
//!
//! The bare side is the driver's shared connection asked for as much in one go: a record, the mark beside it, the time.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use syntrix_storage::{Storage, StorageConfig, TokenId, TokenRevocationStore};

use crate::Failure;
use crate::rounds::{Pair, Row, measure};

const VARIABLE: &str = "SYNTRIX_STORAGE_TEST_REDIS";
const TOKENS: usize = 10_000;
/// Operations of each side in a slice, and slices in a round. Most of what a check costs is the kernel that puts a thread to sleep and
/// wakes it, and that changes from one tenth of a second to the next.
const SLICE: usize = 500;
const SLICES: usize = 40;
const GRACE: Duration = Duration::from_secs(30);
/// Tasks that check at the same time, and the gate.
const LOADS: [(usize, f64); 2] = [(1, 1.06), (64, 1.08)];
/// As long as a record of the backend's.
const RECORD: &str =
    "1 1700000000000 0 253402300799999 253402300799999 0123456789abcdef -1 -1 -1 -1\n";
/// The year 9999, so that no record's time is over.
const LATER: syntrix_storage::Timestamp =
    syntrix_storage::Timestamp::from_milliseconds(253_402_300_799_999);

/// Both sides, on the same server and the same number of keys of the same length.
struct Sides {
    connection: MultiplexedConnection,
    store: Arc<dyn TokenRevocationStore>,
}

pub async fn run(rounds: usize) -> Result<Vec<Row>, Failure> {
    let url = std::env::var(VARIABLE).map_err(|_| {
        format!("{VARIABLE} names no server; `cargo xtask servers up redis` starts one")
    })?;
    let text = format!("storage: {{revocation: {{backend: redis, redis: {{addr: \"{url}\"}}}}}}");
    let config = StorageConfig::from_yaml(&text, "bench.yaml");
    let config = config.with_namespace("bench_check").with_maintenance(false);
    let storage = Storage::from_config(config.clone()).await?;
    let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let sides = Sides { connection, store: storage.revocations()? };
    sides.fill().await?;

    let mut rows = Vec::new();
    for (tasks, gate) in LOADS {
        for (name, prefix) in [("not revoked", "other"), ("revoked", "token")] {
            let pairs = sides.pairs(rounds, tasks, prefix).await?;
            let name = format!("Redis check, {name}, {tasks} tasks, CPU");
            rows.push(Row::ratio(&name, &pairs, SLICE * SLICES, gate));
        }
    }
    sides.empty().await?;
    storage.close().await?;
    config.remove_namespace().await?;
    Ok(rows)
}

/// The form of the backend's keys, under another prefix.
fn key(prefix: &str, number: usize) -> String {
    format!("syntrix:raw:bench_check:{{{:02x}}}:{prefix}-{number:0>26}", number % 256)
}

fn mark(number: usize) -> String {
    format!("syntrix:raw:bench_check:{{{:02x}}}:canary", number % 256)
}

/// Spread over the keys like a shuffle.
fn number(operation: usize) -> usize {
    operation * 7919 % TOKENS
}

impl Sides {
    async fn fill(&self) -> Result<(), Failure> {
        let mut pipeline = redis::pipe();
        (0..256).for_each(|number| {
            pipeline.set(mark(number), "0123456789abcdef0123456789abcdef").ignore();
        });
        (0..TOKENS).for_each(|number| {
            pipeline.set(key("token", number), RECORD).ignore();
        });
        pipeline.exec_async(&mut self.connection.clone()).await?;
        for number in 0..TOKENS {
            let token = TokenId::parse(&format!("token-{number}"))?;
            self.store.revoke_token(&token, LATER, Default::default()).await?;
        }
        Ok(())
    }

    async fn empty(&self) -> Result<(), Failure> {
        let keys = (0..TOKENS).map(|number| key("token", number)).chain((0..256).map(mark));
        let mut pipeline = redis::pipe();
        keys.for_each(|key| {
            pipeline.cmd("UNLINK").arg(key).ignore();
        });
        Ok(pipeline.exec_async(&mut self.connection.clone()).await?)
    }

    async fn pairs(
        &self,
        rounds: usize,
        tasks: usize,
        prefix: &'static str,
    ) -> Result<Vec<Pair>, Failure> {
        let mut pairs = Vec::new();
        for round in 0..=rounds {
            let mut pair = Pair { raw: Duration::ZERO, layer: Duration::ZERO };
            for slice in 0..SLICES {
                // Each side goes first as often as the other: who follows finds warm caches, and a server that is awake.
                for is_raw in [slice % 2 == 0, slice % 2 == 1] {
                    match is_raw {
                        true => pair.raw += self.raw(tasks, prefix).await?,
                        false => pair.layer += self.layer(tasks, prefix).await?,
                    }
                }
            }
            if round > 0 {
                pairs.push(pair);
            }
        }
        Ok(pairs)
    }

    async fn raw(&self, tasks: usize, prefix: &'static str) -> Result<Duration, Failure> {
        let work = |first| raw_loop(self.connection.clone(), prefix, first, tasks);
        Ok(measure(spread(tasks, work)).await?.cpu)
    }

    async fn layer(&self, tasks: usize, prefix: &'static str) -> Result<Duration, Failure> {
        let work = |first| layer_loop(Arc::clone(&self.store), prefix, first, tasks);
        Ok(measure(spread(tasks, work)).await?.cpu)
    }
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

async fn raw_loop(
    mut connection: MultiplexedConnection,
    prefix: &str,
    first: usize,
    tasks: usize,
) -> Result<(), String> {
    for operation in (first..SLICE).step_by(tasks) {
        let number = number(operation);
        let mut pipeline = redis::Pipeline::with_capacity(3);
        pipeline.get(key(prefix, number)).get(mark(number)).cmd("TIME");
        type Answer = (Option<Vec<u8>>, Option<Vec<u8>>, (i64, i64));
        let answer = pipeline.query_async::<Answer>(&mut connection).await;
        black_box(answer.map_err(|error| error.to_string())?);
    }
    Ok(())
}

async fn layer_loop(
    store: Arc<dyn TokenRevocationStore>,
    prefix: &str,
    first: usize,
    tasks: usize,
) -> Result<(), String> {
    for operation in (first..SLICE).step_by(tasks) {
        let token = TokenId::parse(&format!("{prefix}-{}", number(operation)));
        let token = token.map_err(|error| error.to_string())?;
        let answer = store.is_revoked(&token, GRACE, Default::default()).await;
        black_box(answer.map_err(|error| error.to_string())?);
    }
    Ok(())
}
