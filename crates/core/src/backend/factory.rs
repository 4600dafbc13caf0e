//! How backends come into being: a factory per kind, a provider per configured block, a backend per open store.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use crate::backend::{DocumentBackend, Ledger, RevocationBackend, UserBackend};
use crate::error::{Error, ErrorKind, Result};
use crate::settings::SettingsNode;
use crate::time::{Clock, SystemClock};

/// The three stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// JSON documents.
    Documents,
    /// User accounts.
    Users,
    /// Revoked tokens.
    Revocations,
}

impl StoreKind {
    /// Every store.
    pub const ALL: [Self; 3] = [Self::Documents, Self::Users, Self::Revocations];

    /// `documents`, `users` or `revocations`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::Users => "users",
            Self::Revocations => "revocations",
        }
    }

    /// The error of a backend of `kind` that does not offer this store.
    pub fn unsupported(self, kind: &'static str) -> Error {
        Error::new(ErrorKind::Unsupported, "open")
            .with_message("this backend does not offer the store; choose another one for it")
            .with_fact("backend", kind)
            .with_fact("store", self.as_str())
    }

    /// The store's section in the configuration: `document`, `user` or `revocation`.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Documents => "document",
            Self::Users => "user",
            Self::Revocations => "revocation",
        }
    }
}

/// Which stores a backend offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSet {
    /// Offers documents.
    pub documents: bool,
    /// Offers users.
    pub users: bool,
    /// Offers revocations.
    pub revocations: bool,
}

impl StoreSet {
    /// Whether `store` is offered.
    pub const fn contains(self, store: StoreKind) -> bool {
        match store {
            StoreKind::Documents => self.documents,
            StoreKind::Users => self.users,
            StoreKind::Revocations => self.revocations,
        }
    }
}

/// A kind of backend: the one public item of a backend crate makes one of these.
pub trait BackendFactory: Send + Sync + std::fmt::Debug {
    /// The kind in the configuration.
    fn kind(&self) -> &'static str;

    /// Which stores it offers.
    fn stores(&self) -> StoreSet;

    /// JSON Schema of one block, from the type that parses it.
    fn settings_schema(&self) -> serde_json::Value;

    /// Checks a block. No I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConfigInvalid`] with the place of the fault.
    fn configure(&self, block: &SettingsNode) -> Result<Box<dyn BackendProvider>>;
}

/// A configured block, ready to be opened.
#[async_trait]
pub trait BackendProvider: Send + Sync + std::fmt::Debug {
    /// Blocks with equal keys name the same server and share what one of them opens. Contains no secret.
    fn connection_key(&self) -> String;

    /// Opens the backend and makes sure that its schema is there.
    async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Backend>>;

    /// Removes everything in `context`'s namespace, which must be set and closed. A native replica, if the access allows one, loses it by
    /// its primary, which is waited for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if a replica still has it after some seconds.
    async fn remove_namespace(&self, context: &OpenContext) -> Result<()>;
}

/// An open backend; hands out the stores it offers.
#[async_trait]
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// The documents.
    ///
    /// # Errors
    ///
    /// [`StoreKind::unsupported`] if it has none.
    fn documents(&self) -> Result<Arc<dyn DocumentBackend>>;

    /// The accounts.
    ///
    /// # Errors
    ///
    /// [`StoreKind::unsupported`] if it has none.
    fn users(&self) -> Result<Arc<dyn UserBackend>>;

    /// The revoked tokens.
    ///
    /// # Errors
    ///
    /// [`StoreKind::unsupported`] if it has none.
    fn revocations(&self) -> Result<Arc<dyn RevocationBackend>>;

    /// Where routes keep their own records beside the data.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if it has no such place, which is what a backend says that does not implement this: it can
    /// stand alone, but take no part in a route with a shadow.
    fn ledger(&self) -> Result<Arc<dyn Ledger>> {
        Err(Error::new(ErrorKind::Unsupported, "open").with_message(
            "this backend keeps no ledger, so it can be neither primary nor shadow of a route",
        ))
    }

    /// Whether it is a native replica, which its own database feeds and which is read alone. It can be one only if it was opened
    /// with [`Access::Replica`].
    fn is_native_replica(&self) -> bool {
        false
    }

    /// Lets go of everything shared by the stores. Closing a store leaves the others of the same backend open.
    async fn close(&self) -> Result<()>;
}

/// What will be done with an open backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// It is read and written; what is missing is created. A server that only replicates another one is refused.
    #[default]
    Write,
    /// As `Write`, but a native replica is opened too, to be read alone.
    Replica,
}

/// What a backend needs to know when it is opened.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct OpenContext {
    /// Where relative paths in a block start.
    pub data_dir: PathBuf,
    /// Keeps the data apart from the configured one; `None` is the configured one. `[a-z0-9_]`, at most 32.
    pub namespace: Option<String>,
    /// The time for backends that have none of their own.
    pub clock: Arc<dyn Clock>,
    /// What will be done with it.
    pub access: Access,
}

impl OpenContext {
    /// The configured data under `data_dir`, with the machine's clock.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let (clock, access) = (Arc::new(SystemClock), Access::Write);
        Self { data_dir: data_dir.into(), namespace: None, clock, access }
    }

    /// Sets the clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets what will be done with it.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The namespace to remove.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if there is none: the configured data is never removed.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::backend::OpenContext;
    ///
    /// assert!(OpenContext::new("data").removable_namespace().is_err());
    /// assert_eq!(OpenContext::new("data").with_namespace("test_1")?.removable_namespace()?, "test_1");
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn removable_namespace(&self) -> Result<&str> {
        self.namespace.as_deref().ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "remove_namespace")
                .with_message("only a namespace can be removed, not the configured data")
        })
    }

    /// Sets the namespace.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if it is not of the form above.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::backend::OpenContext;
    ///
    /// assert!(OpenContext::new("data").with_namespace("test_1").is_ok());
    /// assert!(OpenContext::new("data").with_namespace("Test").is_err());
    /// ```
    pub fn with_namespace(mut self, namespace: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if namespace.is_empty() || namespace.len() > 32 || !namespace.bytes().all(allowed) {
            return Err(Error::new(ErrorKind::InvalidArgument, "open")
                .with_message("a namespace has 1 to 32 characters of a-z, 0-9 and _"));
        }
        self.namespace = Some(namespace.to_owned());
        Ok(self)
    }
}
