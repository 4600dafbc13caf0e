//! The document backend over an open file: which call runs where.

use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend, Feed, FeedPage, Write};
use syntrix_storage_core::{
    Capabilities, Document, DocumentPath, HealthReport, IndexDefinition, IndexStatus, Position,
    PurgeReport, QueryPlan, Result, Retention, ScanRequest, Timestamp, TokenSeal,
};

use crate::committer::GROUP_MAX;
use crate::error::closed;
use crate::store::Lease;
use crate::wake::Log;
use crate::{KIND, indexes, maintenance, reads, watch};

/// Most documents that are read on the calling task in one go.
const INLINE_MAX: usize = 100;

/// The documents of one file.
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

    async fn get(&self, path: &DocumentPath, _context: &CallContext) -> Result<Option<Document>> {
        if let Some(reader) = self.lease.store()?.readers.try_lock() {
            return reads::get(reader.connection()?, path);
        }
        // Boxed, so that the future of the usual way is small.
        Box::pin(self.get_elsewhere(path.clone())).await
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<Vec<Option<Document>>> {
        if paths.len() <= INLINE_MAX
            && let Some(reader) = self.lease.store()?.readers.try_lock()
        {
            return reads::get_many(reader.connection()?, paths);
        }
        let paths = paths.to_vec();
        let read = move |connection: &_| reads::get_many(connection, &paths);
        self.lease.store()?.readers.long(context.deadline, read).await
    }

    async fn write(&self, mut writes: Vec<Write>, context: &CallContext) -> Vec<Result<Applied>> {
        let Ok(store) = self.lease.store() else {
            return writes.iter().map(|_| Err(closed())).collect();
        };
        if writes.len() <= GROUP_MAX {
            return store.writer.write(writes, context.deadline).await;
        }
        let mut outcomes = Vec::with_capacity(writes.len());
        while !writes.is_empty() {
            let rest = writes.split_off(writes.len().min(GROUP_MAX));
            outcomes.extend(store.writer.write(writes, context.deadline).await);
            writes = rest;
        }
        outcomes
    }

    async fn query(&self, plan: &QueryPlan, context: &CallContext) -> Result<Vec<Document>> {
        if is_short(plan)
            && let Some(reader) = self.lease.store()?.readers.try_lock()
        {
            return reads::query(reader.connection()?, plan);
        }
        let plan = plan.clone();
        let read = move |connection: &_| reads::query(connection, &plan);
        self.lease.store()?.readers.long(context.deadline, read).await
    }

    async fn query_with_position(
        &self,
        plan: &QueryPlan,
        context: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)> {
        if is_short(plan)
            && let Some(reader) = self.lease.store()?.readers.try_lock()
        {
            return reads::query_with_position(reader.connection()?, plan);
        }
        let plan = plan.clone();
        let read = move |connection: &_| reads::query_with_position(connection, &plan);
        self.lease.store()?.readers.long(context.deadline, read).await
    }

    async fn scan(&self, request: &ScanRequest, context: &CallContext) -> Result<Vec<Document>> {
        let request = request.clone();
        let read = move |connection: &_| reads::scan(connection, &request);
        self.lease.store()?.readers.long(context.deadline, read).await
    }

    async fn feed(&self, from: &Feed, until: Option<&Position>, limit: usize) -> Result<FeedPage> {
        if self.is_short_feed(from, limit)
            && let Some(reader) = self.lease.store()?.readers.try_lock()
        {
            return watch::feed(reader.connection()?, from, until, limit);
        }
        let (from, until) = (from.clone(), until.cloned());
        let read = move |connection: &_| watch::feed(connection, &from, until.as_ref(), limit);
        self.lease.store()?.readers.long(None, read).await
    }

    async fn feed_end(&self) -> Result<(Position, Timestamp)> {
        self.lease.store()?.readers.read(watch::end).await
    }

    async fn wait_for_change(&self, position: &Position, timeout: Duration) -> Result<()> {
        self.lease.store()?.wake.wait(Log::Documents, position.sequence, timeout).await
    }

    async fn trim_feed(&self, before: Timestamp, limit: usize) -> Result<usize> {
        self.lease
            .store()?
            .writer
            .run(move |connection| watch::trim(connection, before, limit))
            .await
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        self.lease
            .store()?
            .writer
            .run(move |connection| maintenance::purge(connection, before, limit))
            .await
    }

    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        self.lease.store()?.readers.short(indexes::list).await
    }

    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        let index = index.clone();
        self.lease.store()?.writer.run(move |connection| indexes::create(connection, &index)).await
    }

    async fn drop_index(&self, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.lease.store()?.writer.run(move |connection| indexes::remove(connection, &name)).await
    }

    async fn health(&self) -> Result<HealthReport> {
        let store = self.lease.store()?;
        let (file, synchronous) = (store.file.clone(), store.synchronous);
        let read = move |connection: &_| maintenance::health(connection, &file, synchronous);
        store.readers.long(None, read).await
    }

    async fn close(&self) -> Result<()> {
        self.lease.release().await
    }
}

impl Documents {
    async fn get_elsewhere(&self, path: DocumentPath) -> Result<Option<Document>> {
        self.lease.store()?.readers.short(move |connection| reads::get(connection, &path)).await
    }

    /// Whether a page has few changes: a watcher that keeps up reads one or two at a time.
    fn is_short_feed(&self, from: &Feed, limit: usize) -> bool {
        let pending = match from {
            Feed::Oldest => usize::MAX as u64,
            Feed::After(position) => {
                self.lease.known().wake.sequence().saturating_sub(position.sequence)
            }
        };
        pending.min(limit as u64) <= INLINE_MAX as u64
    }
}

fn is_short(plan: &QueryPlan) -> bool {
    plan.is_bounded() && plan.limit() <= INLINE_MAX
}
