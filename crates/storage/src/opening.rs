//! Makes the stores of a checked configuration: an engine each, over the route that the configuration names.

use std::sync::Arc;

use syntrix_storage_core::backend::{
    Access, Backend, OpenContext, RevocationBackend, StoreKind, UserBackend,
};
use syntrix_storage_core::{Result, TokenRevocationStore as _, UserStore as _};
use syntrix_storage_engine::{DocumentEngine, RevocationEngine, UserEngine};
use syntrix_storage_registry::{Mirror, Reads, Route, StoragePlan, Strategy};
use syntrix_storage_routing::{
    Accounts, DocumentReplication, DocumentRoute, MirrorMode, NativeReplica, ReadFrom,
    ReplicationOptions, RevocationRoute, Swept, SweptReplication, Tokens, UserRoute,
    export_metrics,
};

use crate::config::{StorageConfig, primary};
use crate::open::{Backends, Shadow, no_block};
use crate::stores::Stores;

/// One opening of a configuration.
pub(crate) struct Opening<'config> {
    config: &'config StorageConfig,
    plan: Arc<StoragePlan>,
    context: OpenContext,
    backends: Arc<Backends>,
    stores: Stores,
}

impl<'config> Opening<'config> {
    pub(crate) fn new(
        config: &'config StorageConfig,
        plan: Arc<StoragePlan>,
        context: OpenContext,
        backends: Arc<Backends>,
    ) -> Self {
        Self { config, plan, context, backends, stores: Stores::default() }
    }

    /// Opens what is wanted. Those first that can fail: a route begins to work in the background when it is made.
    pub(crate) async fn stores(mut self) -> Result<Stores> {
        let options = self.config.engine_options();
        if let Some(backend) = self.backend(StoreKind::Users).await? {
            let engine = UserEngine::start(self.users(&*backend)?, &options);
            engine.ensure_indexes().await?;
            self.stores.users = Some(Arc::new(engine));
        }
        if let Some(backend) = self.backend(StoreKind::Revocations).await? {
            let engine = RevocationEngine::start(self.revocations(&*backend)?, &options);
            engine.ensure_indexes().await?;
            self.stores.revocations = Some(Arc::new(engine));
        }
        if let Some(backend) = self.backend(StoreKind::Documents).await? {
            let route = self.documents(&*backend)?;
            self.stores.documents = Some(Arc::new(DocumentEngine::start(Arc::new(route), options)));
        }
        for (_, route) in &self.stores.routes {
            export_metrics(route, self.config.replication.metrics_interval);
        }
        Ok(self.stores)
    }

    /// The primary's backend; `None` if the configuration has no section for the store or it is not wanted.
    async fn backend(&self, store: StoreKind) -> Result<Option<Arc<dyn Backend>>> {
        let Some(section) = self.plan.store(store).filter(|_| self.config.wants(store)) else {
            return Ok(None);
        };
        self.backends.open(primary(section)?, &self.context).await.map(Some)
    }

    fn documents(&mut self, backend: &dyn Backend) -> Result<DocumentRoute> {
        let (primary, route) = (backend.documents()?, self.route(StoreKind::Documents)?);
        let (native, make): (_, fn(_, _, _, _) -> _) = match route.strategy {
            Strategy::Single => return Ok(DocumentRoute::single(primary, backend.ledger().ok())),
            Strategy::DualWrite => (NativeReplica::Refused, DocumentRoute::dual_write),
            Strategy::ReadReplica => (NativeReplica::Read, DocumentRoute::read_replica),
        };
        let replication = DocumentReplication::start(
            route.strategy.as_str(),
            Arc::clone(&primary),
            backend.ledger()?,
            self.shadow(StoreKind::Documents, shadow_access(route.strategy)),
            native,
            self.replication_options(&route),
        );
        self.stores.routes.push((StoreKind::Documents, Arc::clone(&replication) as _));
        self.stores.document_route = Some(Arc::clone(&replication));
        Ok(make(primary, replication, read_from(route.reads), self.config.read_rules.clone()))
    }

    fn users(&mut self, backend: &dyn Backend) -> Result<Arc<dyn UserBackend>> {
        let primary = backend.users()?;
        Ok(match self.swept::<Accounts>(&primary, backend)? {
            Some(replication) => {
                self.stores.record_routes.push((StoreKind::Users, Arc::clone(&replication) as _));
                Arc::new(UserRoute::dual_write(primary, replication))
            }
            None => primary,
        })
    }

    fn revocations(&mut self, backend: &dyn Backend) -> Result<Arc<dyn RevocationBackend>> {
        let primary = backend.revocations()?;
        Ok(match self.swept::<Tokens>(&primary, backend)? {
            Some(replication) => {
                let route = (StoreKind::Revocations, Arc::clone(&replication) as _);
                self.stores.record_routes.push(route);
                Arc::new(RevocationRoute::dual_write(primary, replication))
            }
            None => primary,
        })
    }

    /// What keeps the shadow of accounts or revoked tokens up to date; `None` without a shadow.
    fn swept<K: Swept>(
        &mut self,
        primary: &Arc<K::Store>,
        backend: &dyn Backend,
    ) -> Result<Option<Arc<SweptReplication<K>>>> {
        let route = self.route(K::STORE)?;
        if route.strategy == Strategy::Single {
            return Ok(None);
        }
        let replication = SweptReplication::start(
            route.strategy.as_str(),
            Arc::clone(primary),
            backend.ledger()?,
            self.shadow(K::STORE, Access::Write),
            self.replication_options(&route),
        );
        self.stores.routes.push((K::STORE, Arc::clone(&replication) as _));
        Ok(Some(replication))
    }

    fn route(&self, store: StoreKind) -> Result<Route> {
        Ok(self.plan.store(store).ok_or_else(no_block)?.route.clone())
    }

    /// What opens a store's shadow, when it can be reached.
    fn shadow(&self, store: StoreKind, access: Access) -> Arc<Shadow> {
        Arc::new(Shadow {
            plan: Arc::clone(&self.plan),
            store,
            context: self.context.clone().with_access(access),
            backends: Arc::clone(&self.backends),
        })
    }

    fn replication_options(&self, route: &Route) -> ReplicationOptions {
        let mirror = match route.mirror {
            Mirror::Background => MirrorMode::Background,
            Mirror::Wait => MirrorMode::Wait,
        };
        self.config.replication.clone().with_mirror(mirror)
    }
}

/// Whether a shadow may be a native replica.
pub(crate) const fn shadow_access(strategy: Strategy) -> Access {
    match strategy {
        Strategy::ReadReplica => Access::Replica,
        Strategy::Single | Strategy::DualWrite => Access::Write,
    }
}

const fn read_from(reads: Reads) -> ReadFrom {
    match reads {
        Reads::Primary => ReadFrom::Primary,
        Reads::Shadow => ReadFrom::Shadow,
        Reads::Both => ReadFrom::Both,
    }
}
