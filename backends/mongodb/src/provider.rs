//! From a configured block to an open backend.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Backend, BackendFactory, BackendProvider, DocumentBackend, Ledger, OpenContext,
    RevocationBackend, StoreSet, UserBackend,
};
use syntrix_storage_core::{Result, SettingsNode};

use crate::documents::Documents;
use crate::ledger::DatabaseLedger;
use crate::namespace;
use crate::revocations::Revocations;
use crate::secondaries::read_only;
use crate::settings::Settings;
use crate::store::{Lease, Store};
use crate::users::Users;
use crate::{KIND, connect};

/// Makes providers from blocks of kind `mongo`.
#[derive(Debug)]
pub(crate) struct MongoFactory;

impl BackendFactory for MongoFactory {
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
        Ok(Box::new(MongoProvider { settings: Settings::parse(block)? }))
    }
}

#[derive(Debug)]
struct MongoProvider {
    settings: Settings,
}

#[async_trait]
impl BackendProvider for MongoProvider {
    /// Blocks that differ in anything that documents show are backends of their own; they share the connections all the same.
    fn connection_key(&self) -> String {
        let Settings {
            db,
            data_collection,
            sys_collection,
            soft_delete_retention,
            watch_retention,
            before_images,
            operation_timeout,
            ..
        } = &self.settings;
        let server = connect::fingerprint(&self.settings);
        format!(
            "{KIND}:{server}:{db}:{data_collection}:{sys_collection}:{soft_delete_retention}:{watch_retention}:\
             {before_images}:{operation_timeout}"
        )
    }

    async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Backend>> {
        let store = Store::open(&self.settings, context).await?;
        Ok(Arc::new(MongoBackend { store: Arc::new(store) }))
    }

    async fn remove_namespace(&self, context: &OpenContext) -> Result<()> {
        namespace::remove(&self.settings, context).await
    }
}

/// An open database.
#[derive(Debug)]
struct MongoBackend {
    store: Arc<Store>,
}

impl MongoBackend {
    fn lease(&self) -> Lease {
        Lease::new(Arc::clone(&self.store))
    }

    fn writable(&self) -> Result<()> {
        match self.store.is_native_replica() {
            false => Ok(()),
            true => Err(read_only().in_operation("open")),
        }
    }
}

#[async_trait]
impl Backend for MongoBackend {
    fn documents(&self) -> Result<Arc<dyn DocumentBackend>> {
        Ok(Arc::new(Documents::new(self.lease())))
    }

    fn users(&self) -> Result<Arc<dyn UserBackend>> {
        self.writable()?;
        let mark = self.store.marks.users()?;
        Ok(Arc::new(Users::new(self.lease(), mark)))
    }

    fn revocations(&self) -> Result<Arc<dyn RevocationBackend>> {
        self.writable()?;
        let mark = self.store.marks.revocations()?;
        Ok(Arc::new(Revocations::new(self.lease(), mark)))
    }

    fn ledger(&self) -> Result<Arc<dyn Ledger>> {
        Ok(Arc::new(DatabaseLedger::new(Arc::clone(&self.store))))
    }

    fn is_native_replica(&self) -> bool {
        self.store.is_native_replica()
    }

    /// The last store's close did it already if all ran; doing it twice is harmless.
    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}
