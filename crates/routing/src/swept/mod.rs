//! Accounts and revoked tokens: what the primary wrote is mirrored, for freshness; for completeness all its records are brought
//! to the shadow in a pass, and then, of a store that tells what was written, those that were written since.
//!
//! Records of both are merged by rules that know neither order nor number, so a pass and what is written meanwhile may meet in
//! any order. Where a store has no feed, whatever a mirror missed the next pass brings.

pub(crate) mod accounts;
mod carrier;
mod control;
mod feed;
mod follow;
mod mark;
mod mirror;
mod progress;
mod sweeper;
pub(crate) mod tokens;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use syntrix_storage_core::Result;
use syntrix_storage_core::backend::{Backend, Ledger, LedgerKey, StoreId, StoreKind};
use tokio::sync::{Notify, watch};

use crate::breaker::{Attempt, BreakerState};
use crate::options::ReplicationOptions;
use crate::outbox::Outbox;
use crate::replicator::records::{self, PositionBody};
use crate::replicator::status::{Rate, ReplicatedStatus};
use crate::shadow::{NativeReplica, ShadowLink, ShadowOpener};

pub use feed::{WriteFeed, Written};

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
    /// The record by which any process asks the holder to catch up, on the shadow.
    const ASKED: &'static str;
    /// Begins the names of the records by which a primary that went back is known, on the primary.
    const MARKS: &'static str;
    /// How dead letters are named; `None` where every pass tries a refused record anew.
    const LETTERS: Option<LetterNames<Self::Key>>;

    /// The store of an open backend.
    fn take(backend: &dyn Backend) -> Result<Arc<Self::Store>>;

    /// Verifies what the store relies on.
    async fn ensure(store: &Self::Store) -> Result<()>;

    /// Lets go of everything.
    async fn close(store: &Self::Store) -> Result<()>;

    /// The name of a record.
    fn key(record: &Self::Record) -> Self::Key;

    /// Counts the record's changes, if something does.
    fn version(record: &Self::Record) -> Option<i64>;

    /// Records behind `after`, at most `limit`.
    async fn page(
        store: &Self::Store,
        after: Option<&Self::Key>,
        limit: usize,
    ) -> Result<Vec<Self::Record>>;

    /// One record as it is now.
    async fn fetch(store: &Self::Store, key: &Self::Key) -> Result<Option<Self::Record>>;

    /// What tells which records were written; `None` where repeated passes are all that is needed.
    fn feed(store: &Arc<Self::Store>) -> Option<Box<dyn WriteFeed<Self::Record>>>;

    /// Merges one of the primary's records into the shadow.
    async fn bring(
        primary: &Self::Store,
        shadow: &Self::Store,
        record: Self::Record,
    ) -> Result<Brought>;
}

/// How dead letters name what they are about.
#[derive(Debug)]
pub struct LetterNames<K> {
    /// Begins their own names, on the shadow.
    pub prefix: &'static str,
    /// The key as operators see it.
    pub shown: fn(&K) -> &str,
    /// The key that operators were shown.
    pub parse: fn(&str) -> Result<K>,
}

impl<K> LetterNames<K> {
    /// The letter about the record that operators know as `shown`.
    fn letter(&self, shown: &str) -> Result<LedgerKey> {
        records::named_key(self.prefix, shown)
    }
}

/// What became of a record that was brought to the shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// It was new there.
    New,
    /// The shadow had it, or had it newer.
    Known,
    /// It, or one that was in its way, was of another history on the shadow, which has the primary's now.
    Replaced,
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
    /// All that was written before this request, and before all earlier ones, is on the shadow, unless it was refused.
    pub(crate) served: u64,
    /// Of a store with a feed: everything up to this place is on the shadow, unless it was refused. `None` before the first pass.
    #[serde(default)]
    pub(crate) position: Option<PositionBody>,
    /// What the primary's mark said when the place was reached.
    #[serde(default)]
    pub(crate) mark: u64,
    /// How often the place was not one of the primary's history any more.
    #[serde(default)]
    pub(crate) history_lost: u64,
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
    /// This process reads the primary's feed.
    pub(crate) follows: AtomicBool,
    pub(crate) applied: AtomicU64,
    pub(crate) known: AtomicU64,
    pub(crate) replaced: AtomicU64,
    rate: Rate,
}

impl SweepCounts {
    fn count(&self, brought: Brought) {
        let counter = match brought {
            Brought::New => &self.applied,
            Brought::Known => &self.known,
            Brought::Replaced => &self.replaced,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn report(&self) -> ReplicatedStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = [&self.applied, &self.known, &self.replaced].map(read);
        let [applied, known, lineage] = counts;
        let per_second = self.rate.measured(counts.iter().sum());
        ReplicatedStatus { applied, known, lineage, per_second }
    }
}

/// What keeps the shadow of such a route up to date.
pub struct SweptReplication<K: Swept> {
    strategy: String,
    pub(crate) primary: Arc<K::Store>,
    primary_ledger: Arc<dyn Ledger>,
    /// The primary's.
    feed: Option<Box<dyn WriteFeed<K::Record>>>,
    pub(crate) link: Arc<ShadowLink<K::Store>>,
    pub(crate) outbox: Outbox,
    counts: SweepCounts,
    /// Told when somebody asks to catch up in this process: its holder need not look first.
    asked: Notify,
    stopped: watch::Sender<bool>,
    pub(crate) options: ReplicationOptions,
}

impl<K: Swept> SweptReplication<K> {
    /// Begins to open the shadow and to compete for replicating to it; waits for neither. Must be called within a runtime.
    pub fn start(
        strategy: impl Into<String>,
        primary: Arc<K::Store>,
        primary_ledger: Arc<dyn Ledger>,
        shadow: Arc<dyn ShadowOpener>,
        options: ReplicationOptions,
    ) -> Arc<Self> {
        let primary_id = primary_ledger.store_id();
        let replication = Arc::new(Self {
            strategy: strategy.into(),
            feed: K::feed(&primary),
            primary,
            primary_ledger,
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

    fn primary_id(&self) -> StoreId {
        self.primary_ledger.store_id()
    }
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
