//! The connections that read, and on which thread they do.
//!
//! A thread hop costs several times the point read behind it, so short reads run on the calling task, on any connection that
//! is free. Long ones run on blocking threads and never on the first connection, so that a short read that finds nothing free
//! waits for another short one at most.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use rusqlite::Connection;
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::Semaphore;

use crate::anchor::Anchor;
use crate::error::{closed, from_sqlite, lost};

/// Steps of SQLite's machine between two looks at the clock; well under a millisecond.
const STEPS_BETWEEN_CHECKS: i32 = 4000;
/// Reads of a connection between two looks whether the anchor sleeps.
const READS_PER_LOOK: u32 = 64;

type SlotGuard<'slot> = MutexGuard<'slot, Option<Connection>>;

/// A connection, in cache lines of its own: threads that use different ones must not wait for each other's.
#[derive(Debug)]
#[repr(align(128))]
struct Slot {
    connection: Mutex<Option<Connection>>,
    /// Short reads so far; written by who holds the connection alone.
    reads: AtomicU32,
}

impl Slot {
    fn new(connection: Connection) -> Self {
        Self { connection: Mutex::new(Some(connection)), reads: AtomicU32::new(0) }
    }

    /// Counts a short read; how many there were.
    fn count(&self) -> u32 {
        let reads = self.reads.load(Ordering::Relaxed).wrapping_add(1);
        self.reads.store(reads, Ordering::Relaxed);
        reads
    }
}

/// A pool of reading connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    slots: Arc<[Slot]>,
    long: Arc<Semaphore>,
    anchor: Arc<Anchor>,
    inline: bool,
}

impl Readers {
    /// A pool over `connections`, at least one, and one more that only holds views.
    pub(crate) fn start(
        connections: Vec<Connection>,
        anchor: Connection,
        inline: bool,
    ) -> Result<Self> {
        let long = Arc::new(Semaphore::new(connections.len().saturating_sub(1).max(1)));
        let slots: Arc<[Slot]> = connections.into_iter().map(Slot::new).collect();
        let counted = Arc::clone(&slots);
        let anchor = Arc::new(Anchor::start(anchor, move || reads(&counted))?);
        Ok(Self { slots, long, anchor, inline })
    }

    /// A connection for a short read on the calling task, if one is free and the settings allow it.
    pub(crate) fn try_lock(&self) -> Option<Reader<'_>> {
        if !self.inline {
            return None;
        }
        let (before, from) = self.slots.split_at(preferred_slot(self.slots.len()));
        let free = |slot| try_lock(slot).map(|guard| (slot, guard));
        let (slot, guard) = from.iter().chain(before).find_map(free)?;
        if slot.count().is_multiple_of(READS_PER_LOOK) {
            self.anchor.wake();
        }
        Some(Reader(guard))
    }

    /// Runs a short read on the calling task if a connection is free, else on a blocking thread.
    pub(crate) async fn read<T, Read>(&self, read: Read) -> Result<T>
    where
        T: Send + 'static,
        Read: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        if let Some(reader) = self.try_lock() {
            return read(reader.connection()?);
        }
        // Boxed, so that the future of the usual way is small.
        Box::pin(self.short(read)).await
    }

    /// Runs a short read on a blocking thread.
    pub(crate) async fn short<T, Read>(&self, read: Read) -> Result<T>
    where
        T: Send + 'static,
        Read: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let slots = Arc::clone(&self.slots);
        let work = move || read(Reader(lock(&slots[0])).connection()?);
        tokio::task::spawn_blocking(work).await.map_err(|_| lost())?
    }

    /// Runs a read of any length on a blocking thread until it is done, late, or nobody waits for it any more.
    pub(crate) async fn long<T, Read>(&self, deadline: Option<Instant>, read: Read) -> Result<T>
    where
        T: Send + 'static,
        Read: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let turn = Arc::clone(&self.long).acquire_owned();
        let turn = match deadline {
            Some(deadline) => {
                tokio::time::timeout_at(deadline.into(), turn).await.map_err(|_| late())?
            }
            None => turn.await,
        };
        let turn = turn.map_err(|_| closed())?;
        let abandoned = Abandoned::default();
        let flag = Arc::clone(&abandoned.0);
        let slots = Arc::clone(&self.slots);
        let work = move || {
            let _turn = turn;
            run_long(lock_long(&slots), deadline, flag, read)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| lost())?
    }

    /// Closes all connections after the reads on them. Blocks.
    pub(crate) fn close(&self) {
        self.anchor.close();
        for slot in self.slots.iter() {
            drop(lock(slot).take());
        }
    }
}

/// A connection in use.
pub(crate) struct Reader<'slot>(SlotGuard<'slot>);

impl Reader<'_> {
    pub(crate) fn connection(&self) -> Result<&Connection> {
        self.0.as_ref().ok_or_else(closed)
    }
}

/// Set when the future that waits for a read is dropped.
#[derive(Default)]
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run_long<T>(
    mut slot: SlotGuard<'_>,
    deadline: Option<Instant>,
    abandoned: Arc<AtomicBool>,
    read: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let connection = slot.as_mut().ok_or_else(closed)?;
    let stop = move || {
        abandoned.load(Ordering::Relaxed) || deadline.is_some_and(|end| Instant::now() >= end)
    };
    if stop() {
        return Err(late());
    }
    connection
        .progress_handler(STEPS_BETWEEN_CHECKS, Some(stop))
        .map_err(|error| from_sqlite(&error))?;
    let answer = read(connection);
    connection.progress_handler(0, None::<fn() -> bool>).map_err(|error| from_sqlite(&error))?;
    answer
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "").with_retry(Retry::Safe)
}

/// Threads begin at different slots, so that each mostly finds its own one free and warm.
fn preferred_slot(slots: usize) -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| number % slots)
}

/// The short reads of all connections, wrapping around.
fn reads(slots: &[Slot]) -> u32 {
    slots.iter().map(|slot| slot.reads.load(Ordering::Relaxed)).fold(0, u32::wrapping_add)
}

fn try_lock(slot: &Slot) -> Option<SlotGuard<'_>> {
    match slot.connection.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn lock(slot: &Slot) -> SlotGuard<'_> {
    slot.connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Any connection but the first, if there are more.
fn lock_long(slots: &[Slot]) -> SlotGuard<'_> {
    let candidates = if slots.len() > 1 { &slots[1..] } else { slots };
    let free = candidates.iter().find_map(try_lock);
    free.unwrap_or_else(|| lock(&candidates[preferred_slot(candidates.len())]))
}

/// One view of the data for several statements. Ends with the value: a view kept open keeps the log from shrinking.
pub(crate) struct Snapshot<'connection>(&'connection Connection);

impl<'connection> Snapshot<'connection> {
    pub(crate) fn begin(connection: &'connection Connection) -> Result<Self> {
        execute(connection, "BEGIN").map_err(|error| from_sqlite(&error))?;
        Ok(Self(connection))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if let Err(error) = execute(self.0, "COMMIT") {
            tracing::warn!(code = ?error.sqlite_error_code(), "a read view did not end cleanly");
            // Nothing was written, so there is nothing to lose.
            let _ = execute(self.0, "ROLLBACK");
        }
    }
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}
