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
    Capabilities, Consistency, Document, DocumentPath, HealthReport, IndexDefinition, IndexStatus,
    Operation, Position, PurgeReport, QueryPlan, Result, Retention, ScanRequest, SeenWrite,
    Timestamp, TokenSeal,
};

use crate::plan::{ReadFrom, Strategy, Target};
use crate::reads::compare::Compare;
use crate::reads::{ReadRules, ShadowReads};
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
    /// Set if the strategy reads from the shadow.
    reads: Option<Arc<ShadowReads>>,
    /// Set if the strategy compares.
    compare: Option<Compare>,
}

impl DocumentRoute {
    /// A route to `primary` alone. `ledger` is the primary's, if it has one: while another process has a shadow for the
    /// same data, it says that tombstones must stay.
    pub fn single(primary: Arc<dyn DocumentBackend>, ledger: Option<Arc<dyn Ledger>>) -> Self {
        let strategy = Box::new(crate::Single);
        Self { strategy, primary, ledger, replication: None, reads: None, compare: None }
    }

    /// A route to `primary` whose writes reach the shadow of `replication` too. Must be called within a runtime.
    pub fn dual_write(
        primary: Arc<dyn DocumentBackend>,
        replication: Arc<DocumentReplication>,
        reads: ReadFrom,
        rules: ReadRules,
    ) -> Self {
        Self::with_shadow(Box::new(crate::DualWrite { reads }), primary, replication, reads, rules)
    }

    /// A route to `primary` whose reads the shadow of `replication` answers. Must be called within a runtime.
    pub fn read_replica(
        primary: Arc<dyn DocumentBackend>,
        replication: Arc<DocumentReplication>,
        reads: ReadFrom,
        rules: ReadRules,
    ) -> Self {
        // Declarations are copied only while the replicator feeds the shadow, so a native one gets none.
        let strategy = Box::new(crate::ReadReplica { reads, native: false });
        Self::with_shadow(strategy, primary, replication, reads, rules)
    }

    fn with_shadow(
        strategy: Box<dyn Strategy>,
        primary: Arc<dyn DocumentBackend>,
        replication: Arc<DocumentReplication>,
        reads: ReadFrom,
        rules: ReadRules,
    ) -> Self {
        let compare = (reads == ReadFrom::Both)
            .then(|| Compare::start(Arc::clone(&primary), &replication, &rules));
        let reads = (reads == ReadFrom::Shadow)
            .then(|| ShadowReads::start(Arc::clone(&replication), rules));
        Self { strategy, primary, ledger: None, replication: Some(replication), reads, compare }
    }

    /// What answers reads of this kind before the primary; a strong one is the primary's alone.
    fn shadow_reads(&self, context: &CallContext) -> Option<&ShadowReads> {
        let reads = self.reads.as_deref()?;
        let is_shadows = self.strategy.plan(context.operation).authority == Target::Shadow;
        (is_shadows && context.consistency != Consistency::Strong).then_some(reads)
    }

    async fn get_routed(
        &self,
        path: &DocumentPath,
        context: &CallContext,
        compare: Option<&Compare>,
    ) -> Result<Option<Document>> {
        let mut turn = None;
        if let Some(reads) = self.shadow_reads(context) {
            match reads.get(path, context).await? {
                Ok(found) => return Ok(found),
                Err(fallback) => turn = Some(fallback),
            }
        }
        let found = self.primary.get(path, context).await?;
        drop(turn);
        if let Some(reads) = &self.reads {
            reads.saw(found.as_ref());
        }
        if let Some(compare) = compare {
            compare.got(path, found.as_ref());
        }
        Ok(found)
    }

    async fn query_routed(
        &self,
        plan: &QueryPlan,
        context: &CallContext,
        compare: Option<&Compare>,
    ) -> Result<Vec<Document>> {
        let mut turn = None;
        // Expired tombstones leave the shadow first, so who asks for tombstones asks the primary.
        if let Some(reads) = self.shadow_reads(context).filter(|_| !plan.show_deleted()) {
            match reads.query(plan, context).await? {
                Ok(found) => return Ok(found),
                Err(fallback) => turn = Some(fallback),
            }
        }
        let found = self.primary.query(plan, context).await?;
        drop(turn);
        if let Some(reads) = &self.reads {
            reads.saw_all();
        }
        if let Some(compare) = compare {
            compare.queried(plan, &found);
        }
        Ok(found)
    }

    /// What compares reads of this kind.
    fn compares(&self, context: &CallContext) -> Option<&Compare> {
        let compare = self.compare.as_ref()?;
        self.strategy.plan(context.operation).compare.map(|_| compare)
    }

    /// What compares this read, if it is among the few that are.
    fn compare_of(&self, context: &CallContext) -> Option<&Compare> {
        self.compares(context).filter(|compare| compare.takes(context.operation))
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
        match (&self.reads, self.compare_of(context)) {
            (None, None) => self.primary.get(path, context),
            (_, compare) => Box::pin(self.get_routed(path, context, compare)),
        }
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<Vec<Option<Document>>> {
        let mut turn = None;
        if let Some(reads) = self.shadow_reads(context) {
            match reads.get_many(paths, context).await? {
                Ok(found) => return Ok(found),
                Err(fallback) => turn = Some(fallback),
            }
        }
        let found = self.primary.get_many(paths, context).await?;
        drop(turn);
        if let Some(reads) = &self.reads {
            found.iter().for_each(|document| reads.saw(document.as_ref()));
        }
        if let Some(compare) = self.compares(context) {
            let taken = paths.iter().zip(&found).filter(|_| compare.takes(context.operation));
            taken.for_each(|(path, found)| compare.got(path, found.as_ref()));
        }
        Ok(found)
    }

    async fn write(&self, writes: Vec<Write>, context: &CallContext) -> Vec<Result<Applied>> {
        let outcomes = self.primary.write(writes, context).await;
        let mirror = self.mirror(context.operation);
        let outcomes = match mirror {
            Some(replication) => replication.mirror(outcomes).await,
            None => outcomes,
        };
        if let Some(reads) = &self.reads {
            reads.saw_writes(&outcomes, mirror.is_some_and(DocumentReplication::waits));
        }
        outcomes
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
        match (&self.reads, self.compare_of(context)) {
            (None, None) => self.primary.query(plan, context),
            (_, compare) => Box::pin(self.query_routed(plan, context, compare)),
        }
    }

    async fn query_with_position(
        &self,
        plan: &QueryPlan,
        context: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)> {
        // The place is one of the primary's feed, so the page is the primary's too.
        let answer = self.primary.query_with_position(plan, context).await?;
        if let Some(reads) = &self.reads {
            reads.saw_all();
        }
        Ok(answer)
    }

    async fn scan(&self, request: &ScanRequest, context: &CallContext) -> Result<Vec<Document>> {
        let mut turn = None;
        if let Some(reads) = self.shadow_reads(context).filter(|_| !request.show_deleted) {
            match reads.scan(request, context).await? {
                Ok(found) => return Ok(found),
                Err(fallback) => turn = Some(fallback),
            }
        }
        let found = self.primary.scan(request, context).await?;
        drop(turn);
        if let Some(reads) = &self.reads {
            reads.saw_all();
        }
        Ok(found)
    }

    async fn feed(&self, from: &Feed, until: Option<&Position>, limit: usize) -> Result<FeedPage> {
        self.primary.feed(from, until, limit).await
    }

    async fn feed_end(&self) -> Result<(Position, Timestamp)> {
        self.primary.feed_end().await
    }

    async fn wait_for_change(&self, position: &Position, timeout: Duration) -> Result<()> {
        self.primary.wait_for_change(position, timeout).await
    }

    async fn trim_feed(&self, before: Timestamp, limit: usize) -> Result<usize> {
        if let Some(replication) = &self.replication {
            replication.trim_shadow(before, limit);
        }
        self.primary.trim_feed(before, limit).await
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        match (&self.replication, &self.ledger) {
            (Some(replication), _) => replication.purge(before, limit).await,
            (None, Some(ledger)) if purge::pin(&**ledger).await?.is_some() => {
                tracing::debug!("tombstones are kept: another process has a shadow for these data");
                Ok(PurgeReport::default())
            }
            (None, _) => self.primary.purge(before, limit).await,
        }
    }

    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        self.primary.list_indexes().await
    }

    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        self.primary.create_index(index).await?;
        self.copy_indexes();
        Ok(())
    }

    async fn drop_index(&self, name: &str) -> Result<bool> {
        let dropped = self.primary.drop_index(name).await?;
        self.copy_indexes();
        Ok(dropped)
    }

    fn keep_to(&self, write: &SeenWrite) -> bool {
        // Without a shadow that is read the primary answers, which has every write.
        self.reads.as_ref().is_none_or(|reads| reads.keep_to(write))
    }

    async fn health(&self) -> Result<HealthReport> {
        self.primary.health().await
    }

    async fn close(&self) -> Result<()> {
        let replication = match &self.replication {
            Some(replication) => replication.close().await,
            None => Ok(()),
        };
        self.primary.close().await.and(replication)
    }
}

impl Drop for DocumentRoute {
    /// What works for a route in the background ends with it, closed or not.
    fn drop(&mut self) {
        if let Some(replication) = &self.replication {
            replication.link().close();
        }
    }
}
