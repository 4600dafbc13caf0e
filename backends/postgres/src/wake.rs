//! Who wakes watchers: our own writers at once, other processes through a notification, and in any case the next look.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use syntrix_storage_core::{Position, Result};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::connect::Connector;
use crate::error::{closed, from_postgres};

/// Other processes are told of our commits at most once in this time: a notification takes a lock of the whole cluster.
const NOTIFY_PAUSE: Duration = Duration::from_millis(5);
/// A notification is a transaction. It has nothing to keep, so it does not wait for the disk.
const LISTEN: &str = "SET synchronous_commit = off; LISTEN ";
/// Without notifications, the time between two looks.
const POLL_PAUSE: Duration = Duration::from_millis(20);
/// Longest wait in one call, far below what the clock can represent.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Places whose news are known without asking the server.
const PLACES_KNOWN: usize = 8;

/// Counts the news there were, and remembers how many there were when a place was the end of the log.
#[derive(Debug)]
pub(crate) struct Wake {
    news: watch::Sender<u64>,
    ends: Mutex<VecDeque<(Position, u64)>>,
    /// Our own commits that other processes have not been told of.
    untold: AtomicBool,
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
            news: watch::Sender::new(0),
            ends: Mutex::default(),
            untold: AtomicBool::new(false),
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
    pub(crate) fn committed(&self) {
        self.heard();
        self.untold.store(true, Ordering::SeqCst);
        self.needed.notify_one();
    }

    fn heard(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// How much news there was; asked before the log is read.
    pub(crate) fn count(&self) -> u64 {
        *self.news.borrow()
    }

    /// Remembers that there was nothing behind `end` when there had been `count` news.
    pub(crate) fn reached(&self, end: &Position, count: u64) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|(place, _)| place != end);
        ends.push_back((end.clone(), count));
        if ends.len() > PLACES_KNOWN {
            ends.pop_front();
        }
    }

    /// How much news there had been when `position` was the end.
    pub(crate) fn count_at(&self, position: &Position) -> Option<u64> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter().rev().find(|(place, _)| place == position).map(|(_, count)| *count)
    }

    /// Returns when there is more news than `count`, or after `timeout`; without notifications, when it is time to look.
    pub(crate) async fn wait(&self, count: u64, timeout: Duration) -> Result<()> {
        if !self.watched.swap(true, Ordering::SeqCst) {
            self.needed.notify_one();
        }
        let mut news = self.news.subscribe();
        let longest = if self.has_side { WAIT_MAX } else { POLL_PAUSE };
        let end = Instant::now() + timeout.min(longest);
        let more = news.wait_for(|known| *known > count);
        // News or time: the caller looks at the log in any case.
        let _ = tokio::time::timeout_at(end, more).await;
        if self.closed.load(Ordering::SeqCst) { Err(closed()) } else { Ok(()) }
    }

    /// Sends all waiters home and lets go of the side connection.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.heard();
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
    let news = move |sender: i32| {
        if sender != hearer.own.load(Ordering::SeqCst) {
            hearer.heard();
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
    wake.heard();
    *backoff = BACKOFF_MIN;
    let notify = format!("NOTIFY {channel}");
    loop {
        if wake.is_closed() {
            return Ok(());
        }
        if wake.untold.swap(false, Ordering::SeqCst) {
            client.batch_execute(&notify).await.map_err(failed)?;
            tokio::time::sleep(NOTIFY_PAUSE).await;
            continue;
        }
        tokio::select! {
            () = wake.needed.notified() => {}
            () = tokio::time::sleep(BACKOFF_MAX) => {}
        }
        if client.is_closed() {
            return Err(closed());
        }
    }
}
