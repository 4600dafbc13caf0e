//! A backend around another one, whose reading of the feed a test takes over.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Applied, CallContext, DocumentBackend, Feed, FeedPage, OpenContext, Write,
};
use syntrix_storage_core::{
    Capabilities, Document, DocumentPath, HealthReport, IndexDefinition, IndexStatus, Location,
    Position, PurgeReport, QueryPlan, Result, Retention, ScanRequest, SettingsNode, SettingsValue,
    Timestamp, TokenSeal,
};

/// A fresh memory backend, opened as the registry would.
pub async fn memory() -> Arc<dyn DocumentBackend> {
    let settings = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
    let provider = syntrix_storage_memory::factory().configure(&settings).unwrap();
    provider.open(&OpenContext::new(".")).await.unwrap().documents().unwrap()
}

/// How the feed is read.
#[async_trait]
pub trait Reading: Debug + Send + Sync + 'static {
    async fn feed(
        &self,
        inner: &dyn DocumentBackend,
        from: &Feed,
        until: Option<&Position>,
        limit: usize,
    ) -> Result<FeedPage>;

    async fn wait_for_change(
        &self,
        inner: &dyn DocumentBackend,
        position: &Position,
        timeout: Duration,
    ) -> Result<()>;
}

#[derive(Debug)]
pub struct Wrapped<R> {
    pub inner: Arc<dyn DocumentBackend>,
    pub reading: R,
}

#[async_trait]
impl<R: Reading> DocumentBackend for Wrapped<R> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn retention(&self) -> Retention {
        self.inner.retention()
    }
    fn token_seal(&self) -> &TokenSeal {
        self.inner.token_seal()
    }
    async fn get(&self, path: &DocumentPath, context: &CallContext) -> Result<Option<Document>> {
        self.inner.get(path, context).await
    }
    async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<Vec<Option<Document>>> {
        self.inner.get_many(paths, context).await
    }
    async fn write(&self, writes: Vec<Write>, context: &CallContext) -> Vec<Result<Applied>> {
        self.inner.write(writes, context).await
    }
    async fn query(&self, plan: &QueryPlan, context: &CallContext) -> Result<Vec<Document>> {
        self.inner.query(plan, context).await
    }
    async fn query_with_position(
        &self,
        plan: &QueryPlan,
        context: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)> {
        self.inner.query_with_position(plan, context).await
    }
    async fn scan(&self, request: &ScanRequest, context: &CallContext) -> Result<Vec<Document>> {
        self.inner.scan(request, context).await
    }
    async fn feed(&self, from: &Feed, until: Option<&Position>, limit: usize) -> Result<FeedPage> {
        self.reading.feed(&*self.inner, from, until, limit).await
    }
    async fn feed_end(&self) -> Result<(Position, Timestamp)> {
        self.inner.feed_end().await
    }
    async fn wait_for_change(&self, position: &Position, timeout: Duration) -> Result<()> {
        self.reading.wait_for_change(&*self.inner, position, timeout).await
    }
    async fn trim_feed(&self, before: Timestamp, limit: usize) -> Result<usize> {
        self.inner.trim_feed(before, limit).await
    }
    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        self.inner.purge(before, limit).await
    }
    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        self.inner.list_indexes().await
    }
    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        self.inner.create_index(index).await
    }
    async fn drop_index(&self, name: &str) -> Result<bool> {
        self.inner.drop_index(name).await
    }
    async fn health(&self) -> Result<HealthReport> {
        self.inner.health().await
    }
    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
