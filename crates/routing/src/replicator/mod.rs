//! Makes the shadow whole: one process at a time follows the primary's feed from a durable checkpoint.
//!
//! Everything is at least once and guarded by versions; so it may be repeated, and two who believe that they lead do no harm.

pub(crate) mod apply;
pub(crate) mod checkpoint;
pub(crate) mod dead_letters;
mod fill;
mod follow;
pub(crate) mod lease;
pub(crate) mod purge;
pub(crate) mod records;
pub(crate) mod status;
pub(crate) mod term;
mod throttle;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{DocumentBackend, Feed, Ledger, StoreId};
use syntrix_storage_core::{Error, ErrorKind, Position, Result};
use tokio::sync::watch;

pub use dead_letters::DeadLetter;

use crate::holder::{self, Duty};
use crate::options::ReplicationOptions;
use crate::replicator::status::Counts;
use crate::replicator::term::Term;
use crate::shadow::{OpenShadow, ShadowLink};

/// Between two looks at another holder's checkpoint.
const CATCH_UP_INTERVAL: Duration = Duration::from_millis(20);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Why a term ends, or begins again.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// Somebody else has the lease, or wrote a record of ours.
    Lost,
    /// The primary's feed does not reach back to the checkpoint.
    HistoryLost,
    /// The shadow must not be written to, and why.
    Refused(String),
    /// The route was given up.
    Dropped,
    /// A call failed; it is tried again.
    Failed(Error),
}

impl From<Error> for Interrupt {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::TokenExpired => Self::HistoryLost,
            _ => Self::Failed(error),
        }
    }
}

/// What others ask of the replicator, and how far it is with that.
#[derive(Debug)]
pub(crate) struct Tickets {
    /// Number of the last request to catch up.
    pub(crate) asked: watch::Sender<u64>,
    /// Everything that was committed before this request is on the shadow.
    pub(crate) served: watch::Sender<u64>,
}

/// The replicator of one open route.
#[derive(Debug)]
pub(crate) struct Replicator {
    pub(crate) primary: Arc<dyn DocumentBackend>,
    pub(crate) primary_ledger: Arc<dyn Ledger>,
    pub(crate) link: Arc<ShadowLink<dyn DocumentBackend>>,
    pub(crate) options: ReplicationOptions,
    pub(crate) counts: Arc<Counts>,
    pub(crate) tickets: Tickets,
    /// Held while the indexes are compared: of two who do, the second one sees what the first one did.
    indexes: tokio::sync::Mutex<()>,
    /// Set when the lease was given up for the last time.
    stopped: watch::Sender<bool>,
}

impl Replicator {
    pub(crate) fn new(
        primary: Arc<dyn DocumentBackend>,
        primary_ledger: Arc<dyn Ledger>,
        link: Arc<ShadowLink<dyn DocumentBackend>>,
        options: ReplicationOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            primary,
            primary_ledger,
            link,
            options,
            counts: Arc::default(),
            tickets: Tickets { asked: watch::Sender::new(0), served: watch::Sender::new(0) },
            indexes: tokio::sync::Mutex::new(()),
            stopped: watch::Sender::new(false),
        })
    }

    /// Competes for the lease and replicates with it, until the route is closed.
    pub(crate) fn start(self: &Arc<Self>) {
        let replicator = Arc::clone(self);
        tokio::spawn(async move {
            holder::serve(&*replicator).await;
            replicator.stopped.send_replace(true);
        });
    }

    /// Waits until the lease is given up, at most `limit`. The link must be closed before.
    pub(crate) async fn wait_until_stopped(&self, limit: Duration) {
        let mut stopped = self.stopped.subscribe();
        // Who takes longer is a holder that does not answer; others take the lease after its time.
        let _ = tokio::time::timeout(limit, stopped.wait_for(|stopped| *stopped)).await;
    }

    /// Returns when everything that was committed before this call was applied by this process's holder. Never, if it is none.
    pub(crate) async fn reach_end(&self) {
        let mut served = self.tickets.served.subscribe();
        let mut ticket = 0;
        self.tickets.asked.send_modify(|asked| {
            *asked += 1;
            ticket = *asked;
        });
        // The sender is in `self`, so this cannot fail while we are here.
        let _ = served.wait_for(|served| *served >= ticket).await;
    }

    /// Returns when the shadow is filled and has everything that was committed before this call, whoever replicates.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        let (end, _) = self.primary.feed_end().await?;
        loop {
            if self.link.is_filled() && self.counts.is_holder.load(Ordering::Acquire) {
                tokio::select! {
                    () = self.reach_end() => return Ok(()),
                    () = tokio::time::sleep(self.options.lease_time) => {}
                }
            }
            if let Some(shadow) = self.link.get() {
                match self.has_reached(&*shadow.ledger, &end).await {
                    Ok(true) => return Ok(()),
                    Err(error) if !is_passing(&error) => return Err(error),
                    _ => {}
                }
            }
            tokio::time::sleep(CATCH_UP_INTERVAL).await;
        }
    }

    /// Whether the checkpoint, whoever wrote it, says filled and stands at `end` or behind it.
    async fn has_reached(&self, ledger: &dyn Ledger, end: &Position) -> Result<bool> {
        let Some((_, body)) = checkpoint::read(ledger).await? else { return Ok(false) };
        if !body.filled || body.void {
            return Ok(false);
        }
        let place = Feed::After(Position::try_from(&body.position)?);
        match self.primary.feed(&place, Some(end), 1).await {
            Ok(page) => Ok(page.changes.is_empty() && !page.more),
            // The holder will notice.
            Err(error) if error.kind() == ErrorKind::TokenExpired => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Declares on the shadow what the primary declares. A failure costs queries of the shadow their speed, no data.
    pub(crate) async fn copy_indexes(&self, shadow: &dyn DocumentBackend) {
        let _turn = self.indexes.lock().await;
        match term::copy_indexes(&*self.primary, shadow).await {
            Err(error) if error.kind() != ErrorKind::Closed => {
                tracing::warn!(%error, "the primary's indexes are not all on the shadow");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Duty for Replicator {
    type Store = dyn DocumentBackend;

    fn lease(&self) -> &'static str {
        records::LEASE
    }

    fn record(&self) -> &'static str {
        records::CHECKPOINT
    }

    fn link(&self) -> &ShadowLink<dyn DocumentBackend> {
        &self.link
    }

    fn options(&self) -> &ReplicationOptions {
        &self.options
    }

    fn primary_id(&self) -> StoreId {
        self.primary_ledger.store_id()
    }

    fn is_holder(&self) -> &AtomicBool {
        &self.counts.is_holder
    }

    async fn replicate(
        &self,
        shadow: &OpenShadow<dyn DocumentBackend>,
        number: u64,
    ) -> Option<Interrupt> {
        let term = Term::new(self, shadow, number);
        tokio::select! {
            () = self.link.ended() => {}
            ended = term.run() => return Some(ended),
        }
        term.save_at_end().await;
        None
    }
}

/// Longer and longer pauses, with jitter.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF_MIN)
    }
}

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(0.5 + fastrand::f64());
        self.0 = (self.0 * 2).min(BACKOFF_MAX);
        pause
    }
}

/// Whether a side is away for a while, which a drain waits for.
pub(crate) fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}

/// A failure of `drain`.
pub(crate) fn not_caught_up<S: ?Sized>(limit: Duration, link: &ShadowLink<S>) -> Error {
    let error = Error::new(ErrorKind::Timeout, "drain")
        .with_message(
            "the shadow has not everything yet; see `routing status` for what holds it up",
        )
        .with_fact("limitMs", limit.as_millis())
        .with_fact("shadow", format!("{:?}", link.state()));
    match link.last_failure() {
        Some(failure) => error.with_fact("lastFailure", failure.reason),
        None => error,
    }
}

/// Results of the replicator's parts.
pub(crate) type Outcome<T> = std::result::Result<T, Interrupt>;
