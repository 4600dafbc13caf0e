//! The document backend over an open schema: which call runs where.

use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Applied, CallContext, DocumentBackend, Feed, FeedPage, Watermark, Write,
};
use syntrix_storage_core::{
    Capabilities, Document, DocumentPath, HealthReport, IndexDefinition, IndexStatus, Position,
    PurgeReport, QueryPlan, Result, Retention, ScanRequest, Timestamp, TokenSeal,
};

use crate::error::closed;
use crate::store::Lease;
use crate::wake::{Log, Wake};
use crate::{KIND, indexes, maintenance, reads, standby, watch};

/// The documents of one schema.
#[derive(Debug)]
pub(crate) struct Documents {
    lease: Lease,
}

impl Documents {
    pub(crate) fn new(lease: Lease) -> Self {
        Self { lease }
    }
}

#[async_trait]
impl DocumentBackend for Documents {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::NONE;
        capabilities.durable = true;
        capabilities.watch = true;
        capabilities.durable_watch = true;
        capabilities.before = true;
        capabilities.shared = true;
        capabilities.replace_live = true;
        capabilities
    }

    fn retention(&self) -> Retention {
        self.lease.known().retention
    }

    fn token_seal(&self) -> &TokenSeal {
        &self.lease.known().seal
    }

    async fn get(&self, path: &DocumentPath, context: &CallContext) -> Result<Option<Document>> {
        reads::get(self.lease.store()?, path, context).await
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<Vec<Option<Document>>> {
        reads::get_many(self.lease.store()?, paths, context).await
    }

    async fn write(&self, writes: Vec<Write>, _: &CallContext) -> Vec<Result<Applied>> {
        match self.lease.store() {
            Ok(store) => store.writer.write(writes).await,
            Err(_) => writes.iter().map(|_| Err(closed())).collect(),
        }
    }

    async fn query(&self, plan: &QueryPlan, context: &CallContext) -> Result<Vec<Document>> {
        reads::query(self.lease.store()?, plan, context).await
    }

    async fn query_with_position(
        &self,
        plan: &QueryPlan,
        _: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)> {
        reads::query_with_position(self.lease.store()?.primary()?, plan).await
    }

    async fn scan(&self, request: &ScanRequest, context: &CallContext) -> Result<Vec<Document>> {
        reads::scan(self.lease.store()?, request, context).await
    }

    async fn feed(&self, from: &Feed, until: Option<&Position>, limit: usize) -> Result<FeedPage> {
        let store = self.lease.store()?.primary()?;
        let news = store.wake.count(Log::Documents);
        let page = watch::feed(store, from, until, limit).await?;
        if !page.more && until.is_none() {
            store.wake.reached(Log::Documents, &page.end, news);
        }
        Ok(page)
    }

    async fn feed_end(&self) -> Result<(Position, Timestamp)> {
        let store = self.lease.store()?.primary()?;
        let news = store.wake.count(Log::Documents);
        let mut session = store.pool.session().await?;
        let (end, commit_time) = watch::end(&mut session, &store.texts).await?;
        store.wake.reached(Log::Documents, &end, news);
        Ok((end, commit_time))
    }

    async fn wait_for_change(&self, position: &Position, timeout: Duration) -> Result<()> {
        let store = self.lease.store()?.primary()?;
        let count = match store.wake.count_at(Log::Documents, position) {
            Some(count) => count,
            None => {
                let count = store.wake.count(Log::Documents);
                let page = watch::feed(store, &Feed::After(position.clone()), None, 1).await?;
                if page.more || !page.changes.is_empty() {
                    return Ok(());
                }
                count
            }
        };
        // News or time: the caller looks at the log in any case.
        store.wake.wait(Log::Documents, count, Wake::end_of(timeout)).await?;
        Ok(())
    }

    async fn trim_feed(&self, before: Timestamp, limit: usize) -> Result<usize> {
        watch::trim(self.lease.store()?, before, limit).await
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        maintenance::purge(self.lease.store()?, before, limit).await
    }

    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        let store = self.lease.store()?;
        indexes::list(&mut store.pool.session().await?, &store.schema).await
    }

    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        indexes::create(self.lease.store()?, index).await
    }

    async fn drop_index(&self, name: &str) -> Result<bool> {
        indexes::remove(self.lease.store()?, name).await
    }

    async fn watermark(&self) -> Result<Option<Watermark>> {
        let store = self.lease.store()?.primary()?;
        let rows = store.readers.query(standby::WATERMARK, &[]).await?;
        rows.first().map(standby::watermark).transpose()
    }

    async fn health(&self) -> Result<HealthReport> {
        maintenance::health(self.lease.store()?).await
    }

    async fn close(&self) -> Result<()> {
        self.lease.release().await
    }
}
