//! The open stores of one configuration, and what concerns all of them.

use std::sync::Arc;

use serde::Serialize;
use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{
    AuthStore, Capabilities, DocumentAdmin, DocumentStore, HealthReport, PurgeReport, Result,
    StoreAdmin, TokenRevocationStore, UserStore,
};
use syntrix_storage_engine::{DocumentEngine, RevocationEngine, UserEngine};
use syntrix_storage_routing::{DocumentReplication, RecordRoute, RouteControl};

/// What the configuration has a section for.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    pub(crate) documents: Option<Arc<DocumentEngine>>,
    pub(crate) users: Option<Arc<UserEngine>>,
    pub(crate) revocations: Option<Arc<RevocationEngine>>,
    /// The documents' way to their shadow, if they have one.
    pub(crate) document_route: Option<Arc<DocumentReplication>>,
    /// The accounts' and the revoked tokens' ways to their shadows, for who compares them.
    pub(crate) record_routes: Vec<(StoreKind, Arc<dyn RecordRoute>)>,
    /// Of stores with a shadow.
    pub(crate) routes: Vec<(StoreKind, Arc<dyn RouteControl>)>,
}

/// How one open store is, and what its backend offers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreHealth {
    /// Which store.
    pub store: StoreKind,
    /// How it is.
    #[serde(flatten)]
    pub report: HealthReport,
    /// What its backend offers.
    pub capabilities: Capabilities,
}

impl Stores {
    pub(crate) async fn health(&self) -> Result<Vec<StoreHealth>> {
        let mut all = Vec::new();
        if let Some(documents) = &self.documents {
            let (store, capabilities) = (StoreKind::Documents, documents.capabilities());
            all.push(StoreHealth { store, report: documents.health().await?, capabilities });
        }
        for (store, admin) in self.admins() {
            let capabilities = admin.capabilities();
            all.push(StoreHealth { store, report: admin.health().await?, capabilities });
        }
        Ok(all)
    }

    /// Up to `limit` records of each store; the first failure is the answer, after all had their turn.
    pub(crate) async fn purge_expired(&self, limit: usize) -> Result<PurgeReport> {
        let (mut sum, mut first_error) = (PurgeReport::default(), Ok(()));
        let mut add = |report: Result<PurgeReport>| match report {
            Ok(report) => {
                sum.purged += report.purged;
                sum.more |= report.more;
            }
            Err(error) if first_error.is_ok() => first_error = Err(error),
            Err(_) => {}
        };
        if let Some(documents) = &self.documents {
            add(documents.purge_expired(limit).await);
        }
        for (_, admin) in self.admins() {
            add(admin.purge_expired(limit).await);
        }
        first_error.map(|()| sum)
    }

    /// Closes all; the first failure is the answer.
    pub(crate) async fn close(&self) -> Result<()> {
        let mut result = Ok(());
        if let Some(documents) = &self.documents {
            result = documents.close().await;
        }
        if let Some(users) = &self.users {
            result = result.and(users.close().await);
        }
        if let Some(revocations) = &self.revocations {
            result = result.and(revocations.close().await);
        }
        result
    }

    pub(crate) fn route(&self, store: StoreKind) -> Option<Arc<dyn RouteControl>> {
        let mut routes = self.routes.iter();
        routes.find(|(routed, _)| *routed == store).map(|(_, route)| Arc::clone(route))
    }

    pub(crate) fn record_route(&self, store: StoreKind) -> Option<Arc<dyn RecordRoute>> {
        let mut routes = self.record_routes.iter();
        routes.find(|(routed, _)| *routed == store).map(|(_, route)| Arc::clone(route))
    }

    pub(crate) fn admin(&self, store: StoreKind) -> Option<Arc<dyn StoreAdmin>> {
        match store {
            StoreKind::Documents => None,
            StoreKind::Users => Some(Arc::clone(self.users.as_ref()?) as _),
            StoreKind::Revocations => Some(Arc::clone(self.revocations.as_ref()?) as _),
        }
    }

    fn admins(&self) -> impl Iterator<Item = (StoreKind, Arc<dyn StoreAdmin>)> {
        StoreKind::ALL.into_iter().filter_map(|store| Some((store, self.admin(store)?)))
    }
}

/// Both stores of identity.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) users: Arc<UserEngine>,
    pub(crate) revocations: Arc<RevocationEngine>,
}

impl AuthStore for Auth {
    fn users(&self) -> Arc<dyn UserStore> {
        Arc::clone(&self.users) as _
    }

    fn revocations(&self) -> Arc<dyn TokenRevocationStore> {
        Arc::clone(&self.revocations) as _
    }
}
