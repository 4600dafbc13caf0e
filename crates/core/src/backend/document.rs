//! The thin backend behind a document store.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::backend::Watermark;
use crate::capabilities::Capabilities;
use crate::document::{Body, Document, Version};
use crate::document_admin::{HealthReport, IndexStatus, PurgeReport, ScanRequest};
use crate::document_store::WriteResult;
use crate::error::Result;
use crate::index::IndexDefinition;
use crate::operation::Operation;
use crate::options::Consistency;
use crate::path::DocumentPath;
use crate::plan::QueryPlan;
use crate::retention::Retention;
use crate::session::SeenWrite;
use crate::time::Timestamp;
use crate::token::{Position, TokenSeal};
use crate::watch::EventType;

/// What a call is, for whoever routes it, and when it must be over.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct CallContext {
    /// What the call does.
    pub operation: Operation,
    /// How fresh a read must be.
    pub consistency: Consistency,
    /// When the caller stops waiting; a backend that can should stop the server's work too.
    pub deadline: Option<Instant>,
    /// What a native replica must have reached before it reads. Only routes set it.
    pub not_before: Option<Watermark>,
}

impl CallContext {
    /// A call without a deadline.
    pub const fn new(operation: Operation) -> Self {
        Self { operation, consistency: Consistency::Session, deadline: None, not_before: None }
    }

    /// Sets the deadline.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how fresh a read must be.
    #[must_use]
    pub const fn with_consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Sets what a native replica must have reached.
    #[must_use]
    pub const fn with_not_before(mut self, watermark: Option<Watermark>) -> Self {
        self.not_before = watermark;
        self
    }
}

/// One conditional write of one record. It is applied as a whole or not at all, together with its change-log entry.
#[derive(Clone, Debug)]
pub enum Write {
    /// Stores the document if nothing has its key. Event: create.
    Insert(Document),
    /// Stores the document if what is there, live or tombstone, has the version `expected`.
    /// Event: delete if the new one is a tombstone, create if the old one is, else update.
    Replace {
        /// The version that must be there.
        expected: Version,
        /// What to store.
        document: Document,
    },
    /// Fast path, only with [`Capabilities::replace_live`]: replaces what is there if it is live, one version later, as
    /// [`Document::replaced`] or [`Document::tombstone`] would. Equal in outcome to a read and a `Replace`.
    ReplaceLive {
        /// Which document.
        path: DocumentPath,
        /// The version that must be there, if any will not do.
        expected: Option<Version>,
        /// The new data; `None` deletes.
        body: Option<Body>,
        /// The time of the write.
        now: Timestamp,
    },
    /// Replication: stores the document as it is if its version is higher than what is there or nothing is there.
    ApplyIfNewer(Document),
}

impl Write {
    /// The document it writes.
    pub fn path(&self) -> &DocumentPath {
        match self {
            Self::Insert(document)
            | Self::Replace { document, .. }
            | Self::ApplyIfNewer(document) => document.path(),
            Self::ReplaceLive { path, .. } => path,
        }
    }
}

/// What became of a [`Write`].
#[derive(Clone, Debug)]
pub enum Applied {
    /// It was applied and left this document.
    Yes(Document),
    /// As `Yes`, and the shadow of the route does not have it yet. Only a route says this, and only if it was to wait.
    ShadowPending(Document),
    /// Its condition did not hold; this is what is there, live or tombstone.
    No(Option<Document>),
}

impl Applied {
    /// What the caller of the write is told; else what is there.
    ///
    /// # Errors
    ///
    /// The document that is there if the write was not applied.
    pub fn written(self) -> std::result::Result<WriteResult, Option<Document>> {
        match self {
            Self::Yes(document) => Ok(WriteResult::new(document)),
            Self::ShadowPending(document) => Ok(WriteResult::new(document).with_shadow_pending()),
            Self::No(current) => Err(current),
        }
    }
}

/// One entry of the change log.
#[derive(Clone, Debug)]
pub struct Change {
    /// What happened.
    pub event_type: EventType,
    /// The document after it.
    pub document: Document,
    /// The document before it, live ones only.
    pub before: Option<Document>,
    /// When it was committed; never decreasing along the log.
    pub commit_time: Timestamp,
    /// The place behind it.
    pub position: Position,
}

/// Where to read the feed from.
#[derive(Clone, Debug)]
pub enum Feed {
    /// The oldest change still kept.
    Oldest,
    /// Behind a place.
    After(Position),
}

/// Some changes in order.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// The changes.
    pub changes: Vec<Change>,
    /// The place behind the last change, or the asked one if there was none. A transaction never spans it.
    pub end: Position,
    /// Whether more changes are there already.
    pub more: bool,
}

/// A place for documents: stores and finds, decides nothing.
///
/// Reads compare the stored path with the asked one ([`check_stored_path`](crate::check_stored_path)). Errors carry a kind
/// from the backend's own table of driver codes. Every method may be cancelled between any two polls.
///
/// A native replica (a standby, secondaries) reads only what is not older than [`CallContext::not_before`], and finds out as a part of
/// the read: there may be several behind one address. If it is not that far, the read fails with
/// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed); if it is none of this database (any more), with
/// [`ErrorKind::ConfigInvalid`](crate::ErrorKind::ConfigInvalid).
#[async_trait]
pub trait DocumentBackend: Send + Sync + std::fmt::Debug {
    /// The kind in the configuration, for example `sqlite`.
    fn kind(&self) -> &'static str;

    /// What it offers.
    fn capabilities(&self) -> Capabilities;

    /// How long tombstones and changes stay, as configured.
    fn retention(&self) -> Retention;

    /// What seals the resume tokens of this store, from its metadata row.
    fn token_seal(&self) -> &TokenSeal;

    /// Reads one record, live or tombstone.
    async fn get(&self, path: &DocumentPath, context: &CallContext) -> Result<Option<Document>>;

    /// Reads records in the order of `paths`, which may repeat.
    ///
    /// A native replica is asked for no path at all to learn whether it is one of the primary's, and has what
    /// [`CallContext::not_before`] names: it must look, and fail as any read of its would.
    async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<Vec<Option<Document>>>;

    /// Runs writes in order; each has its own outcome, and none gets another one's error.
    async fn write(&self, writes: Vec<Write>, context: &CallContext) -> Vec<Result<Applied>>;

    /// Answers a plan: at most [`QueryPlan::rows_max`] documents in its order.
    async fn query(&self, plan: &QueryPlan, context: &CallContext) -> Result<Vec<Document>>;

    /// As `query`, together with the place in the feed that the same snapshot ends at, and its commit time.
    async fn query_with_position(
        &self,
        plan: &QueryPlan,
        context: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)>;

    /// Reads records by path, at most `request.limit` of them.
    async fn scan(&self, request: &ScanRequest, context: &CallContext) -> Result<Vec<Document>>;

    /// Reads the change log: at most `limit` changes, and none behind `until`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TokenExpired`](crate::ErrorKind::TokenExpired) if changes behind the place were trimmed, or the place is
    /// not in this history.
    async fn feed(&self, from: &Feed, until: Option<&Position>, limit: usize) -> Result<FeedPage>;

    /// The place behind the last committed change, and that change's commit time.
    async fn feed_end(&self) -> Result<(Position, Timestamp)>;

    /// Returns when there may be changes behind `position`, at the latest after `timeout`.
    async fn wait_for_change(&self, position: &Position, timeout: Duration) -> Result<()>;

    /// Removes changes committed before `before`, at most `limit`; returns how many.
    async fn trim_feed(&self, before: Timestamp, limit: usize) -> Result<usize>;

    /// Removes tombstones last written before `before`, at most `limit`. Writes no change.
    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport>;

    /// Declared indexes, with whether they are usable.
    async fn list_indexes(&self) -> Result<Vec<IndexStatus>>;

    /// Declares and builds an index; does nothing if it is there.
    async fn create_index(&self, index: &IndexDefinition) -> Result<()>;

    /// Drops an index; `false` if there was none.
    async fn drop_index(&self, name: &str) -> Result<bool>;

    /// A place behind everything that was acknowledged or read here before this call, which native replicas can be held against.
    /// `None`, which is what a backend says that does not implement this, if it has none that could.
    async fn watermark(&self) -> Result<Option<Watermark>> {
        Ok(None)
    }

    /// Makes reads of [`Consistency::Session`] see `write` from now on, whoever made it. `false`, which is what a backend says
    /// that does not implement this, if it remembers nothing: then the caller has to look where the write is.
    fn keep_to(&self, _write: &SeenWrite) -> bool {
        false
    }

    /// Probes the backend.
    async fn health(&self) -> Result<HealthReport>;

    /// Lets go of everything. Idempotent: a caller may give up and close again.
    async fn close(&self) -> Result<()>;
}
