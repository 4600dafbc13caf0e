//! A whole backend that fails on purpose, as a kind of its own beside the one it wraps.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Backend, BackendFactory, BackendProvider, DocumentBackend, Ledger, OpenContext,
    RevocationBackend, StoreSet, UserBackend,
};
use syntrix_storage_core::{Result, SettingsNode};

use super::{Faults, FaultyDocuments, FaultyRevocations, FaultyUsers};

/// A [`BackendFactory`] whose stores meet [`Faults`]. Opening and removing are those of the wrapped backend.
///
/// Register it beside the others and name its kind in the configuration: its blocks have the wrapped backend's settings.
#[derive(Debug)]
pub struct FaultyFactory {
    kind: &'static str,
    inner: Box<dyn BackendFactory>,
    faults: Faults,
}

impl FaultyFactory {
    /// Wraps `inner` under the name `kind`.
    pub fn new(kind: &'static str, inner: Box<dyn BackendFactory>, faults: Faults) -> Self {
        Self { kind, inner, faults }
    }
}

impl BackendFactory for FaultyFactory {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn stores(&self) -> StoreSet {
        self.inner.stores()
    }

    fn settings_schema(&self) -> serde_json::Value {
        self.inner.settings_schema()
    }

    fn configure(&self, block: &SettingsNode) -> Result<Box<dyn BackendProvider>> {
        let inner = self.inner.configure(block)?;
        Ok(Box::new(FaultyProvider { kind: self.kind, inner, faults: self.faults.clone() }))
    }
}

#[derive(Debug)]
struct FaultyProvider {
    kind: &'static str,
    inner: Box<dyn BackendProvider>,
    faults: Faults,
}

#[async_trait]
impl BackendProvider for FaultyProvider {
    /// Another one than the wrapped backend's, which must not be handed out in our place.
    fn connection_key(&self) -> String {
        format!("{} over {}", self.kind, self.inner.connection_key())
    }

    async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Backend>> {
        let inner = self.inner.open(context).await?;
        Ok(Arc::new(FaultyBackend { inner, faults: self.faults.clone() }))
    }

    async fn remove_namespace(&self, context: &OpenContext) -> Result<()> {
        self.inner.remove_namespace(context).await
    }
}

#[derive(Debug)]
struct FaultyBackend {
    inner: Arc<dyn Backend>,
    faults: Faults,
}

#[async_trait]
impl Backend for FaultyBackend {
    fn documents(&self) -> Result<Arc<dyn DocumentBackend>> {
        Ok(Arc::new(FaultyDocuments::new(self.inner.documents()?, self.faults.clone())))
    }

    fn users(&self) -> Result<Arc<dyn UserBackend>> {
        Ok(Arc::new(FaultyUsers::new(self.inner.users()?, self.faults.clone())))
    }

    fn revocations(&self) -> Result<Arc<dyn RevocationBackend>> {
        Ok(Arc::new(FaultyRevocations::new(self.inner.revocations()?, self.faults.clone())))
    }

    fn ledger(&self) -> Result<Arc<dyn Ledger>> {
        self.inner.ledger()
    }

    fn is_native_replica(&self) -> bool {
        self.inner.is_native_replica()
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
