//! What operators and tools do with a document store beside reading and writing it.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::capabilities::Capabilities;
use crate::document::Document;
use crate::error::Result;
use crate::index::IndexDefinition;
use crate::path::CollectionPath;

/// Indexes, export, purge and health of one document store.
#[async_trait]
pub trait DocumentAdmin: Send + Sync + std::fmt::Debug {
    /// All declared indexes with their state.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let admin = storage.document_admin()?;
    /// assert!(admin.list_indexes().await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    async fn list_indexes(&self) -> Result<Vec<IndexStatus>>;

    /// Builds an index and returns when queries may use it. Creating one that exists does nothing.
    ///
    /// # Errors
    ///
    /// [`Reason::TooManyIndexes`](crate::Reason::TooManyIndexes) beyond 32.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{Direction, IndexDefinition, OrderBy, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let admin = storage.document_admin()?;
    /// let by_room = OrderBy::new("room", Direction::Ascending)?;
    /// let by_time = OrderBy::new("sentAt", Direction::Descending)?;
    /// let index = IndexDefinition::new("messages", vec![by_room, by_time])?;
    /// admin.create_index(&index).await?;
    /// let listed = admin.list_indexes().await?;
    /// assert!(listed[0].ready && listed[0].definition == index);
    /// # Ok(())
    /// # }
    /// ```
    async fn create_index(&self, index: &IndexDefinition) -> Result<()>;

    /// Removes an index by name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{Direction, IndexDefinition, OrderBy, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let admin = storage.document_admin()?;
    /// let by_room = OrderBy::new("room", Direction::Ascending)?;
    /// let by_time = OrderBy::new("sentAt", Direction::Descending)?;
    /// let index = IndexDefinition::new("messages", vec![by_room, by_time])?;
    /// admin.create_index(&index).await?;
    /// admin.drop_index(index.name()).await?;
    /// assert!(admin.list_indexes().await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    async fn drop_index(&self, name: &str) -> Result<()>;

    /// Reads a page of everything, tombstones included if asked, by path.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage::{CollectionPath, DocumentPath, ScanRequest, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let admin = storage.document_admin()?;
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// storage.documents()?.create(&lobby, json!({}), Default::default()).await?;
    ///
    /// let rooms = CollectionPath::parse("rooms")?;
    /// let page = admin.scan(ScanRequest::of(Some(rooms), false)).await?;
    /// assert_eq!(page.documents.len(), 1);
    /// assert!(page.next.is_none());
    /// # Ok(())
    /// # }
    /// ```
    async fn scan(&self, request: ScanRequest) -> Result<ScanPage>;

    /// Removes up to `limit` tombstones, and as many changes of the history, whose retention is over. No event tells of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let admin = storage.document_admin()?;
    /// let report = admin.purge_expired(1000).await?;
    /// assert!(report.purged == 0 && !report.more);
    /// # Ok(())
    /// # }
    /// ```
    async fn purge_expired(&self, limit: usize) -> Result<PurgeReport>;

    /// Whether the store answers, how fast, and what its operator should know. One that does not is `ready: false`, with
    /// the error as a fact.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let admin = storage.document_admin()?;
    /// let report = admin.health().await?;
    /// assert!(report.ready);
    /// assert_eq!(report.backend, "memory");
    /// # Ok(())
    /// # }
    /// ```
    async fn health(&self) -> Result<HealthReport>;

    /// What the backend behind the store offers.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let admin = storage.document_admin()?;
    /// assert!(admin.capabilities().watch);
    /// # Ok(())
    /// # }
    /// ```
    fn capabilities(&self) -> Capabilities;
}

/// An index and whether queries may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexStatus {
    /// The declaration.
    pub definition: IndexDefinition,
    /// Declared and built.
    pub ready: bool,
}

/// Which documents to scan, and from where.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct ScanRequest {
    /// Only this collection; everything if `None`.
    pub collection: Option<CollectionPath>,
    /// Whether collections below the documents of `collection` count too.
    pub recursive: bool,
    /// Whether tombstones count.
    pub show_deleted: bool,
    /// Continue behind this path.
    pub after: Option<String>,
    /// Most documents in the page, 1 to 1000; 0 means 1000.
    pub limit: usize,
}

impl ScanRequest {
    /// Everything below `collection`, or only its own documents.
    pub fn of(collection: Option<CollectionPath>, recursive: bool) -> Self {
        Self { collection, recursive, ..Self::default() }
    }
}

/// One page of a scan.
#[derive(Clone, Debug)]
pub struct ScanPage {
    /// The documents by path.
    pub documents: Vec<Document>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<String>,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PurgeReport {
    /// Tombstones removed.
    pub purged: usize,
    /// Whether there are more whose retention is over.
    pub more: bool,
}

/// How a store is.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthReport {
    /// The backend's kind.
    pub backend: String,
    /// Whether reads and writes work.
    pub ready: bool,
    /// How long the probe took.
    #[serde(rename = "latencyMs", serialize_with = "milliseconds")]
    pub latency: Duration,
    /// Facts for the operator: durability, format version, sizes, backlog.
    pub facts: Vec<(String, String)>,
}

impl HealthReport {
    /// A report of the backend `kind`.
    pub fn new(kind: impl Into<String>, ready: bool) -> Self {
        Self { backend: kind.into(), ready, latency: Duration::ZERO, facts: Vec::new() }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with_fact(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.facts.push((key.into(), value.to_string()));
        self
    }
}

fn milliseconds<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
}
