//! From a configured block to an open backend.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Backend, BackendFactory, BackendProvider, DocumentBackend, Ledger, OpenContext,
    RevocationBackend, StoreSet, UserBackend,
};
use syntrix_storage_core::{Result, SettingsNode};

use crate::KIND;
use crate::connect::Target;
use crate::documents::Documents;
use crate::ledger::SchemaLedger;
use crate::namespace;
use crate::revocations::Revocations;
use crate::schema::lost_canary;
use crate::settings::Settings;
use crate::store::{Lease, Store};
use crate::users::Users;

/// Makes providers from blocks of kind `pg`.
#[derive(Debug)]
pub(crate) struct PostgresFactory;

impl BackendFactory for PostgresFactory {
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
        let settings = Settings::parse(block)?;
        let target = Target::parse(&settings, block)?;
        Ok(Box::new(PostgresProvider { settings, target }))
    }
}

#[derive(Debug)]
struct PostgresProvider {
    settings: Settings,
    target: Target,
}

#[async_trait]
impl BackendProvider for PostgresProvider {
    fn connection_key(&self) -> String {
        // Blocks that use one server differently each get what they ask for, through connections of their own.
        let Settings { schema, tls, pooler, pool_connections_max, read_connections, .. } =
            &self.settings;
        let Settings { acquire_timeout, connect_timeout, operation_timeout, .. } = &self.settings;
        format!(
            "{KIND}:{}:{schema}:{tls:?}:{pooler:?}:{pool_connections_max}:{read_connections}:{acquire_timeout}:{connect_timeout}:{operation_timeout}",
            self.target.key()
        )
    }

    async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Backend>> {
        let store = Store::open(self.target.clone(), &self.settings, context).await?;
        Ok(Arc::new(PostgresBackend { store: Arc::new(store) }))
    }

    async fn remove_namespace(&self, context: &OpenContext) -> Result<()> {
        namespace::remove(self.target.clone(), &self.settings, context).await
    }
}

/// An open schema.
#[derive(Debug)]
struct PostgresBackend {
    store: Arc<Store>,
}

impl PostgresBackend {
    fn lease(&self) -> Lease {
        Lease::new(Arc::clone(&self.store))
    }
}

#[async_trait]
impl Backend for PostgresBackend {
    fn documents(&self) -> Result<Arc<dyn DocumentBackend>> {
        Ok(Arc::new(Documents::new(self.lease())))
    }

    fn users(&self) -> Result<Arc<dyn UserBackend>> {
        self.store.primary()?;
        Ok(Arc::new(Users::new(self.lease())))
    }

    fn revocations(&self) -> Result<Arc<dyn RevocationBackend>> {
        self.store.primary()?;
        let canary = self.store.canary.ok_or_else(|| lost_canary(&self.store.schema))?;
        Ok(Arc::new(Revocations::new(self.lease(), canary)))
    }

    fn ledger(&self) -> Result<Arc<dyn Ledger>> {
        Ok(Arc::new(SchemaLedger::new(Arc::clone(&self.store))))
    }

    fn is_native_replica(&self) -> bool {
        self.store.is_native_replica()
    }

    /// The last store's close did it already if all ran; doing it twice is harmless.
    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}
