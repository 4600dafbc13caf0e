//! The route of a document store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Applied, CallContext, DocumentBackend, Feed, FeedPage, Ledger, Write,
};
use syntrix_storage_core::{
    Capabilities, Document, DocumentPath, HealthReport, IndexDefinition, IndexStatus, Operation,
    Position, PurgeReport, QueryPlan, Result, Retention, ScanRequest, Timestamp, TokenSeal,
};

use crate::plan::{Strategy, Target};
use crate::replication::DocumentReplication;
use crate::replicator::purge;

/// The future of a backend's call.
type Answer<'call, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'call>>;

/// A document backend made of a primary, a strategy and, in strategies that use one, a shadow.
#[derive(Debug)]
pub struct DocumentRoute {
    strategy: Box<dyn Strategy>,
    primary: Arc<dyn DocumentBackend>,
    /// Where another process's route may have pinned the tombstones.
    ledger: Option<Arc<dyn Ledger>>,
    replication: Option<Arc<DocumentReplication>>,
}

impl DocumentRoute {
    /// A route to `primary` alone. `ledger` is the primary's, if it has one: while another process has a shadow for the
    /// same data, it says that tombstones must stay.
    pub fn single(primary: Arc<dyn DocumentBackend>, ledger: Option<Arc<dyn Ledger>>) -> Self {
        Self { strategy: Box::new(crate::Single), primary, ledger, replication: None }
    }

    /// A route to `primary` whose writes reach the shadow of `replication` too.
    pub fn dual_write(
        primary: Arc<dyn DocumentBackend>,
        replication: Arc<DocumentReplication>,
    ) -> Self {
        let strategy = Box::new(crate::DualWrite { reads: crate::ReadFrom::Primary });
        Self { strategy, primary, ledger: None, replication: Some(replication) }
    }

    /// What takes a copy of the writes of `operation`.
    fn mirror(&self, operation: Operation) -> Option<&DocumentReplication> {
        self.strategy.plan(operation).mirror.and(self.replication.as_deref())
    }

    /// In a task of its own: the shadow's indexes are nothing that a caller waits for.
    fn copy_indexes(&self) {
        if let Some(replication) = self.replication.clone() {
            tokio::spawn(async move { replication.copy_indexes().await });
        }
    }

    /// The database whose answer the caller gets.
    fn authority(&self, operation: Operation) -> &dyn DocumentBackend {
        match (self.strategy.plan(operation).authority, &self.replication) {
            (Target::Shadow, Some(replication)) => {
                replication.link().get().map_or(&*self.primary, |shadow| &*shadow.store)
            }
            _ => &*self.primary,
        }
    }
}

#[async_trait]
impl DocumentBackend for DocumentRoute {
    fn kind(&self) -> &'static str {
        self.primary.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.primary.capabilities()
    }

    fn retention(&self) -> Retention {
        self.primary.retention()
    }

    fn token_seal(&self) -> &TokenSeal {
        self.primary.token_seal()
    }

    // By hand what the attribute makes of an `async fn`, but for a future of its own around the authority's: reads are
    // the calls that are cheap enough for one more allocation to show.
    fn get<'route, 'path, 'context, 'read>(
        &'route self,
        path: &'path DocumentPath,
        context: &'context CallContext,
    ) -> Answer<'read, Option<Document>>
    where
        'route: 'read,
        'path: 'read,
        'context: 'read,
    {
        self.authority(context.operation).get(path, context)
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<Vec<Option<Document>>> {
        self.authority(context.operation).get_many(paths, context).await
    }

    async fn write(&self, writes: Vec<Write>, context: &CallContext) -> Vec<Result<Applied>> {
        let outcomes = self.authority(context.operation).write(writes, context).await;
        match self.mirror(context.operation) {
            Some(replication) => replication.mirror(outcomes).await,
            None => outcomes,
        }
    }

    fn query<'route, 'plan, 'context, 'read>(
        &'route self,
        plan: &'plan QueryPlan,
        context: &'context CallContext,
    ) -> Answer<'read, Vec<Document>>
    where
        'route: 'read,
        'plan: 'read,
        'context: 'read,
    {
        self.authority(context.operation).query(plan, context)
    }

    async fn query_with_position(
        &self,
        plan: &QueryPlan,
        context: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)> {
        self.authority(context.operation).query_with_position(plan, context).await
    }

    async fn scan(&self, request: &ScanRequest, context: &CallContext) -> Result<Vec<Document>> {
        self.authority(context.operation).scan(request, context).await
    }

    async fn feed(&self, from: &Feed, until: Option<&Position>, limit: usize) -> Result<FeedPage> {
        self.authority(Operation::Watch).feed(from, until, limit).await
    }

    async fn feed_end(&self) -> Result<(Position, Timestamp)> {
        self.authority(Operation::Watch).feed_end().await
    }

    async fn wait_for_change(&self, position: &Position, timeout: Duration) -> Result<()> {
        self.authority(Operation::Watch).wait_for_change(position, timeout).await
    }

    async fn trim_feed(&self, before: Timestamp, limit: usize) -> Result<usize> {
        if let Some(replication) = &self.replication {
            replication.trim_shadow(before, limit);
        }
        self.authority(Operation::Purge).trim_feed(before, limit).await
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        match (&self.replication, &self.ledger) {
            (Some(replication), _) => replication.purge(before, limit).await,
            (None, Some(ledger)) if purge::pin(&**ledger).await?.is_some() => {
                tracing::debug!("tombstones are kept: another process has a shadow for these data");
                Ok(PurgeReport::default())
            }
            (None, _) => self.authority(Operation::Purge).purge(before, limit).await,
        }
    }

    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        self.authority(Operation::Schema).list_indexes().await
    }

    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        self.authority(Operation::Schema).create_index(index).await?;
        self.copy_indexes();
        Ok(())
    }

    async fn drop_index(&self, name: &str) -> Result<bool> {
        let dropped = self.authority(Operation::Schema).drop_index(name).await?;
        self.copy_indexes();
        Ok(dropped)
    }

    async fn health(&self) -> Result<HealthReport> {
        self.authority(Operation::Health).health().await
    }

    async fn close(&self) -> Result<()> {
        let replication = match &self.replication {
            Some(replication) => replication.close().await,
            None => Ok(()),
        };
        self.primary.close().await.and(replication)
    }
}
