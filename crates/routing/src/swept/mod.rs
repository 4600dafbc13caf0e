//! Accounts and revoked tokens: what the primary wrote is mirrored, for freshness, and all its records are brought to the
//! shadow pass by pass, for completeness.
//!
//! Records of both are merged by rules that know neither order nor number, so a pass needs no place in a history: whatever a
//! mirror missed, the next pass brings.

pub(crate) mod accounts;
mod mirror;
mod sweeper;
pub(crate) mod tokens;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use syntrix_storage_core::backend::{Backend, Ledger, StoreId, StoreKind};
use syntrix_storage_core::{Error, ErrorKind, Result};
use tokio::sync::{Notify, watch};

use crate::breaker::{Attempt, BreakerState};
use crate::control::RouteControl;
use crate::holder;
use crate::options::ReplicationOptions;
use crate::outbox::Outbox;
use crate::replicator::records;
use crate::replicator::status::{self, Rate, ReplicatedStatus, StatusReport};
use crate::replicator::{DeadLetter, not_caught_up};
use crate::shadow::{NativeReplica, ShadowLink, ShadowOpener};
use crate::verify::state;

/// Longest wait of `status` for the shadow.
const STATUS_WAIT: Duration = Duration::from_secs(2);
/// Time for giving the lease up, whatever came before.
const CLOSE_MIN: Duration = Duration::from_millis(500);
/// Between two looks at another holder's record.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);

/// A kind of store that a route follows so.
#[async_trait]
pub trait Swept: fmt::Debug + Send + Sync + 'static {
    /// The backend's trait.
    type Store: fmt::Debug + Send + Sync + ?Sized + 'static;
    /// What names a record.
    type Key: Clone + fmt::Debug + Send + Sync + 'static;
    /// What is brought over.
    type Record: Send + Sync + 'static;
    /// Which store.
    const STORE: StoreKind;
    /// The record of the lease, on the shadow.
    const LEASE: &'static str;
    /// The record of how far the passes are, on the shadow.
    const PASSES: &'static str;
    /// The record by which any process asks the holder for a pass, on the shadow.
    const ASKED: &'static str;

    /// The store of an open backend.
    fn take(backend: &dyn Backend) -> Result<Arc<Self::Store>>;

    /// Verifies what the store relies on.
    async fn ensure(store: &Self::Store) -> Result<()>;

    /// Lets go of everything.
    async fn close(store: &Self::Store) -> Result<()>;

    /// The name of a record.
    fn key(record: &Self::Record) -> Self::Key;

    /// Records behind `after`, at most `limit`.
    async fn page(
        store: &Self::Store,
        after: Option<&Self::Key>,
        limit: usize,
    ) -> Result<Vec<Self::Record>>;

    /// One record as it is now.
    async fn fetch(store: &Self::Store, key: &Self::Key) -> Result<Option<Self::Record>>;

    /// Merges one of the primary's records into the shadow. `true` if it was new there.
    async fn bring(
        primary: &Self::Store,
        shadow: &Self::Store,
        record: Self::Record,
    ) -> Result<bool>;
}

/// How far the passes are. On the shadow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PassesBody {
    /// Store id of the primary.
    pub(crate) primary: String,
    pub(crate) term: u64,
    /// Passes that came to the end.
    pub(crate) passes: u64,
    /// Everything that was there before the last pass is on the shadow.
    pub(crate) filled: bool,
    /// Records that the shadow refused in the last pass.
    pub(crate) refused: u64,
    /// The last pass began after this request, and after all before it.
    pub(crate) served: u64,
    /// The route was given up: what is there says nothing any more.
    pub(crate) void: bool,
}

/// Number of the last request for a pass. On the shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskedBody {
    pub(crate) number: u64,
}

/// What this process brought over.
#[derive(Debug, Default)]
pub(crate) struct SweepCounts {
    pub(crate) is_holder: AtomicBool,
    pub(crate) applied: AtomicU64,
    pub(crate) known: AtomicU64,
    rate: Rate,
}

/// What keeps the shadow of such a route up to date.
pub struct SweptReplication<K: Swept> {
    strategy: String,
    pub(crate) primary: Arc<K::Store>,
    primary_id: StoreId,
    pub(crate) link: Arc<ShadowLink<K::Store>>,
    pub(crate) outbox: Outbox,
    counts: SweepCounts,
    /// Told when a pass is asked for in this process: its holder need not look first.
    asked: Notify,
    stopped: watch::Sender<bool>,
    pub(crate) options: ReplicationOptions,
}

impl<K: Swept> SweptReplication<K> {
    /// Begins to open the shadow and to compete for replicating to it; waits for neither. Must be called within a runtime.
    pub fn start(
        strategy: impl Into<String>,
        primary: Arc<K::Store>,
        primary_ledger: &dyn Ledger,
        shadow: Arc<dyn ShadowOpener>,
        options: ReplicationOptions,
    ) -> Arc<Self> {
        let primary_id = primary_ledger.store_id();
        let replication = Arc::new(Self {
            strategy: strategy.into(),
            primary,
            primary_id,
            link: ShadowLink::connect(shadow, primary_id, K::take, NativeReplica::Refused),
            outbox: Outbox::new(&options),
            counts: SweepCounts::default(),
            asked: Notify::new(),
            stopped: watch::Sender::new(false),
            options,
        });
        replication.start_sweeping();
        replication
    }

    /// The shadow's store, if it may be asked now: also to see whether it answers again.
    pub(crate) fn attempt(&self) -> Option<(&Arc<K::Store>, Attempt<'_>)> {
        let shadow = self.link.get().filter(|_| self.link.is_mirrored())?;
        Some((&shadow.store, self.outbox.breaker.attempt()?))
    }

    /// The shadow's store, if it answered lately. Asking it tries nothing: that is the mirrors' and the passes' part.
    pub(crate) fn live_shadow(&self) -> Option<&Arc<K::Store>> {
        let shadow = self.link.get().filter(|_| self.link.is_mirrored());
        let shadow = shadow.filter(|_| self.outbox.breaker.state_now() == BreakerState::Closed);
        shadow.map(|shadow| &shadow.store)
    }

    /// A route that was never closed leaves its lease to the lease time, and its tasks end.
    pub(crate) fn abandon(&self) {
        self.link.close();
    }

    /// Waits for mirrors under way, up to the limit; then gives the lease up and closes the shadow's store.
    pub(crate) async fn close(&self) -> Result<()> {
        let end = Instant::now() + self.options.close_timeout;
        let left = || end.saturating_duration_since(Instant::now());
        self.outbox.settle(left()).await;
        self.link.close();
        let mut stopped = self.stopped.subscribe();
        let stops = stopped.wait_for(|stopped| *stopped);
        // Who takes longer is a holder that does not answer; others take the lease after its time.
        let _ = tokio::time::timeout(left().max(CLOSE_MIN), stops).await;
        match self.link.get() {
            Some(shadow) => K::close(&shadow.store).await,
            None => Ok(()),
        }
    }

    /// Returns when a pass came to its end that began after this call, whoever makes it.
    async fn wait_for_pass(&self) -> Result<()> {
        let shadow = self.link.opened().await;
        let request = self.ask_for_pass(&*shadow.ledger).await?;
        loop {
            let body = records::read::<PassesBody>(&*shadow.ledger, K::PASSES).await?;
            match body.filter(|(_, body)| body.served >= request && !body.void) {
                Some((_, body)) if body.filled => return Ok(()),
                Some((_, body)) => return Err(refuses(body.refused)),
                None => tokio::time::sleep(DRAIN_INTERVAL).await,
            }
        }
    }

    /// Leaves a request that every holder sees, and returns its number.
    async fn ask_for_pass(&self, ledger: &dyn Ledger) -> Result<u64> {
        loop {
            let found = records::read::<AskedBody>(ledger, K::ASKED).await?;
            let (revision, body) = found.unzip();
            let next = AskedBody { number: body.unwrap_or_default().number + 1 };
            if records::write(ledger, K::ASKED, revision, &next).await?.is_some() {
                self.asked.notify_one();
                return Ok(next.number);
            }
        }
    }

    async fn describe_shadow(&self, report: &mut StatusReport) -> Result<()> {
        let Some(shadow) = self.link.get() else { return Ok(()) };
        let is_here = self.counts.is_holder.load(Ordering::Acquire);
        report.holder = status::holder(&*shadow.ledger, K::LEASE, is_here).await?;
        report.add_verify(state::read(&*shadow.ledger, K::STORE).await?);
        if let Some((_, body)) = records::read::<PassesBody>(&*shadow.ledger, K::PASSES).await? {
            report.filled = body.filled && !body.void;
            report.dead_letters = Some(body.refused);
        }
        Ok(())
    }
}

#[async_trait]
impl<K: Swept> RouteControl for SweptReplication<K> {
    async fn status(&self) -> Result<StatusReport> {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let replicated = ReplicatedStatus {
            applied: count(&self.counts.applied),
            known: count(&self.counts.known),
            lineage: 0,
            per_second: self
                .counts
                .rate
                .measured(count(&self.counts.applied) + count(&self.counts.known)),
        };
        let report = StatusReport::new(K::STORE, &self.strategy, self.outbox.status(), replicated);
        let mut report = report.with_link(&self.link);
        let described = tokio::time::timeout(STATUS_WAIT, self.describe_shadow(&mut report)).await;
        if !matches!(described, Ok(Ok(()))) {
            tracing::debug!(?described, "the status is without what the shadow did not tell");
        }
        Ok(report)
    }

    async fn drain(&self, limit: Duration) -> Result<()> {
        match tokio::time::timeout(limit, self.wait_for_pass()).await {
            Ok(caught_up) => caught_up,
            Err(_) => Err(not_caught_up(limit, &self.link)),
        }
    }

    /// Every pass tries a refused record anew, so none waits for an operator; the status counts them.
    async fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        Ok(Vec::new())
    }

    async fn retry_dead_letter(&self, _: &str) -> Result<bool> {
        Err(no_letters())
    }

    async fn drop_dead_letter(&self, _: &str) -> Result<()> {
        Err(no_letters())
    }

    async fn drop_route(&self) -> Result<()> {
        let shadow = tokio::time::timeout(STATUS_WAIT, self.link.opened()).await.ok();
        self.link.drop_route();
        let mut stopped = self.stopped.subscribe();
        let stops = stopped.wait_for(|stopped| *stopped);
        let _ = tokio::time::timeout(self.options.close_timeout, stops).await;
        let Some(shadow) = shadow else { return Ok(()) };
        holder::give_up(self, &*shadow.ledger).await
    }
}

/// Not everything is on the shadow, and waiting does not help.
fn refuses(records: u64) -> Error {
    Error::new(ErrorKind::Conflict, "drain")
        .with_message("the shadow refuses records, and has everything else; the log of who replicates names them")
        .with_fact("records", records)
}

fn no_letters() -> Error {
    Error::new(ErrorKind::NotFound, "routing")
        .with_message("this store has no dead letters: every pass tries a refused record anew")
}

impl<K: Swept> fmt::Debug for SweptReplication<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SweptReplication")
            .field("store", &K::STORE)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
