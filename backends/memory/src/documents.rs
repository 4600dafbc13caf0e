//! One handle on the documents of a namespace.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend, Feed, FeedPage, Write};
use syntrix_storage_core::{
    Capabilities, Clock, Document, DocumentPath, HealthReport, IndexDefinition, IndexStatus,
    Position, PurgeReport, QueryPlan, Result, Retention, ScanRequest, Timestamp, TokenSeal,
};

use crate::connect::{Data, Handle, closed};

/// No call waits for anything but the table's lock, so deadlines need no attention here.
#[derive(Debug)]
pub(crate) struct MemoryDocuments {
    data: Handle,
    seal: TokenSeal,
    retention: Retention,
    clock: Arc<dyn Clock>,
}

impl MemoryDocuments {
    pub(crate) fn new(data: Arc<Data>, retention: Retention, clock: Arc<dyn Clock>) -> Self {
        let seal = data.documents.seal.clone();
        Self { data: Handle::new(data), seal, retention, clock }
    }
}

#[async_trait]
impl DocumentBackend for MemoryDocuments {
    fn kind(&self) -> &'static str {
        crate::KIND
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::NONE;
        capabilities.watch = true;
        capabilities.before = true;
        capabilities.replace_live = true;
        capabilities
    }

    fn retention(&self) -> Retention {
        self.retention
    }

    fn token_seal(&self) -> &TokenSeal {
        &self.seal
    }

    async fn get(&self, path: &DocumentPath, _: &CallContext) -> Result<Option<Document>> {
        self.data.get()?.documents.read().get(path)
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        _: &CallContext,
    ) -> Result<Vec<Option<Document>>> {
        let data = self.data.get()?;
        let state = data.documents.read();
        paths.iter().map(|path| state.get(path)).collect()
    }

    async fn write(&self, writes: Vec<Write>, _: &CallContext) -> Vec<Result<Applied>> {
        match self.data.get() {
            Ok(data) => data.documents.write(writes, self.clock.now()),
            Err(_) => writes.iter().map(|_| Err(closed())).collect(),
        }
    }

    async fn query(&self, plan: &QueryPlan, _: &CallContext) -> Result<Vec<Document>> {
        self.data.get()?.documents.read().query(plan)
    }

    async fn query_with_position(
        &self,
        plan: &QueryPlan,
        _: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)> {
        let data = self.data.get()?;
        let state = data.documents.read();
        let (position, commit_time) = state.log.end();
        Ok((state.query(plan)?, position, commit_time))
    }

    async fn scan(&self, request: &ScanRequest, _: &CallContext) -> Result<Vec<Document>> {
        Ok(self.data.get()?.documents.read().scan(request))
    }

    async fn feed(&self, from: &Feed, until: Option<&Position>, limit: usize) -> Result<FeedPage> {
        self.data.get()?.documents.read().log.read(from, until, limit)
    }

    async fn feed_end(&self) -> Result<(Position, Timestamp)> {
        Ok(self.data.get()?.documents.read().log.end())
    }

    async fn wait_for_change(&self, position: &Position, timeout: Duration) -> Result<()> {
        let data = self.data.get()?;
        let mut news = data.documents.news.subscribe();
        // Looks at the number first, so a change between the caller's read and this call is not missed.
        let changed = news.wait_for(|last| *last > position.sequence);
        let _ = tokio::time::timeout(timeout, changed).await;
        Ok(())
    }

    async fn trim_feed(&self, before: Timestamp, limit: usize) -> Result<usize> {
        Ok(self.data.get()?.documents.lock().log.trim(before, limit))
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        Ok(self.data.get()?.documents.lock().purge(before, limit))
    }

    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        let status =
            |index: &IndexDefinition| IndexStatus { definition: index.clone(), ready: true };
        Ok(self.data.get()?.documents.read().indexes.iter().map(status).collect())
    }

    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        self.data.get()?.documents.lock().create_index(index)
    }

    async fn drop_index(&self, name: &str) -> Result<bool> {
        Ok(self.data.get()?.documents.lock().drop_index(name))
    }

    async fn health(&self) -> Result<HealthReport> {
        let data = self.data.get()?;
        let state = data.documents.read();
        let (documents, tombstones) = state.counts();
        Ok(HealthReport::new(crate::KIND, true)
            .with_fact("durability", "none")
            .with_fact("documents", documents - tombstones)
            .with_fact("tombstones", tombstones)
            .with_fact("changes", state.log.len()))
    }

    async fn close(&self) -> Result<()> {
        self.data.release();
        Ok(())
    }
}
