//! Who wakes watchers: our own writer at once, other processes through a poll.

use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use syntrix_storage_core::Result;
use tokio::sync::watch;

use crate::error::{closed, from_sqlite};
use crate::user_changes;

/// Between two looks for other processes' commits while there were some of late. Our own are told of without a look.
const PAUSE_ACTIVE: Duration = Duration::from_millis(1);
/// The same after a quiet time.
const PAUSE_IDLE: Duration = Duration::from_millis(20);
/// How long it must be quiet for that.
const IDLE_AFTER: Duration = Duration::from_secs(5);
/// Longest wait in one call, far below what the clock can represent.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

const LAST_SEQUENCE: &str =
    "SELECT max(coalesce((SELECT max(seq) FROM changes), 0), floor_seq) FROM metadata";

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Log {
    /// The change log of documents.
    Documents,
    /// The writes of accounts.
    Accounts,
}

/// Numbers of last changes; `None` says nothing about a log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct News {
    pub(crate) documents: Option<i64>,
    pub(crate) accounts: Option<i64>,
}

impl News {
    /// What both tell of, of commits one after the other.
    pub(crate) fn and(self, later: Self) -> Self {
        Self {
            documents: later.documents.or(self.documents),
            accounts: later.accounts.or(self.accounts),
        }
    }

    /// In the order of [`Log`].
    fn numbers(self) -> [u64; 2] {
        [self.documents, self.accounts].map(|number| number.unwrap_or_default() as u64)
    }
}

/// The numbers of the last changes that are known to be committed, in the order of [`Log`], and how news of later ones arrive.
#[derive(Debug)]
pub(crate) struct Wake {
    known: watch::Sender<[u64; 2]>,
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
        let known = last_numbers(&connection)?.numbers();
        let poller = Poller { connection, data_version, active_at: Instant::now() };
        Ok(Self { known: watch::Sender::new(known), poller: Mutex::new(Some(poller)) })
    }

    /// Tells of changes, after their commit is done. Whether they were not known.
    pub(crate) fn committed(&self, news: News) -> bool {
        self.known.send_if_modified(|known| {
            let (old, new) = (*known, news.numbers());
            *known = [old[0].max(new[0]), old[1].max(new[1])];
            *known != old
        })
    }

    /// The last change known of.
    pub(crate) fn sequence(&self) -> u64 {
        self.known.borrow()[Log::Documents as usize]
    }

    /// Returns when there is a change behind `sequence` in the log, or after `timeout`.
    pub(crate) async fn wait(&self, log: Log, sequence: u64, timeout: Duration) -> Result<()> {
        let mut news = self.known.subscribe();
        let end = Instant::now() + timeout.min(WAIT_MAX);
        loop {
            if news.borrow_and_update()[log as usize] > sequence {
                return Ok(());
            }
            let pause = self.poll()?;
            let now = Instant::now();
            if news.borrow()[log as usize] > sequence || now >= end {
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
        if let Some(news) = poller.look().map_err(|error| from_sqlite(&error))?
            && self.committed(news)
        {
            poller.active_at = Instant::now();
        }
        let idle = poller.active_at.elapsed() > IDLE_AFTER;
        Ok(if idle { PAUSE_IDLE } else { PAUSE_ACTIVE })
    }

    /// Sends all waiters home. Blocks for a moment.
    pub(crate) fn close(&self) {
        drop(self.poller.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.known.send_replace([u64::MAX; 2]);
    }
}

impl Poller {
    /// The last numbers, if anything was committed since the last look.
    fn look(&mut self) -> rusqlite::Result<Option<News>> {
        let data_version = data_version(&self.connection)?;
        if data_version == self.data_version {
            return Ok(None);
        }
        let news = last_numbers(&self.connection)?;
        self.data_version = data_version;
        Ok(Some(news))
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

fn last_numbers(connection: &Connection) -> rusqlite::Result<News> {
    let documents = connection.prepare_cached(LAST_SEQUENCE)?.query_row([], |row| row.get(0))?;
    let accounts = user_changes::last_number(connection)?;
    Ok(News { documents: Some(documents), accounts: Some(accounts) })
}
