//! Documents on a backend that fails on purpose.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Applied, CallContext, DocumentBackend, Feed, FeedPage, StoreKind, Watermark, Write,
};
use syntrix_storage_core::{
    Capabilities, Document, DocumentPath, Error, ErrorKind, HealthReport, IndexDefinition,
    IndexStatus, Position, PurgeReport, QueryPlan, Result, Retention, ScanRequest, Timestamp,
    TokenSeal,
};

use super::plan::{Faults, Met};
use super::rule::{Call, Method};

/// A [`DocumentBackend`] whose calls meet [`Faults`].
#[derive(Debug)]
pub struct FaultyDocuments {
    inner: Arc<dyn DocumentBackend>,
    faults: Faults,
}

impl FaultyDocuments {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn DocumentBackend>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    async fn run<T>(
        &self,
        method: Method,
        keys: &[&str],
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.faults.run(call(method, keys), work).await
    }

    fn meet(&self, write: &Write) -> Option<Met> {
        self.faults.meet(&call(Method::Write, &[write.path().as_str()]))
    }
}

fn call<'keys>(method: Method, keys: &'keys [&'keys str]) -> Call<'keys> {
    Call { store: StoreKind::Documents, method, keys }
}

#[async_trait]
impl DocumentBackend for FaultyDocuments {
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
        self.run(Method::Get, &[path.as_str()], self.inner.get(path, context)).await
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<Vec<Option<Document>>> {
        let keys: Vec<_> = paths.iter().map(DocumentPath::as_str).collect();
        self.run(Method::GetMany, &keys, self.inner.get_many(paths, context)).await
    }

    /// Each write meets a fault of its own; one that hangs holds up the call, as a stuck connection would.
    async fn write(&self, writes: Vec<Write>, context: &CallContext) -> Vec<Result<Applied>> {
        let met: Vec<_> = writes.iter().map(|write| self.meet(write)).collect();
        for met in met.iter().flatten() {
            met.delay().await;
        }
        let done = |met: &Option<Met>| met.is_none_or(|met| !met.is_before());
        let passed = writes.into_iter().zip(&met).filter(|(_, met)| done(met));
        let passed = passed.map(|(write, _)| write).collect();
        let mut outcomes = self.inner.write(passed, context).await.into_iter();
        let mut results = Vec::with_capacity(met.len());
        for met in met {
            let outcome = if done(&met) { outcomes.next() } else { None };
            results.push(match met.filter(|met| met.is_before() || met.is_after()) {
                Some(met) => Err(met.stop().await),
                None => outcome.unwrap_or_else(|| Err(outcome_missing())),
            });
        }
        results
    }

    async fn query(&self, plan: &QueryPlan, context: &CallContext) -> Result<Vec<Document>> {
        self.run(Method::Query, &[], self.inner.query(plan, context)).await
    }

    async fn query_with_position(
        &self,
        plan: &QueryPlan,
        context: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)> {
        self.run(Method::Query, &[], self.inner.query_with_position(plan, context)).await
    }

    async fn scan(&self, request: &ScanRequest, context: &CallContext) -> Result<Vec<Document>> {
        self.run(Method::Scan, &[], self.inner.scan(request, context)).await
    }

    async fn feed(&self, from: &Feed, until: Option<&Position>, limit: usize) -> Result<FeedPage> {
        self.run(Method::Feed, &[], self.inner.feed(from, until, limit)).await
    }

    async fn feed_end(&self) -> Result<(Position, Timestamp)> {
        self.run(Method::FeedEnd, &[], self.inner.feed_end()).await
    }

    async fn wait_for_change(&self, position: &Position, timeout: Duration) -> Result<()> {
        self.run(Method::WaitForChange, &[], self.inner.wait_for_change(position, timeout)).await
    }

    async fn trim_feed(&self, before: Timestamp, limit: usize) -> Result<usize> {
        self.run(Method::TrimFeed, &[], self.inner.trim_feed(before, limit)).await
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        self.run(Method::Purge, &[], self.inner.purge(before, limit)).await
    }

    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        self.run(Method::ListIndexes, &[], self.inner.list_indexes()).await
    }

    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        self.run(Method::CreateIndex, &[index.name()], self.inner.create_index(index)).await
    }

    async fn drop_index(&self, name: &str) -> Result<bool> {
        self.run(Method::DropIndex, &[name], self.inner.drop_index(name)).await
    }

    async fn watermark(&self) -> Result<Option<Watermark>> {
        self.inner.watermark().await
    }

    async fn health(&self) -> Result<HealthReport> {
        self.run(Method::Health, &[], self.inner.health()).await
    }

    async fn close(&self) -> Result<()> {
        self.run(Method::Close, &[], self.inner.close()).await
    }
}

fn outcome_missing() -> Error {
    Error::new(ErrorKind::Internal, "").with_message("the backend gave fewer outcomes than writes")
}
