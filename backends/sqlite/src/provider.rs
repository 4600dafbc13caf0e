//! From a configured block to an open backend.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Backend, BackendFactory, BackendProvider, DocumentBackend, Ledger, OpenContext,
    RevocationBackend, StoreSet, UserBackend,
};
use syntrix_storage_core::{Result, SettingsNode};

use crate::KIND;
use crate::documents::Documents;
use crate::error::lost;
use crate::ledger::FileLedger;
use crate::revocations::Revocations;
use crate::settings::Settings;
use crate::store::{self, Lease, Store};
use crate::users::Users;

/// Makes providers from blocks of kind `sqlite`.
#[derive(Debug)]
pub(crate) struct SqliteFactory;

impl BackendFactory for SqliteFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn stores(&self) -> StoreSet {
        StoreSet { documents: true, users: true, revocations: true }
    }

    fn settings_schema(&self) -> serde_json::Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn configure(&self, block: &SettingsNode) -> Result<Box<dyn BackendProvider>> {
        Ok(Box::new(SqliteProvider { settings: Settings::parse(block)? }))
    }
}

#[derive(Debug)]
struct SqliteProvider {
    settings: Settings,
}

#[async_trait]
impl BackendProvider for SqliteProvider {
    fn connection_key(&self) -> String {
        // Blocks that use one file differently each get what they ask for, through connections of their own.
        let Settings { path, synchronous, inline_reads, readers_max, busy_timeout, .. } =
            &self.settings;
        format!(
            "{KIND}:{}:{synchronous:?}:{inline_reads}:{readers_max}:{busy_timeout}",
            path.display()
        )
    }

    async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Backend>> {
        let (settings, context) = (self.settings.clone(), context.clone());
        let open = move || Store::open(&settings, &context);
        let store = tokio::task::spawn_blocking(open).await.map_err(|_| lost())??;
        Ok(Arc::new(SqliteBackend { store: Arc::new(store) }))
    }

    async fn remove_namespace(&self, context: &OpenContext) -> Result<()> {
        let (settings, context) = (self.settings.clone(), context.clone());
        let remove = move || store::remove_namespace(&settings, &context);
        tokio::task::spawn_blocking(remove).await.map_err(|_| lost())?
    }
}

/// An open file.
#[derive(Debug)]
struct SqliteBackend {
    store: Arc<Store>,
}

impl SqliteBackend {
    fn lease(&self) -> Lease {
        Lease::new(Arc::clone(&self.store))
    }
}

#[async_trait]
impl Backend for SqliteBackend {
    fn documents(&self) -> Result<Arc<dyn DocumentBackend>> {
        Ok(Arc::new(Documents::new(self.lease())))
    }

    fn users(&self) -> Result<Arc<dyn UserBackend>> {
        Ok(Arc::new(Users::new(self.lease(), Arc::clone(&self.store.clock))))
    }

    fn revocations(&self) -> Result<Arc<dyn RevocationBackend>> {
        let clock = Arc::clone(&self.store.clock);
        Ok(Arc::new(Revocations::new(self.lease(), self.store.canary, clock)))
    }

    fn ledger(&self) -> Result<Arc<dyn Ledger>> {
        Ok(Arc::new(FileLedger::new(Arc::clone(&self.store))))
    }

    /// The last store's close did it already if all ran; doing it twice is harmless.
    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}
