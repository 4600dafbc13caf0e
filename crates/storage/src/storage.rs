//! An open storage: the three stores behind one configuration.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use syntrix_storage_core::backend::{Backend, StoreKind};
use syntrix_storage_core::{
    AuthStore, DocumentAdmin, DocumentStore, Error, ErrorKind, HealthReport, PurgeReport, Result,
    TokenRevocationStore, UserStore,
};
use syntrix_storage_engine::DocumentEngine;
use tokio::sync::OnceCell;

use crate::config::StorageConfig;
use crate::indexes::Indexes;

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
    documents: Option<Arc<DocumentEngine>>,
    backends: Backends,
    /// Set by the first `close`; later ones wait for it.
    closed: OnceCell<()>,
}

/// Open backends by connection, so that stores on one server share what is open.
#[derive(Debug, Default)]
pub(crate) struct Backends(pub(crate) HashMap<String, Arc<dyn Backend>>);

impl Backends {
    pub(crate) async fn close(&self) -> Result<()> {
        let mut first_error = Ok(());
        for backend in self.0.values() {
            let closed = backend.close().await;
            first_error = first_error.and(closed);
        }
        first_error
    }
}

impl Storage {
    /// Opens the documents in the SQLite file `storage.db` in `data_dir`; both are created when missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] or [`ErrorKind::ConfigInvalid`] if the file cannot be used; it is left as it was.
    pub async fn open_embedded(data_dir: impl AsRef<Path>) -> Result<Self> {
        Self::from_config(StorageConfig::embedded(data_dir)).await
    }

    /// Opens documents in memory, gone when the last clone is closed.
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
        let (documents, backends) = config.open().await?;
        Ok(Self(Arc::new(Inner { documents, backends, closed: OnceCell::new() })))
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
    /// [`ErrorKind::Unsupported`]: this release has none.
    pub fn users(&self) -> Result<Arc<dyn UserStore>> {
        Err(absent(StoreKind::Users))
    }

    /// The revoked tokens.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`]: this release has none.
    pub fn revocations(&self) -> Result<Arc<dyn TokenRevocationStore>> {
        Err(absent(StoreKind::Revocations))
    }

    /// Accounts and revoked tokens together.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`]: this release has neither.
    pub fn auth(&self) -> Result<Arc<dyn AuthStore>> {
        Err(absent(StoreKind::Users))
    }

    /// Removes up to `limit` tombstones whose retention is over.
    ///
    /// # Errors
    ///
    /// As the store's operations.
    pub async fn purge_expired(&self, limit: usize) -> Result<PurgeReport> {
        self.engine()?.purge_expired(limit).await
    }

    /// How each open store is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] after `close`.
    pub async fn health(&self) -> Result<Vec<HealthReport>> {
        match &self.0.documents {
            Some(documents) => Ok(vec![documents.health().await?]),
            None => Ok(Vec::new()),
        }
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

    async fn close_all(&self) -> Result<()> {
        let stores = match &self.0.documents {
            Some(documents) => documents.close().await,
            None => Ok(()),
        };
        stores.and(self.0.backends.close().await)
    }

    fn engine(&self) -> Result<Arc<DocumentEngine>> {
        self.0.documents.clone().ok_or_else(|| absent(StoreKind::Documents))
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Storage")
            .field("documents", &self.0.documents)
            .finish_non_exhaustive()
    }
}

pub(crate) fn absent(store: StoreKind) -> Error {
    Error::new(ErrorKind::Unsupported, "open")
        .with_message("this store is not open: the configuration has no section for it")
        .with_fact("store", store.as_str())
        .with_fact("section", store.section())
}
