//! The document backend over an open database: which call runs where.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Applied, CallContext, DocumentBackend, Feed, FeedPage, Watermark, Write,
};
use syntrix_storage_core::{
    Capabilities, Document, DocumentPath, Error, HealthReport, IndexDefinition, IndexStatus,
    Position, PurgeReport, QueryPlan, Result, Retention, ScanRequest, Timestamp, TokenSeal,
};

use crate::calls::{Caller, Limit};
use crate::error::{closed, lost, timed_out};
use crate::server::Topology;
use crate::store::{Lease, Store};
use crate::{KIND, indexes, maintenance, reads, secondaries, writes};

/// Longest build of an index that a call waits for; the server goes on by itself.
const BUILD_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// The documents of one database.
#[derive(Debug)]
pub(crate) struct Documents {
    lease: Lease,
}

impl Documents {
    pub(crate) fn new(lease: Lease) -> Self {
        Self { lease }
    }

    fn store(&self) -> Result<Arc<Store>> {
        self.lease.store().cloned()
    }

    fn limit(&self, context: &CallContext) -> Limit {
        Limit::new(context, self.lease.known().operation_timeout)
    }

    fn longest(&self) -> Limit {
        Limit::within(self.lease.known().operation_timeout)
    }
}

#[async_trait]
impl DocumentBackend for Documents {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn capabilities(&self) -> Capabilities {
        let store = self.lease.known();
        let watch = store.changes().is_ok();
        let mut capabilities = Capabilities::NONE;
        capabilities.durable = true;
        capabilities.watch = watch;
        capabilities.durable_watch = watch;
        capabilities.before = store.before;
        capabilities.shared = true;
        capabilities
    }

    fn retention(&self) -> Retention {
        self.lease.known().retention
    }

    fn token_seal(&self) -> &TokenSeal {
        &self.lease.known().seal
    }

    async fn get(&self, path: &DocumentPath, context: &CallContext) -> Result<Option<Document>> {
        let (store, limit) = (self.lease.store()?, self.limit(context));
        limit.wait(reads::get(store, path, context, limit)).await
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<Vec<Option<Document>>> {
        let (store, limit) = (self.lease.store()?, self.limit(context));
        limit.wait(reads::get_many(store, paths, context, limit)).await
    }

    async fn write(&self, writes: Vec<Write>, context: &CallContext) -> Vec<Result<Applied>> {
        let count = writes.len();
        let all = |error: fn() -> Error| (0..count).map(|_| Err(error())).collect();
        let Ok(store) = self.store() else { return all(closed) };
        let (limit, caller) = (self.limit(context), Caller::new());
        let patience = caller.patience(limit);
        let task = tokio::spawn(async move { writes::apply_all(&store, writes, &patience).await });
        let waited = tokio::time::timeout(limit.left(), task).await;
        drop(caller);
        match waited {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(_)) => all(lost),
            // The task goes on with what was sent, which may still be applied, and sends no more.
            Err(_) => all(timed_out),
        }
    }

    async fn query(&self, plan: &QueryPlan, context: &CallContext) -> Result<Vec<Document>> {
        let (store, limit) = (self.lease.store()?, self.limit(context));
        limit.wait(reads::query(store, plan, context, limit)).await
    }

    async fn query_with_position(
        &self,
        plan: &QueryPlan,
        context: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)> {
        let (store, limit) = (self.lease.store()?, self.limit(context));
        let changes = store.changes()?;
        let (documents, time) = limit.wait(reads::query_at(store, plan, limit)).await?;
        let (position, commit_time) = changes.behind(time);
        Ok((documents, position, commit_time))
    }

    async fn scan(&self, request: &ScanRequest, context: &CallContext) -> Result<Vec<Document>> {
        let (store, limit) = (self.lease.store()?, self.limit(context));
        limit.wait(reads::scan(store, request, context, limit)).await
    }

    async fn feed(&self, from: &Feed, until: Option<&Position>, limit: usize) -> Result<FeedPage> {
        self.lease.store()?.changes()?.feed(from, until, limit).await
    }

    async fn feed_end(&self) -> Result<(Position, Timestamp)> {
        self.lease.store()?.changes()?.end().await
    }

    async fn wait_for_change(&self, position: &Position, timeout: Duration) -> Result<()> {
        self.lease.store()?.changes()?.wait(position, timeout).await
    }

    async fn trim_feed(&self, before: Timestamp, limit: usize) -> Result<usize> {
        // A server without a change stream keeps no history that could be trimmed.
        let Ok(changes) = self.lease.store()?.changes() else { return Ok(0) };
        changes.trim(before, limit).await
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        let store = self.store()?;
        self.longest().run(async move { maintenance::purge(&store, before, limit).await }).await
    }

    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        let store = self.lease.store()?;
        self.longest().wait(indexes::list(store)).await
    }

    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        let (store, index) = (self.store()?, index.clone());
        let create = async move { indexes::create(&store, &index).await };
        Limit::within(BUILD_TIME_MAX).run(create).await
    }

    async fn drop_index(&self, name: &str) -> Result<bool> {
        let (store, name) = (self.store()?, name.to_owned());
        self.longest().run(async move { indexes::remove(&store, &name).await }).await
    }

    async fn watermark(&self) -> Result<Option<Watermark>> {
        let store = self.lease.store()?;
        if store.topology == Topology::Standalone {
            return Ok(None);
        }
        self.longest().wait(secondaries::watermark(store)).await
    }

    async fn health(&self) -> Result<HealthReport> {
        let store = self.lease.store()?;
        self.longest().wait(maintenance::health(store)).await
    }

    async fn close(&self) -> Result<()> {
        self.lease.release().await
    }
}
