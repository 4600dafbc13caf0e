//! Who wakes watchers: our own writers at once, other processes through a notification, and in any case the next look.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use syntrix_storage_core::{Position, Result};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::connect::Connector;
use crate::error::{closed, from_postgres};

/// A notification is a transaction. It has nothing to keep, so it does not wait for the disk.
const LISTEN: &str = "SET synchronous_commit = off; LISTEN ";
/// Longest wait in one call, far below what the clock can represent.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Places whose news are known without asking the server.
const PLACES_KNOWN: usize = 8;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// The change log of documents.
    Documents,
    /// The writes of accounts.
    Accounts,
}

impl Log {
    const ALL: [Self; 2] = [Self::Documents, Self::Accounts];

    /// What a notification says. Releases before said nothing, and meant either.
    fn payload(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Accounts => "accounts",
        }
    }

    /// Other processes are told of our commits at most once in this time: a notification takes a lock of the whole cluster.
    /// Accounts are waited for by their shadow alone, which has time, and each login is a commit.
    fn notify_pause(self) -> Duration {
        match self {
            Self::Documents => Duration::from_millis(5),
            Self::Accounts => Duration::from_millis(100),
        }
    }

    /// Without notifications, the time between two looks.
    fn look_pause(self) -> Duration {
        match self {
            Self::Documents => Duration::from_millis(20),
            Self::Accounts => Duration::from_millis(100),
        }
    }
}

/// Counts the news there were of a log, and remembers how many there were when a place was its end.
#[derive(Debug)]
struct News {
    count: watch::Sender<u64>,
    ends: Mutex<VecDeque<(Position, u64)>>,
    /// Our own commits that other processes have not been told of.
    untold: AtomicBool,
}

impl News {
    fn new() -> Self {
        Self {
            count: watch::Sender::new(0),
            ends: Mutex::default(),
            untold: AtomicBool::new(false),
        }
    }

    fn ends(&self) -> MutexGuard<'_, VecDeque<(Position, u64)>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// There is news, or the time is up.
    Over,
    /// Nobody notifies us, and the log has to be looked at for news.
    Look,
}

/// The news of both logs.
#[derive(Debug)]
pub(crate) struct Wake {
    /// In the order of [`Log`].
    news: [News; 2],
    /// Somebody needs the side connection.
    needed: Notify,
    watched: AtomicBool,
    closed: AtomicBool,
    /// The server process behind the side connection: its own notifications are no news.
    own: AtomicI32,
    has_side: bool,
}

impl Wake {
    /// With `side`, a connection of its own carries notifications on `channel`, once somebody writes or waits.
    pub(crate) fn start(side: Option<Connector>, channel: String) -> Arc<Self> {
        let wake = Arc::new(Self {
            news: [News::new(), News::new()],
            needed: Notify::new(),
            watched: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            own: AtomicI32::new(0),
            has_side: side.is_some(),
        });
        if let Some(connector) = side {
            tokio::spawn(run_side(Arc::clone(&wake), connector, channel));
        }
        wake
    }

    /// Tells of changes, after their commit is done.
    pub(crate) fn committed(&self, log: Log) {
        self.heard(log);
        self.news(log).untold.store(true, Ordering::SeqCst);
        self.needed.notify_one();
    }

    fn news(&self, log: Log) -> &News {
        &self.news[log as usize]
    }

    fn heard(&self, log: Log) {
        self.news(log).count.send_modify(|count| *count += 1);
    }

    /// The logs that others have not been told of, where it is time.
    fn take_untold(&self, due: &[Instant; 2]) -> Vec<Log> {
        let now = Instant::now();
        let is_due = |log: &Log| due[*log as usize] <= now;
        let untold = |log: &Log| self.news(*log).untold.swap(false, Ordering::SeqCst);
        Log::ALL.into_iter().filter(is_due).filter(untold).collect()
    }

    /// When to look for them again, if nothing is committed before.
    fn next_due(&self, due: &[Instant; 2]) -> Instant {
        let untold = |log: &Log| self.news(*log).untold.load(Ordering::SeqCst);
        let waiting = Log::ALL.into_iter().filter(untold).map(|log| due[log as usize]);
        waiting.min().unwrap_or_else(|| Instant::now() + BACKOFF_MAX)
    }

    fn all_heard(&self) {
        Log::ALL.into_iter().for_each(|log| self.heard(log));
    }

    /// How much news there was; asked before the log is read.
    pub(crate) fn count(&self, log: Log) -> u64 {
        *self.news(log).count.borrow()
    }

    /// Remembers that there was nothing behind `end` when there had been `count` news.
    pub(crate) fn reached(&self, log: Log, end: &Position, count: u64) {
        let mut ends = self.news(log).ends();
        ends.retain(|(place, _)| place != end);
        ends.push_back((end.clone(), count));
        if ends.len() > PLACES_KNOWN {
            ends.pop_front();
        }
    }

    /// How much news there had been when `position` was the end.
    pub(crate) fn count_at(&self, log: Log, position: &Position) -> Option<u64> {
        let ends = self.news(log).ends();
        ends.iter().rev().find(|(place, _)| place == position).map(|(_, count)| *count)
    }

    /// When a wait of `timeout` ends that begins now.
    pub(crate) fn end_of(timeout: Duration) -> Instant {
        Instant::now() + timeout.min(WAIT_MAX)
    }

    /// Returns when there is more news than `count`, or at `end`; without notifications, when it is time to look.
    pub(crate) async fn wait(&self, log: Log, count: u64, end: Instant) -> Result<Woken> {
        if !self.watched.swap(true, Ordering::SeqCst) {
            self.needed.notify_one();
        }
        let mut news = self.news(log).count.subscribe();
        let look = if self.has_side { end } else { end.min(Instant::now() + log.look_pause()) };
        let waited = tokio::time::timeout_at(look, news.wait_for(|known| *known > count)).await;
        match (self.is_closed(), waited) {
            (true, _) => Err(closed()),
            (false, Err(_)) if look < end => Ok(Woken::Look),
            (false, _) => Ok(Woken::Over),
        }
    }

    /// Sends all waiters home and lets go of the side connection.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.all_heard();
        self.needed.notify_one();
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

async fn run_side(wake: Arc<Wake>, connector: Connector, channel: String) {
    let mut backoff = BACKOFF_MIN;
    wake.needed.notified().await;
    while !wake.is_closed() {
        match serve(&wake, &connector, &channel, &mut backoff).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "the connection that wakes watchers is down"),
        }
        // Watchers look twice a second meanwhile.
        tokio::time::sleep(backoff.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Listens and tells until the store is closed.
async fn serve(
    wake: &Arc<Wake>,
    connector: &Connector,
    channel: &str,
    backoff: &mut Duration,
) -> Result<()> {
    let hearer = Arc::clone(wake);
    let news = move |sender: i32, said: &str| {
        if sender == hearer.own.load(Ordering::SeqCst) {
            return;
        }
        match Log::ALL.into_iter().find(|log| log.payload() == said) {
            Some(log) => hearer.heard(log),
            None => hearer.all_heard(),
        }
    };
    // Its driver ends with it, and both with this function, whichever way.
    let client = connector.connect_listening(news).await?;
    let failed = |error: tokio_postgres::Error| from_postgres(&error);
    let rows = client.query_typed("SELECT pg_backend_pid()", &[]).await.map_err(failed)?;
    let own = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default();
    wake.own.store(own, Ordering::SeqCst);
    client.batch_execute(&format!("{LISTEN}{channel}")).await.map_err(failed)?;
    // What was told before we listened was missed.
    wake.all_heard();
    *backoff = BACKOFF_MIN;
    let mut due = [Instant::now(); 2];
    while !wake.is_closed() {
        let told = wake.take_untold(&due);
        if !told.is_empty() {
            // Sent together they are one transaction.
            let notify = told.iter().map(|log| format!("NOTIFY {channel}, '{}';", log.payload()));
            if let Err(error) = client.batch_execute(&notify.collect::<String>()).await {
                // To be told over the next connection.
                told.into_iter()
                    .for_each(|log| wake.news(log).untold.store(true, Ordering::SeqCst));
                return Err(failed(error));
            }
            told.into_iter()
                .for_each(|log| due[log as usize] = Instant::now() + log.notify_pause());
        }
        let next = wake.next_due(&due);
        tokio::select! {
            () = wake.needed.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
        if client.is_closed() {
            return Err(closed());
        }
    }
    Ok(())
}
