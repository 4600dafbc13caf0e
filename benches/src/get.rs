//! Point reads of 1 KiB documents, in CPU time.
//!
//! As many tasks read on the bare side as on the layer's: connections of one file contend for locks in the kernel, which is the
//! price of reading on two cores and not of the layer. Each worker thread has a bare connection of its own, which is the
//! cheapest there is.

use std::cell::RefCell;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use rusqlite::Connection;
use syntrix_storage::{DocumentPath, DocumentStore};

use crate::Failure;
use crate::raw;
use crate::rounds::{Pair, Row, measure};
use crate::store::{Fixture, document_1_kib};

const DOCUMENTS: usize = 20_000;
const OPERATIONS: usize = 100_000;
const CALL_OVERHEAD_MAX_US: f64 = 0.4;

pub async fn run(rounds: usize) -> Result<Vec<Row>, Failure> {
    let fixture = Fixture::open().await?;
    let paths: Vec<_> = (0..DOCUMENTS)
        .map(|number| DocumentPath::parse(&format!("bench/{number}")))
        .collect::<Result<_, _>>()?;
    let documents = paths.iter().cloned().enumerate();
    fixture.fill(documents.map(|(number, path)| (path, document_1_kib(number)))).await?;
    let (paths, store) = (Arc::new(paths), fixture.storage.documents()?);
    let mut rows = Vec::new();
    for (tasks, gate) in [(1, 1.10), (64, 1.15)] {
        let pairs = pairs(rounds, tasks, fixture.folder.path(), &paths, &store).await?;
        rows.push(Row::ratio(
            &format!("get 1 KiB, {tasks} task(s), CPU"),
            &pairs,
            OPERATIONS,
            gate,
        ));
    }
    rows.push(overhead(rounds, fixture.folder.path(), &paths, &store).await?);
    fixture.storage.close().await?;
    Ok(rows)
}

/// What the layer's own work costs: against bare reads that are spared the kernel's locks as the layer's are.
async fn overhead(
    rounds: usize,
    folder: &Path,
    paths: &Arc<Vec<DocumentPath>>,
    store: &Arc<dyn DocumentStore>,
) -> Result<Row, Failure> {
    let _view = raw::hold_view(folder)?;
    let pairs = pairs(rounds, 1, folder, paths, store).await?;
    let microseconds = |time: Duration| time.as_secs_f64() * 1e6 / OPERATIONS as f64;
    let median = |values: Vec<f64>| crate::rounds::median(values);
    let side = |side: fn(&Pair) -> Duration| {
        format!("{:.2} µs", median(pairs.iter().map(|pair| microseconds(side(pair))).collect()))
    };
    let difference = |pair: &Pair| microseconds(pair.layer) - microseconds(pair.raw);
    Ok(Row::figure(
        "layer overhead per call, CPU, a view held on both sides",
        side(|pair| pair.raw),
        side(|pair| pair.layer),
        median(pairs.iter().map(difference).collect()),
        "µs",
        CALL_OVERHEAD_MAX_US,
    ))
}

async fn pairs(
    rounds: usize,
    tasks: usize,
    folder: &Path,
    paths: &Arc<Vec<DocumentPath>>,
    store: &Arc<dyn DocumentStore>,
) -> Result<Vec<Pair>, Failure> {
    let mut pairs = Vec::new();
    for round in 0..=rounds {
        let raw = measure(raw_loop(tasks, folder, paths)).await?.cpu;
        let layer = measure(layer_loop(tasks, paths, store)).await?.cpu;
        if round > 0 {
            pairs.push(Pair { raw, layer });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(pairs)
}

/// Spreads the reads over the table like a shuffle, the same way in both loops.
fn spread(number: usize) -> usize {
    number.wrapping_mul(7919) % DOCUMENTS
}

thread_local! {
    static CONNECTION: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

/// Runs `read` on the thread's own connection, opened at its first use.
fn with_connection<T>(
    folder: &Path,
    read: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    CONNECTION.with_borrow_mut(|slot| match slot {
        Some(connection) => read(connection),
        None => read(slot.insert(raw::open_reader(folder)?)),
    })
}

async fn raw_loop(
    tasks: usize,
    folder: &Path,
    paths: &Arc<Vec<DocumentPath>>,
) -> Result<(), Failure> {
    let share = OPERATIONS / tasks;
    let handles = (0..tasks).map(|task| {
        let (paths, folder) = (Arc::clone(paths), folder.to_owned());
        tokio::spawn(async move {
            for number in task * share..(task + 1) * share {
                let key = paths[spread(number)].key().as_bytes();
                with_connection(&folder, |connection| {
                    let mut statement = connection.prepare_cached(raw::GET)?;
                    black_box(statement.query_row([key], raw::row)?);
                    Ok(())
                })?;
            }
            Ok::<_, Failure>(())
        })
    });
    for result in try_join_all(handles).await? {
        result?;
    }
    Ok(())
}

async fn layer_loop(
    tasks: usize,
    paths: &Arc<Vec<DocumentPath>>,
    store: &Arc<dyn DocumentStore>,
) -> Result<(), Failure> {
    let share = OPERATIONS / tasks;
    let handles = (0..tasks).map(|task| {
        let (paths, store) = (Arc::clone(paths), Arc::clone(store));
        tokio::spawn(async move {
            for number in task * share..(task + 1) * share {
                black_box(store.get(&paths[spread(number)], Default::default()).await?);
            }
            Ok::<_, syntrix_storage::Error>(())
        })
    });
    for result in try_join_all(handles).await? {
        result?;
    }
    Ok(())
}
