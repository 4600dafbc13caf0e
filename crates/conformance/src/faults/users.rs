//! Accounts on a backend that fails on purpose.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    CallContext, Dated, StoreKind, UserApplied, UserBackend, UserChanges, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    Capabilities, HealthReport, Position, Result, UserId, UserListPlan, UsernameKey,
};

use super::plan::Faults;
use super::rule::{Call, Method};

/// A [`UserBackend`] whose calls meet [`Faults`].
#[derive(Debug)]
pub struct FaultyUsers {
    inner: Arc<dyn UserBackend>,
    faults: Faults,
}

impl FaultyUsers {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn UserBackend>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    async fn run<T>(
        &self,
        method: Method,
        keys: &[&str],
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.faults.run(Call { store: StoreKind::Users, method, keys }, work).await
    }
}

#[async_trait]
impl UserBackend for FaultyUsers {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, id: &UserId, context: &CallContext) -> Result<Dated<Option<UserRecord>>> {
        self.run(Method::Get, &[id.as_str()], self.inner.get(id, context)).await
    }

    async fn get_by_name(
        &self,
        key: &UsernameKey,
        context: &CallContext,
    ) -> Result<Dated<Option<UserRecord>>> {
        self.run(Method::GetByName, &[key.as_str()], self.inner.get_by_name(key, context)).await
    }

    async fn write(&self, write: UserWrite, context: &CallContext) -> Result<UserApplied> {
        let id = write.id().clone();
        self.run(Method::Write, &[id.as_str()], self.inner.write(write, context)).await
    }

    async fn list(&self, plan: &UserListPlan, context: &CallContext) -> Result<Vec<UserRecord>> {
        self.run(Method::List, &[], self.inner.list(plan, context)).await
    }

    async fn scan(
        &self,
        after: Option<&UserId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<UserRecord>> {
        self.run(Method::Scan, &[], self.inner.scan(after, limit, context)).await
    }

    async fn changes_since(&self, place: &Position, limit: usize) -> Result<UserChanges> {
        self.run(Method::Feed, &[], self.inner.changes_since(place, limit)).await
    }

    async fn changes_end(&self) -> Result<Position> {
        self.run(Method::FeedEnd, &[], self.inner.changes_end()).await
    }

    async fn wait_for_change(&self, place: &Position, timeout: Duration) -> Result<()> {
        self.run(Method::WaitForChange, &[], self.inner.wait_for_change(place, timeout)).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        self.run(Method::EnsureIndexes, &[], self.inner.ensure_indexes()).await
    }

    async fn health(&self) -> Result<HealthReport> {
        self.run(Method::Health, &[], self.inner.health()).await
    }

    async fn close(&self) -> Result<()> {
        self.run(Method::Close, &[], self.inner.close()).await
    }
}
