//! Who wakes watchers: our own writer at once, other processes through a poll.

use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use syntrix_storage_core::Result;
use tokio::sync::watch;

use crate::error::{closed, from_sqlite};

/// Between two looks for other processes' commits while there were some of late.
const PAUSE_ACTIVE: Duration = Duration::from_millis(1);
/// The same after a quiet time.
const PAUSE_IDLE: Duration = Duration::from_millis(20);
/// How long it must be quiet for that.
const IDLE_AFTER: Duration = Duration::from_secs(5);
/// Longest wait in one call, far below what the clock can represent.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

const LAST_SEQUENCE: &str =
    "SELECT max(coalesce((SELECT max(seq) FROM changes), 0), floor_seq) FROM metadata";

/// The number of the last change that is known to be committed, and how news of later ones arrive.
#[derive(Debug)]
pub(crate) struct Wake {
    sequence: watch::Sender<u64>,
    poller: Mutex<Option<Poller>>,
}

#[derive(Debug)]
struct Poller {
    /// SQLite's data version tells of commits by other connections only, so this one commits nothing.
    connection: Connection,
    data_version: i64,
    active_at: Instant,
}

impl Wake {
    /// Takes a connection that is used for nothing else.
    pub(crate) fn new(connection: Connection) -> rusqlite::Result<Self> {
        let data_version = data_version(&connection)?;
        // In this order, a commit in between is seen by the first poll.
        let sequence = last_sequence(&connection)?;
        let poller = Poller { connection, data_version, active_at: Instant::now() };
        Ok(Self { sequence: watch::Sender::new(sequence), poller: Mutex::new(Some(poller)) })
    }

    /// Tells of a change, after its commit is done.
    pub(crate) fn committed(&self, sequence: u64) {
        self.sequence.send_if_modified(|known| {
            let newer = sequence > *known;
            *known = sequence.max(*known);
            newer
        });
    }

    /// The last change known of.
    pub(crate) fn sequence(&self) -> u64 {
        *self.sequence.borrow()
    }

    /// Returns when there is a change behind `sequence`, or after `timeout`.
    pub(crate) async fn wait(&self, sequence: u64, timeout: Duration) -> Result<()> {
        let mut news = self.sequence.subscribe();
        let end = Instant::now() + timeout.min(WAIT_MAX);
        loop {
            if *news.borrow_and_update() > sequence {
                return Ok(());
            }
            let pause = self.poll()?;
            let now = Instant::now();
            if *news.borrow() > sequence || now >= end {
                return Ok(());
            }
            // Whether it is news or time, the loop looks at both.
            let _ = tokio::time::timeout_at((now + pause).min(end).into(), news.changed()).await;
        }
    }

    /// Looks for other processes' commits; returns when to look again.
    fn poll(&self) -> Result<Duration> {
        let mut poller = match self.poller.try_lock() {
            Ok(poller) => poller,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another waiter is looking and will tell all.
            Err(TryLockError::WouldBlock) => return Ok(PAUSE_ACTIVE),
        };
        let poller = poller.as_mut().ok_or_else(closed)?;
        if let Some(sequence) = poller.look().map_err(|error| from_sqlite(&error))? {
            self.committed(sequence);
        }
        let idle = poller.active_at.elapsed() > IDLE_AFTER;
        Ok(if idle { PAUSE_IDLE } else { PAUSE_ACTIVE })
    }

    /// Sends all waiters home. Blocks for a moment.
    pub(crate) fn close(&self) {
        drop(self.poller.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.sequence.send_replace(u64::MAX);
    }
}

impl Poller {
    /// The last sequence, if anything was committed since the last look.
    fn look(&mut self) -> rusqlite::Result<Option<u64>> {
        let data_version = data_version(&self.connection)?;
        if data_version == self.data_version {
            return Ok(None);
        }
        let sequence = last_sequence(&self.connection)?;
        (self.data_version, self.active_at) = (data_version, Instant::now());
        Ok(Some(sequence))
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

fn last_sequence(connection: &Connection) -> rusqlite::Result<u64> {
    let sequence: i64 =
        connection.prepare_cached(LAST_SEQUENCE)?.query_row([], |row| row.get(0))?;
    Ok(sequence as u64)
}
