//! From a configured block to an open backend.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Backend, BackendFactory, BackendProvider, DocumentBackend, Ledger, OpenContext,
    RevocationBackend, StoreKind, StoreSet, UserBackend,
};
use syntrix_storage_core::{Result, SettingsNode};

use crate::address::Target;
use crate::ledger::HashLedger;
use crate::revocations::Revocations;
use crate::settings::Settings;
use crate::store::{Lease, Store};
use crate::{KIND, namespace};

/// Makes providers from blocks of kind `redis`.
#[derive(Debug)]
pub(crate) struct RedisFactory;

impl BackendFactory for RedisFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn stores(&self) -> StoreSet {
        StoreSet { documents: false, users: false, revocations: true }
    }

    fn settings_schema(&self) -> serde_json::Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn configure(&self, block: &SettingsNode) -> Result<Box<dyn BackendProvider>> {
        let (settings, target) = Settings::parse(block)?;
        Ok(Box::new(RedisProvider { settings, target }))
    }
}

#[derive(Debug)]
struct RedisProvider {
    settings: Settings,
    target: Target,
}

#[async_trait]
impl BackendProvider for RedisProvider {
    fn connection_key(&self) -> String {
        // Blocks that use one server differently each get what they ask for, through connections of their own.
        let Settings { prefix, cluster, sentinel, tls, operation_timeout, connect_timeout, .. } =
            &self.settings;
        let (accepted, target) =
            ((self.settings.accept_eviction, self.settings.accept_volatile), &self.target);
        let replicas = (self.settings.replicas_min(), self.settings.replica_wait());
        let master = sentinel.as_ref().map(|sentinel| &sentinel.master);
        format!(
            "{KIND}:{}:{}:{prefix}:{:?}:{cluster}:{master:?}:{}:{tls:?}:{operation_timeout}:{connect_timeout}:{accepted:?}:{replicas:?}",
            target.in_words(),
            target.db,
            target.username,
            target.transport.is_encrypted(),
        )
    }

    async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Backend>> {
        let store = Store::open(&self.settings, &self.target, context).await?;
        Ok(Arc::new(RedisBackend { store: Arc::new(store) }))
    }

    async fn remove_namespace(&self, context: &OpenContext) -> Result<()> {
        namespace::remove(&self.settings, &self.target, context).await
    }
}

/// An open store and its connection.
#[derive(Debug)]
struct RedisBackend {
    store: Arc<Store>,
}

#[async_trait]
impl Backend for RedisBackend {
    fn documents(&self) -> Result<Arc<dyn DocumentBackend>> {
        Err(StoreKind::Documents.unsupported(KIND))
    }

    fn users(&self) -> Result<Arc<dyn UserBackend>> {
        Err(StoreKind::Users.unsupported(KIND))
    }

    fn revocations(&self) -> Result<Arc<dyn RevocationBackend>> {
        Ok(Arc::new(Revocations::new(Lease::new(&self.store))))
    }

    fn ledger(&self) -> Result<Arc<dyn Ledger>> {
        Ok(Arc::new(HashLedger::new(Arc::clone(&self.store))))
    }

    /// The last store's close did it already if it ran; doing it twice is harmless.
    async fn close(&self) -> Result<()> {
        self.store.link.close();
        Ok(())
    }
}
