//! An open storage: the three stores behind one configuration.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{
    AuthStore, DocumentAdmin, DocumentStore, Error, ErrorKind, PurgeReport, Result, StoreAdmin,
    TokenRevocationStore, UserStore,
};
use syntrix_storage_engine::{DocumentEngine, RevocationEngine, UserEngine};
use syntrix_storage_routing::{DocumentReplication, RecordRoute, RouteControl};
use tokio::sync::OnceCell;

use crate::config::StorageConfig;
use crate::indexes::Indexes;
use crate::open::Backends;
use crate::stores::{Auth, StoreHealth, Stores};

/// The stores of one application. Cheap to clone; clones share everything, also being closed.
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
/// let path = DocumentPath::parse("rooms/lobby")?;
/// documents.create(&path, json!({"topic": "rust"}), Default::default()).await?;
/// assert_eq!(documents.get(&path, Default::default()).await?.value()?["topic"], "rust");
/// storage.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    stores: Stores,
    backends: Arc<Backends>,
    /// Set by the first `close`; later ones wait for it.
    closed: OnceCell<()>,
}

impl Storage {
    /// Opens documents, accounts and revoked tokens in the SQLite file `storage.db` in `data_dir`; both are created when missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::ConfigInvalid`] if the file cannot be used; it is left as it was.
    pub async fn open_embedded(data_dir: impl AsRef<Path>) -> Result<Self> {
        Self::from_config(StorageConfig::embedded(data_dir)).await
    }

    /// Opens the three stores in memory, gone when the last clone is closed.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub async fn memory() -> Result<Self> {
        Self::from_config(StorageConfig::memory()).await
    }

    /// Opens what `config` says. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConfigInvalid`] with file, line and remedy before anything is opened; else what the backend says. When one
    /// backend cannot be opened, the others are closed again.
    pub async fn from_config(config: StorageConfig) -> Result<Self> {
        let (stores, backends) = config.open().await?;
        Ok(Self(Arc::new(Inner { stores, backends, closed: OnceCell::new() })))
    }

    /// The documents.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the configuration has no section `document`.
    pub fn documents(&self) -> Result<Arc<dyn DocumentStore>> {
        Ok(self.engine()?)
    }

    /// The documents, as operators and tools see them.
    ///
    /// # Errors
    ///
    /// As [`Storage::documents`].
    pub fn document_admin(&self) -> Result<Arc<dyn DocumentAdmin>> {
        Ok(self.engine()?)
    }

    /// The composite indexes of the documents.
    ///
    /// # Errors
    ///
    /// As [`Storage::documents`].
    pub fn indexes(&self) -> Result<Indexes> {
        Ok(Indexes::new(self.document_admin()?))
    }

    /// The accounts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the configuration has no section `user`.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{NewUser, Secret, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// let ada = users.create_user(ada, Default::default()).await?;
    /// assert_eq!(users.get_user_by_username("ADA", Default::default()).await?.id, ada.id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn users(&self) -> Result<Arc<dyn UserStore>> {
        Ok(self.user_engine()?)
    }

    /// The revoked tokens.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the configuration has no section `revocation`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use syntrix_storage::{Clock, Storage, SystemClock, TokenId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let revocations = storage.revocations()?;
    /// let token = TokenId::parse("9b1d")?;
    /// let expires_at = SystemClock.now().saturating_add(Duration::from_secs(900));
    /// revocations.revoke_token(&token, expires_at, Default::default()).await?;
    /// let grace = Duration::from_secs(30);
    /// assert!(!revocations.is_revoked(&token, grace, Default::default()).await?);
    /// revocations.revoke_token_immediate(&token, expires_at, Default::default()).await?;
    /// assert!(revocations.is_revoked(&token, grace, Default::default()).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn revocations(&self) -> Result<Arc<dyn TokenRevocationStore>> {
        Ok(self.revocation_engine()?)
    }

    /// Accounts and revoked tokens together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the configuration lacks either.
    pub fn auth(&self) -> Result<Arc<dyn AuthStore>> {
        Ok(Arc::new(Auth { users: self.user_engine()?, revocations: self.revocation_engine()? }))
    }

    /// The accounts or revoked tokens, as operators and tools see them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the configuration has no section for the store. Documents have
    /// [`Storage::document_admin`].
    pub fn store_admin(&self, store: StoreKind) -> Result<Arc<dyn StoreAdmin>> {
        self.0.stores.admin(store).ok_or_else(|| absent(store))
    }

    /// The route of a store with a shadow, as operators and tools see it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the configuration has no section for the store, or routes it to one database alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use serde_json::json;
    /// use syntrix_storage::backend::StoreKind;
    /// use syntrix_storage::{DocumentPath, Storage, StorageConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let text = "
    /// storage:
    ///   document:
    ///     backend: main
    ///     main: {kind: memory}
    ///     other: {kind: memory}
    ///   routing:
    ///     document: {strategy: dual-write, shadow: other}
    /// ";
    /// let storage = Storage::from_config(StorageConfig::from_yaml(text, "storage.yaml")).await?;
    /// let path = DocumentPath::parse("rooms/lobby")?;
    /// storage.documents()?.create(&path, json!({"topic": "rust"}), Default::default()).await?;
    ///
    /// let route = storage.routing(StoreKind::Documents)?;
    /// route.drain(Duration::from_secs(10)).await?;
    /// assert!(route.status().await?.filled);
    /// # storage.close().await
    /// # }
    /// ```
    pub fn routing(&self, store: StoreKind) -> Result<Arc<dyn RouteControl>> {
        self.0.stores.route(store).ok_or_else(|| no_route(store))
    }

    /// The documents' way to their shadow, for tools that compare and repair it.
    ///
    /// # Errors
    ///
    /// As [`Storage::routing`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use serde_json::json;
    /// use syntrix_storage::routing::{Depth, VerifyOptions};
    /// use syntrix_storage::{DocumentPath, Storage, StorageConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let text = "
    /// storage:
    ///   document:
    ///     backend: main
    ///     main: {kind: memory}
    ///     other: {kind: memory}
    ///   routing:
    ///     document: {strategy: dual-write, shadow: other}
    /// ";
    /// let storage = Storage::from_config(StorageConfig::from_yaml(text, "storage.yaml")).await?;
    /// let path = DocumentPath::parse("rooms/lobby")?;
    /// storage.documents()?.create(&path, json!({"topic": "rust"}), Default::default()).await?;
    ///
    /// let options = VerifyOptions::default().with_depth(Depth::Deep);
    /// let mut print = |finding: syntrix_storage::routing::Finding| {
    ///     println!("{:?} {}", finding.verdict, finding.path);
    ///     Ok(())
    /// };
    /// let route = storage.document_route()?;
    /// let summary = route.verify(options, Duration::from_secs(10), &mut print).await?;
    /// assert!(summary.equal && summary.primary == summary.shadow);
    /// # storage.close().await
    /// # }
    /// ```
    pub fn document_route(&self) -> Result<Arc<DocumentReplication>> {
        let route = self.0.stores.document_route.clone();
        route.ok_or_else(|| no_route(StoreKind::Documents))
    }

    /// The accounts' or the revoked tokens' way to their shadow, for tools that compare and repair it.
    ///
    /// # Errors
    ///
    /// As [`Storage::routing`]. Documents have [`Storage::document_route`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use syntrix_storage::backend::StoreKind;
    /// use syntrix_storage::routing::{Depth, VerifyOptions};
    /// use syntrix_storage::{NewUser, Secret, Storage, StorageConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let text = "
    /// storage:
    ///   user:
    ///     backend: main
    ///     main: {kind: memory}
    ///     other: {kind: memory}
    ///   routing:
    ///     user: {strategy: dual-write, shadow: other}
    /// ";
    /// let storage = Storage::from_config(StorageConfig::from_yaml(text, "storage.yaml")).await?;
    /// let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// storage.users()?.create_user(ada, Default::default()).await?;
    ///
    /// let options = VerifyOptions::default().with_depth(Depth::Deep);
    /// let mut print = |finding: syntrix_storage::routing::RecordFinding| {
    ///     println!("{:?} {}", finding.verdict, finding.record);
    ///     Ok(())
    /// };
    /// let route = storage.record_route(StoreKind::Users)?;
    /// let summary = route.verify(options, Duration::from_secs(10), &mut print).await?;
    /// assert!(summary.equal && summary.compared == 1);
    /// # storage.close().await
    /// # }
    /// ```
    pub fn record_route(&self, store: StoreKind) -> Result<Arc<dyn RecordRoute>> {
        self.0.stores.record_route(store).ok_or_else(|| no_route(store))
    }

    /// Removes what is expired, up to `limit` records of each open store: tombstones and revocations.
    ///
    /// # Errors
    ///
    /// As the stores' operations.
    pub async fn purge_expired(&self, limit: usize) -> Result<PurgeReport> {
        self.0.stores.purge_expired(limit).await
    }

    /// How each open store is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] after `close`.
    pub async fn health(&self) -> Result<Vec<StoreHealth>> {
        self.0.stores.health().await
    }

    /// Closes the stores, then the backends under them. Idempotent; every later call is [`ErrorKind::Closed`].
    ///
    /// # Errors
    ///
    /// What the backend says; everything is closed all the same.
    pub async fn close(&self) -> Result<()> {
        let mut result = Ok(());
        self.0.closed.get_or_init(async || result = self.close_all().await).await;
        result
    }

    /// The backend under all stores, for the conformance suite; of a route the primary's.
    #[cfg(feature = "conformance")]
    pub(crate) fn first_backend(&self) -> Result<Arc<dyn syntrix_storage_core::backend::Backend>> {
        self.0.backends.first().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "conformance").with_message("no store is open")
        })
    }

    async fn close_all(&self) -> Result<()> {
        let stores = self.0.stores.close().await;
        stores.and(self.0.backends.close().await)
    }

    fn engine(&self) -> Result<Arc<DocumentEngine>> {
        self.0.stores.documents.clone().ok_or_else(|| absent(StoreKind::Documents))
    }

    fn user_engine(&self) -> Result<Arc<UserEngine>> {
        self.0.stores.users.clone().ok_or_else(|| absent(StoreKind::Users))
    }

    fn revocation_engine(&self) -> Result<Arc<RevocationEngine>> {
        self.0.stores.revocations.clone().ok_or_else(|| absent(StoreKind::Revocations))
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Storage").field("stores", &self.0.stores).finish_non_exhaustive()
    }
}

fn no_route(store: StoreKind) -> Error {
    Error::new(ErrorKind::Unsupported, "routing")
        .with_message("this store has no route with a shadow; see `storage.routing`")
        .with_fact("store", store.as_str())
}

pub(crate) fn absent(store: StoreKind) -> Error {
    Error::new(ErrorKind::Unsupported, "open")
        .with_message("this store is not open: the configuration has no section for it")
        .with_fact("store", store.as_str())
        .with_fact("section", store.section())
}
