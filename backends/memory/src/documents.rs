//! One handle on a table of documents.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend, Feed, FeedPage, Write};
use syntrix_storage_core::{
    Capabilities, Clock, Document, DocumentPath, HealthReport, IndexDefinition, IndexStatus,
    Position, PurgeReport, QueryPlan, Result, Retention, ScanRequest, Timestamp, TokenSeal,
};

use crate::connect::{Handle, closed};
use crate::table::Table;

/// No call waits for anything but the table's lock, so deadlines need no attention here.
#[derive(Debug)]
pub(crate) struct MemoryDocuments {
    table: Handle,
    seal: TokenSeal,
    retention: Retention,
    clock: Arc<dyn Clock>,
}

impl MemoryDocuments {
    pub(crate) fn new(table: Arc<Table>, retention: Retention, clock: Arc<dyn Clock>) -> Self {
        let seal = table.seal.clone();
        Self { table: Handle::new(table), seal, retention, clock }
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
        self.table.get()?.read().get(path)
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        _: &CallContext,
    ) -> Result<Vec<Option<Document>>> {
        let table = self.table.get()?;
        let state = table.read();
        paths.iter().map(|path| state.get(path)).collect()
    }

    async fn write(&self, writes: Vec<Write>, _: &CallContext) -> Vec<Result<Applied>> {
        match self.table.get() {
            Ok(table) => table.write(writes, self.clock.now()),
            Err(_) => writes.iter().map(|_| Err(closed())).collect(),
        }
    }

    async fn query(&self, plan: &QueryPlan, _: &CallContext) -> Result<Vec<Document>> {
        self.table.get()?.read().query(plan)
    }

    async fn query_with_position(
        &self,
        plan: &QueryPlan,
        _: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)> {
        let table = self.table.get()?;
        let state = table.read();
        let (position, commit_time) = state.log.end();
        Ok((state.query(plan)?, position, commit_time))
    }

    async fn scan(&self, request: &ScanRequest, _: &CallContext) -> Result<Vec<Document>> {
        Ok(self.table.get()?.read().scan(request))
    }

    async fn feed(&self, from: &Feed, until: Option<&Position>, limit: usize) -> Result<FeedPage> {
        self.table.get()?.read().log.read(from, until, limit)
    }

    async fn feed_end(&self) -> Result<(Position, Timestamp)> {
        Ok(self.table.get()?.read().log.end())
    }

    async fn wait_for_change(&self, position: &Position, timeout: Duration) -> Result<()> {
        let table = self.table.get()?;
        let mut news = table.news.subscribe();
        // Looks at the number first, so a change between the caller's read and this call is not missed.
        let changed = news.wait_for(|last| *last > position.sequence);
        let _ = tokio::time::timeout(timeout, changed).await;
        Ok(())
    }

    async fn trim_feed(&self, before: Timestamp, limit: usize) -> Result<usize> {
        Ok(self.table.get()?.lock().log.trim(before, limit))
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        Ok(self.table.get()?.lock().purge(before, limit))
    }

    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        let status =
            |index: &IndexDefinition| IndexStatus { definition: index.clone(), ready: true };
        Ok(self.table.get()?.read().indexes.iter().map(status).collect())
    }

    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        self.table.get()?.lock().create_index(index)
    }

    async fn drop_index(&self, name: &str) -> Result<bool> {
        Ok(self.table.get()?.lock().drop_index(name))
    }

    async fn health(&self) -> Result<HealthReport> {
        let table = self.table.get()?;
        let state = table.read();
        let (documents, tombstones) = state.counts();
        Ok(HealthReport::new(crate::KIND, true)
            .with_fact("durability", "none")
            .with_fact("documents", documents - tombstones)
            .with_fact("tombstones", tombstones)
            .with_fact("changes", state.log.len()))
    }

    async fn close(&self) -> Result<()> {
        self.table.release();
        Ok(())
    }
}
