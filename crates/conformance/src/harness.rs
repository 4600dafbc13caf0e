//! What the suite needs from whoever runs it.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{Backend, DocumentBackend, StoreKind};
use syntrix_storage_core::{
    Capabilities, DocumentAdmin, DocumentPath, DocumentStore, Error, ErrorKind, ManualClock,
    Result, Retention, StoreAdmin, TokenRevocationStore, UserStore,
};

/// Opens stores for the suite.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The backend's name, for the report only.
    fn name(&self) -> &str;

    /// What the backend claims to offer for `store`; `None` if it does not offer the store.
    fn capabilities(&self, store: StoreKind) -> Option<Capabilities>;

    /// Opens the one store that `setup` names in `namespace` (`[a-z0-9_]`, at most 32 characters), which comes into being with that.
    ///
    /// Opened again it has the same data: beside the first handle if the backend is
    /// [`shared`](Capabilities::shared), after the first one was closed if it is [`durable`](Capabilities::durable).
    /// Nothing runs in the background that purges or trims: the suite does that itself, by its own clock.
    async fn open(&self, namespace: &str, setup: &Setup) -> Result<Arc<dyn Handle>>;

    /// Removes a namespace and all that is in it. Its handles are closed. Removing what is not there does nothing.
    async fn remove(&self, namespace: &str) -> Result<()>;

    /// The namespaces that are still there.
    async fn leftovers(&self) -> Result<Vec<String>>;

    /// A block of the configuration that names this backend, as a flow mapping on one line, for example
    /// `{kind: mine, size: 3}`. Cases put it into a configuration of their own. It must not be empty.
    fn config_block(&self) -> String;

    /// Checks a configuration without opening anything and returns its warnings. `environment` is all there is of it.
    async fn check_config(&self, yaml: &str, environment: &[(&str, &str)]) -> Result<Vec<String>>;

    /// Opens what a configuration says, with data in a fresh folder that the harness removes in the end.
    async fn open_config(&self, yaml: &str) -> Result<Arc<dyn Handle>>;
}

/// Open stores: the one that was asked for, or those of a configuration. The others answer `unsupported`.
#[async_trait]
pub trait Handle: Send + Sync {
    /// Documents, as applications see them.
    fn documents(&self) -> Result<Arc<dyn DocumentStore>>;

    /// Documents, as operators see them.
    fn admin(&self) -> Result<Arc<dyn DocumentAdmin>>;

    /// Accounts, as applications see them.
    fn users(&self) -> Result<Arc<dyn UserStore>>;

    /// Revoked tokens, as applications see them.
    fn revocations(&self) -> Result<Arc<dyn TokenRevocationStore>>;

    /// Accounts or revoked tokens, as operators see them.
    fn store_admin(&self, store: StoreKind) -> Result<Arc<dyn StoreAdmin>>;

    /// The one backend under the open store, for the cases about what routes use of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if there are several or the harness does not show it; then those cases do not apply.
    fn backend(&self) -> Result<Arc<dyn Backend>> {
        Err(Error::new(ErrorKind::Unsupported, "conformance")
            .with_message("the harness does not show the backend under its stores"))
    }

    /// The route of the documents, for the cases about both of its databases.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if they lie on one database alone, or the harness does not show them; then those cases do not
    /// apply. [`ErrorKind::Unavailable`] if the shadow was not reached.
    fn route(&self) -> Result<Arc<dyn Route>> {
        Err(Error::new(ErrorKind::Unsupported, "conformance")
            .with_message("the harness shows no route of the documents"))
    }

    /// Closes the stores and everything under them.
    async fn close(&self) -> Result<()>;
}

/// Documents on a primary and a shadow, which is filled.
#[async_trait]
pub trait Route: Send + Sync {
    /// The database that decides, from below the route: who writes here knows of no shadow.
    fn primary(&self) -> Arc<dyn DocumentBackend>;

    /// The database that follows, from below the route: who writes here does damage.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if nobody may: it is a replica that its own database feeds. Then cases that look there do not apply.
    fn shadow(&self) -> Result<Arc<dyn DocumentBackend>>;

    /// Whether reads that need not see the last commit are the shadow's to answer.
    fn reads_shadow(&self) -> bool;

    /// How many records of the shadow were replaced since this was opened though they were no older than the primary's: they were of
    /// another history, or somebody wrote them who may not.
    ///
    /// # Errors
    ///
    /// What either side says.
    async fn lineage(&self) -> Result<u64>;

    /// Returns when the shadow has everything that was written before this call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if it does not come to that in a time that the harness thinks fit.
    async fn drain(&self) -> Result<()>;

    /// Every document that differs, in any order: data, version, times or tombstone mark. However old, a tombstone counts. What was
    /// written before is there.
    ///
    /// # Errors
    ///
    /// As [`Route::drain`], and what either side says.
    async fn verify(&self) -> Result<Vec<Difference>>;

    /// Makes the shadow's document at `path` the primary's; `false` if they were the same.
    ///
    /// # Errors
    ///
    /// What either side says.
    async fn repair(&self, path: &DocumentPath) -> Result<bool>;

    /// Stops following: what is written from now on is on the shadow only when the route was opened again, which fills it anew.
    ///
    /// # Errors
    ///
    /// What either side says.
    async fn drop_route(&self) -> Result<()>;
}

/// A document that is not the same on both sides of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Where.
    pub path: DocumentPath,
    /// What is wrong.
    pub kind: DifferenceKind,
}

/// How a document's two sides are not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// The shadow lacks it.
    Missing,
    /// The shadow has it, or a version of it, that the primary never had.
    Extra,
    /// The shadow has an older version.
    Stale,
    /// Both have the same version; data, times or tombstone mark differ.
    Different,
    /// It changed each time it was looked at.
    Unsettled,
}

/// How a case wants its store.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which store to open.
    pub store: StoreKind,
    /// The time of writes, retention and purge.
    pub clock: ManualClock,
    /// How long tombstones and changes stay.
    pub retention: Retention,
    /// Whether the backend's fast paths are used; the outcome must be the same.
    pub fast_paths: bool,
}

impl Setup {
    /// What a case of `store` gets that asks for nothing: a clock at [`Setup::START_MS`], 30 days and 72 hours, fast paths on.
    pub fn new(store: StoreKind) -> Self {
        let clock = ManualClock::starting_at(Self::START_MS);
        Self { store, clock, retention: Retention::default(), fast_paths: true }
    }

    /// Where the clock of every case starts: 2023-11-14, in milliseconds.
    pub const START_MS: i64 = 1_700_000_000_000;
}
