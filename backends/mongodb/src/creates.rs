//! Creates that are waiting go to the server in one statement; each learns what became of its own.

use std::sync::Arc;

use mongodb::Collection;
use mongodb::bson::RawDocumentBuf;
use mongodb::error::{Error as DriverError, ErrorKind as DriverKind, InsertManyError};
use syntrix_storage_core::{Result, Retry};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::calls::Patience;
use crate::error::{DUPLICATE_KEY, closed, from_code, from_driver, lost, timed_out};

/// Most records in one statement.
const RECORDS_MAX: usize = 500;
/// Most bytes in one statement, so that none holds up the others for long.
const BYTES_MAX: usize = 8 << 20;
/// Statements on their way at once: while one waits for its majority, the next one collects.
const STATEMENTS_MAX: usize = 2;
/// Jobs that wait before their senders have to.
const QUEUE: usize = 1024;

/// What became of a record: stored, or its key was taken.
pub(crate) type Created = Result<bool>;

/// Some records of one caller, in order.
struct Job {
    records: Vec<RawDocumentBuf>,
    patience: Patience,
    answer: oneshot::Sender<Vec<Created>>,
}

impl Job {
    fn size(&self) -> usize {
        size(&self.records)
    }

    /// The job if somebody waits for it; one that was given up is not written later.
    fn wanted(self) -> Option<Self> {
        if !self.patience.is_over() && !self.answer.is_closed() {
            return Some(self);
        }
        let _ = self.answer.send(self.records.iter().map(|_| Err(timed_out())).collect());
        None
    }
}

fn size(records: &[RawDocumentBuf]) -> usize {
    records.iter().map(|record| record.as_bytes().len()).sum()
}

/// The way in for new records of one collection.
#[derive(Clone, Debug)]
pub(crate) struct Creates {
    jobs: mpsc::Sender<Job>,
}

impl Creates {
    /// Starts the worker; it ends with the last handle.
    pub(crate) fn start(collection: Collection<RawDocumentBuf>) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        tokio::spawn(collect(collection, queue));
        Self { jobs }
    }

    /// Stores `records` in order, unless nobody waits any more by the time it is their turn, and tells of each whether it
    /// was stored.
    pub(crate) async fn insert(
        &self,
        records: Vec<RawDocumentBuf>,
        patience: &Patience,
    ) -> Vec<Created> {
        let (count, patience) = (records.len(), patience.clone());
        let (answer, answered) = oneshot::channel();
        if self.jobs.send(Job { records, patience, answer }).await.is_err() {
            return (0..count).map(|_| Err(closed())).collect();
        }
        answered.await.unwrap_or_else(|_| (0..count).map(|_| Err(lost())).collect())
    }
}

async fn collect(collection: Collection<RawDocumentBuf>, mut queue: mpsc::Receiver<Job>) {
    let statements = Arc::new(Semaphore::new(STATEMENTS_MAX));
    while let Some(first) = queue.recv().await {
        let Ok(permit) = Arc::clone(&statements).acquire_owned().await else { return };
        let batch = fill(first, &mut queue);
        if batch.is_empty() {
            continue;
        }
        let collection = collection.clone();
        tokio::spawn(async move {
            run(&collection, batch).await;
            drop(permit);
        });
    }
}

/// Takes what is waiting and wanted, as far as it fits.
fn fill(first: Job, queue: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let (mut records, mut bytes, mut batch) = (0, 0, Vec::new());
    let mut next = Some(first);
    while let Some(job) = next {
        if let Some(job) = job.wanted() {
            records += job.records.len();
            bytes += job.size();
            batch.push(job);
        }
        let full = records >= RECORDS_MAX || bytes >= BYTES_MAX;
        next = if full { None } else { queue.try_recv().ok() };
    }
    batch
}

async fn run(collection: &Collection<RawDocumentBuf>, batch: Vec<Job>) {
    let lengths: Vec<usize> = batch.iter().map(|job| job.records.len()).collect();
    let (records, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|job| (job.records, job.answer)).unzip();
    let mut created = insert(collection, records.into_iter().flatten().collect()).await.into_iter();
    for (answer, length) in answers.into_iter().zip(lengths) {
        // Whoever gave up needs no answer.
        let _ = answer.send(created.by_ref().take(length).collect());
    }
}

/// In as many statements as it takes, so that the driver splits none: it would not tell which part failed.
async fn insert(
    collection: &Collection<RawDocumentBuf>,
    records: Vec<RawDocumentBuf>,
) -> Vec<Created> {
    let mut created = Vec::with_capacity(records.len());
    let mut statement = Vec::new();
    let mut bytes = 0;
    for record in records {
        bytes += record.as_bytes().len();
        if bytes > BYTES_MAX && !statement.is_empty() {
            bytes = record.as_bytes().len();
            created.extend(insert_at_once(collection, std::mem::take(&mut statement)).await);
        }
        statement.push(record);
    }
    created.extend(insert_at_once(collection, statement).await);
    created
}

/// One statement. Not ordered: a key that is taken stops nobody behind it.
async fn insert_at_once(
    collection: &Collection<RawDocumentBuf>,
    records: Vec<RawDocumentBuf>,
) -> Vec<Created> {
    let count = records.len();
    match collection.insert_many(&records).ordered(false).await {
        Ok(_) => (0..count).map(|_| Ok(true)).collect(),
        Err(error) => match &*error.kind {
            DriverKind::InsertMany(failures) => outcomes(failures, count),
            _ if count > 1 && is_refused(&error) => one_by_one(collection, records).await,
            _ => (0..count).map(|_| Err(from_driver(&error))).collect(),
        },
    }
}

/// Whether the server refused the statement and did nothing of it. One that ran out of time may have stored some records;
/// run again, it would take its own for those of another.
fn is_refused(error: &DriverError) -> bool {
    matches!(&*error.kind, DriverKind::Command(_)) && from_driver(error).retry() == Retry::Never
}

/// Nobody gets the error of a neighbour.
async fn one_by_one(
    collection: &Collection<RawDocumentBuf>,
    records: Vec<RawDocumentBuf>,
) -> Vec<Created> {
    let mut created = Vec::with_capacity(records.len());
    for record in records {
        let inserted = collection.insert_one(record).await;
        created.push(inserted.map(|_| true).or_else(|error| refused(&error)));
    }
    created
}

fn refused(error: &DriverError) -> Created {
    if crate::error::is_duplicate(error) { Ok(false) } else { Err(from_driver(error)) }
}

/// What the server names failed; the rest is stored, if a majority confirms it.
fn outcomes(failures: &InsertManyError, count: usize) -> Vec<Created> {
    let unconfirmed = failures.write_concern_error.as_ref().map(|concern| concern.code);
    let stored = || unconfirmed.map_or(Ok(true), |code| Err(from_code(code)));
    let mut created: Vec<Created> = (0..count).map(|_| stored()).collect();
    for failure in failures.write_errors.iter().flatten() {
        let outcome = match failure.code {
            DUPLICATE_KEY => Ok(false),
            code => Err(from_code(code)),
        };
        if let Some(place) = created.get_mut(failure.index) {
            *place = outcome;
        }
    }
    created
}
