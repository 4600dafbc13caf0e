//! The store of JSON documents, as applications see it.

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::document::{Document, Version};
use crate::error::{Error, ErrorKind, Reason, Result};
use crate::filter::Filter;
use crate::options::{BulkOptions, QueryOptions, ReadOptions, WriteOptions};
use crate::patch::Patch;
use crate::path::{CollectionPath, DocumentPath};
use crate::query::{Page, Query};
use crate::session::{SeenWrite, SessionToken};
use crate::watch::{WatchOptions, WatchStart, WatchStream};

/// Most items in one `get_many` or `bulk`.
pub const ITEMS_MAX: usize = 1000;

/// Keeps JSON documents under paths. Object safe: hold it as `Arc<dyn DocumentStore>`.
///
/// Every operation gives the same answer on every backend: the same result, order, cursor and error kind.
///
/// # Errors
///
/// Every operation may fail with [`ErrorKind::InvalidArgument`] before anything is read, with
/// [`ErrorKind::Unavailable`] or [`ErrorKind::Timeout`], and with [`ErrorKind::Closed`] after `close`.
///
/// # Cancellation
///
/// Every future may be dropped. A dropped read has no effect. A dropped write may or may not have been applied, but never
/// in part: read the version again, or repeat it with a precondition. A dropped `bulk` may have applied some items.
///
/// # Examples
///
/// An implementation comes from the facade crate `syntrix-storage`:
///
/// ```
/// use std::sync::Arc;
/// use serde_json::json;
/// use syntrix_storage_core::{DocumentPath, DocumentStore, Patch, Result};
///
/// async fn rename(store: &Arc<dyn DocumentStore>, path: &DocumentPath) -> Result<()> {
///     let renamed = store.patch(path, Patch::new().set("name", json!("lobby")), Default::default()).await?;
///     println!("now at version {}", renamed.version());
///     Ok(())
/// }
/// ```
#[async_trait]
pub trait DocumentStore: Send + Sync + std::fmt::Debug {
    /// Reads one document.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none or it is deleted.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage::{DocumentPath, ErrorKind, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// documents.create(&lobby, json!({"topic": "rust", "members": 1}), Default::default()).await?;
    /// let room = documents.get(&lobby, Default::default()).await?;
    /// assert_eq!(room.version().get(), 1);
    /// assert_eq!(room.value()?["topic"], "rust");
    ///
    /// let nowhere = DocumentPath::parse("rooms/nowhere")?;
    /// let error = documents.get(&nowhere, Default::default()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// # Ok(())
    /// # }
    /// ```
    async fn get(&self, path: &DocumentPath, options: ReadOptions) -> Result<Document>;

    /// Reads up to 1000 documents; the answers are in the order of `paths`, `None` where there is no live document.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage::{DocumentPath, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// documents.create(&lobby, json!({"topic": "rust", "members": 1}), Default::default()).await?;
    /// let nowhere = DocumentPath::parse("rooms/nowhere")?;
    /// let found = documents.get_many(&[nowhere, lobby], Default::default()).await?;
    /// assert!(found[0].is_none() && found[1].is_some());
    /// # Ok(())
    /// # }
    /// ```
    async fn get_many(
        &self,
        paths: &[DocumentPath],
        options: ReadOptions,
    ) -> Result<Vec<Option<Document>>>;

    /// Stores a new document. Over a tombstone its version continues; else it is 1.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyExists`] if a live document has the path, whatever its data.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage::{DocumentPath, ErrorKind, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// documents.create(&lobby, json!({"topic": "rust", "members": 1}), Default::default()).await?;
    /// let again = documents.create(&lobby, json!({}), Default::default()).await;
    /// assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
    /// # Ok(())
    /// # }
    /// ```
    async fn create(
        &self,
        path: &DocumentPath,
        data: Value,
        options: WriteOptions,
    ) -> Result<WriteResult>;

    /// Replaces a document's data as a whole.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], or [`ErrorKind::PreconditionFailed`] with the fact `version`.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage::{DocumentPath, ErrorKind, Filter, Storage, WriteOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// documents.create(&lobby, json!({"topic": "rust", "members": 1}), Default::default()).await?;
    /// // Only if it is still the version that was read.
    /// let seen = documents.get(&lobby, Default::default()).await?.version();
    /// let unchanged = || WriteOptions::default().with_precondition(Filter::version_is(seen));
    /// let written = documents.update(&lobby, json!({"topic": "sqlite"}), unchanged()).await?;
    /// assert_eq!(written.version().get(), 2);
    ///
    /// let late = documents.update(&lobby, json!({"topic": "redis"}), unchanged()).await.unwrap_err();
    /// assert_eq!(late.kind(), ErrorKind::PreconditionFailed);
    /// assert_eq!(late.fact("version"), Some("2"));
    /// # Ok(())
    /// # }
    /// ```
    async fn update(
        &self,
        path: &DocumentPath,
        data: Value,
        options: WriteOptions,
    ) -> Result<WriteResult>;

    /// Changes single fields and leaves the others as they are, also under concurrent patches of other fields.
    ///
    /// # Errors
    ///
    /// As `update`, and [`ErrorKind::PathConflict`] if a path leads through something that is not an object.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage::{DocumentPath, Patch, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// documents.create(&lobby, json!({"topic": "rust", "members": 1}), Default::default()).await?;
    /// let patch = Patch::new().set("members", json!(2)).set("owner.name", json!("ada")).remove("topic");
    /// let room = documents.patch(&lobby, patch, Default::default()).await?.document;
    /// assert_eq!(room.value()?, json!({"members": 2, "owner": {"name": "ada"}}));
    /// # Ok(())
    /// # }
    /// ```
    async fn patch(
        &self,
        path: &DocumentPath,
        patch: Patch,
        options: WriteOptions,
    ) -> Result<WriteResult>;

    /// Deletes a document: a tombstone without data stays for the configured retention.
    ///
    /// # Errors
    ///
    /// As `update`; deleting twice is [`ErrorKind::NotFound`].
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage::{DocumentPath, ErrorKind, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// documents.create(&lobby, json!({"topic": "rust", "members": 1}), Default::default()).await?;
    /// let tombstone = documents.delete(&lobby, Default::default()).await?.document;
    /// assert!(tombstone.is_deleted());
    /// let error = documents.get(&lobby, Default::default()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    ///
    /// // A revived document goes on counting.
    /// let revived = documents.create(&lobby, json!({}), Default::default()).await?;
    /// assert_eq!(revived.version().get(), 3);
    /// # Ok(())
    /// # }
    /// ```
    async fn delete(&self, path: &DocumentPath, options: WriteOptions) -> Result<WriteResult>;

    /// Reads one page of a collection.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::IndexRequired`] with the index to create, before anything is read.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage::{Direction, DocumentPath, Operator, Query, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// for number in 1..=3 {
    ///     let path = DocumentPath::parse(&format!("scores/{number}"))?;
    ///     documents.create(&path, json!({"points": number * 10}), Default::default()).await?;
    /// }
    /// let best = Query::new("scores")?
    ///     .filter("points", Operator::Greater, 10)?
    ///     .order_by("points", Direction::Descending)?
    ///     .limit(1);
    /// let first = documents.query(best.clone(), Default::default()).await?;
    /// assert_eq!(first.documents[0].path().as_str(), "scores/3");
    ///
    /// let next = first.next.expect("there is one more");
    /// let second = documents.query(best.after(next), Default::default()).await?;
    /// assert_eq!(second.documents[0].path().as_str(), "scores/2");
    /// assert!(second.next.is_none());
    /// # Ok(())
    /// # }
    /// ```
    async fn query(&self, query: Query, options: QueryOptions) -> Result<Page>;

    /// Follows the changes of one collection, or of all with `None`.
    ///
    /// The stream delivers every committed change after its start once and, per document, in version order. A reader that is
    /// slow is served from history and never dropped, while its place is within the watch retention. Network faults are
    /// retried inside. After the first error the stream ends.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TokenMalformed`], [`ErrorKind::TokenForeign`], [`ErrorKind::TokenExpired`] at once;
    /// [`ErrorKind::TokenExpired`] and [`ErrorKind::Closed`] also on the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::StreamExt;
    /// use serde_json::json;
    /// use syntrix_storage::{CollectionPath, DocumentPath, EventType, Storage, WatchStart};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// let rooms = CollectionPath::parse("rooms")?;
    /// let mut changes = documents.watch(Some(&rooms), WatchStart::Now, Default::default()).await?;
    ///
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// documents.create(&lobby, json!({"topic": "rust"}), Default::default()).await?;
    /// while let Some(item) = changes.next().await {
    ///     if let Some(event) = item?.into_event() {
    ///         assert_eq!(event.event_type, EventType::Create);
    ///         assert_eq!(event.document.path(), &lobby);
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    async fn watch(
        &self,
        collection: Option<&CollectionPath>,
        start: WatchStart,
        options: WatchOptions,
    ) -> Result<WatchStream>;

    /// Runs up to 1000 writes in order, each for itself; the results are in the order of `items`.
    ///
    /// It is no transaction: a failed item stops nothing and undoes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage::{BulkItem, DocumentPath, ErrorKind, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// let create = BulkItem::Create { path: lobby, data: json!({"topic": "rust"}) };
    /// let results = documents.bulk(vec![create.clone(), create], Default::default()).await?;
    /// assert_eq!(results[0].as_ref().unwrap().version().get(), 1);
    /// assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::AlreadyExists);
    /// # Ok(())
    /// # }
    /// ```
    async fn bulk(
        &self,
        items: Vec<BulkItem>,
        options: BulkOptions,
    ) -> Result<Vec<Result<WriteResult>>>;

    /// Ends watches, waits up to 5 s for calls in flight and lets go of the backend. Idempotent.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{DocumentPath, ErrorKind, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// documents.close().await?;
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// let error = documents.get(&lobby, Default::default()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Closed);
    /// # Ok(())
    /// # }
    /// ```
    async fn close(&self) -> Result<()>;
}

/// What a write left behind.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct WriteResult {
    /// The document as this write stored it; after a delete the tombstone.
    pub document: Document,
    /// Under `mirror: wait`, whether the shadow does not have the write yet; its change feed brings it. Nothing is lost, and
    /// the write must not be repeated.
    pub shadow_pending: bool,
    /// Whose version it is.
    store_id: [u8; 8],
}

impl WriteResult {
    /// The result of a write that stored `document`.
    pub fn new(document: Document) -> Self {
        Self { document, shadow_pending: false, store_id: [0; 8] }
    }

    /// The same result, told that the shadow does not have the write yet.
    #[must_use]
    pub fn with_shadow_pending(mut self) -> Self {
        self.shadow_pending = true;
        self
    }

    /// The same result, told which data it belongs to: [`TokenSeal::store_id`](crate::TokenSeal::store_id).
    #[must_use]
    pub fn of_store(mut self, store_id: [u8; 8]) -> Self {
        self.store_id = store_id;
        self
    }

    /// What another handle or process gives to a read that must not be older than this write.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::json;
    /// use syntrix_storage::{DocumentPath, ReadOptions, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// let token = documents.create(&lobby, json!({}), Default::default()).await?.session_token();
    /// let options = ReadOptions::default().with_session(token);
    /// assert_eq!(documents.get(&lobby, options).await?.version().get(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn session_token(&self) -> SessionToken {
        SessionToken::of(self.store_id, &SeenWrite::of(&self.document))
    }

    /// The version this write made.
    pub fn version(&self) -> Version {
        self.document.version()
    }
}

/// One write of a `bulk`.
#[derive(Clone, Debug, PartialEq)]
pub enum BulkItem {
    /// As [`DocumentStore::create`].
    Create {
        /// Where.
        path: DocumentPath,
        /// What.
        data: Value,
    },
    /// As [`DocumentStore::update`].
    Update {
        /// Where.
        path: DocumentPath,
        /// What.
        data: Value,
        /// Conditions that must all hold.
        preconditions: Vec<Filter>,
    },
    /// As [`DocumentStore::patch`].
    Patch {
        /// Where.
        path: DocumentPath,
        /// Which changes.
        patch: Patch,
        /// Conditions that must all hold.
        preconditions: Vec<Filter>,
    },
    /// As [`DocumentStore::delete`].
    Delete {
        /// Where.
        path: DocumentPath,
        /// Conditions that must all hold.
        preconditions: Vec<Filter>,
    },
}

impl BulkItem {
    /// The document it writes.
    pub fn path(&self) -> &DocumentPath {
        match self {
            Self::Create { path, .. }
            | Self::Update { path, .. }
            | Self::Patch { path, .. }
            | Self::Delete { path, .. } => path,
        }
    }
}

/// Conveniences over any [`DocumentStore`].
#[async_trait]
pub trait DocumentStoreExt: DocumentStore {
    /// Reads one document, `None` if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{DocumentPath, DocumentStoreExt, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// let nowhere = DocumentPath::parse("rooms/nowhere")?;
    /// assert!(documents.find(&nowhere).await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    async fn find(&self, path: &DocumentPath) -> Result<Option<Document>> {
        match self.get(path, ReadOptions::default()).await {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads one document's data as the caller's own type.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{DocumentPath, DocumentStoreExt, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    /// struct Room {
    ///     topic: String,
    /// }
    ///
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// let room = Room { topic: "rust".into() };
    /// documents.create_from(&lobby, &room).await?;
    /// assert_eq!(documents.get_as::<Room>(&lobby).await?, room);
    /// # Ok(())
    /// # }
    /// ```
    async fn get_as<T: DeserializeOwned>(&self, path: &DocumentPath) -> Result<T> {
        self.get(path, ReadOptions::default())
            .await?
            .decode()
            .map_err(|error| error.in_operation("get"))
    }

    /// Stores a new document from the caller's own type.
    ///
    /// # Errors
    ///
    /// As `create`, and [`Reason::DataNotObject`] if `data` has no JSON form.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{DocumentPath, DocumentStoreExt, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let documents = storage.documents()?;
    /// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    /// struct Room {
    ///     topic: String,
    /// }
    ///
    /// let lobby = DocumentPath::parse("rooms/lobby")?;
    /// let room = Room { topic: "rust".into() };
    /// documents.create_from(&lobby, &room).await?;
    /// assert_eq!(documents.get_as::<Room>(&lobby).await?, room);
    /// # Ok(())
    /// # }
    /// ```
    async fn create_from<T: Serialize + Sync>(
        &self,
        path: &DocumentPath,
        data: &T,
    ) -> Result<WriteResult> {
        let data = serde_json::to_value(data).map_err(|_| {
            Error::invalid("data", Reason::DataNotObject, "the value has no JSON form")
                .in_operation("create")
        })?;
        self.create(path, data, WriteOptions::default()).await
    }
}

impl<S: DocumentStore + ?Sized> DocumentStoreExt for S {}
