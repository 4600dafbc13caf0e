//! The route of a store of accounts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    CallContext, Dated, UserApplied, UserBackend, UserChanges, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    Capabilities, HealthReport, Position, Result, UserId, UserListPlan, UsernameKey,
};

use crate::swept::SweptReplication;
use crate::swept::accounts::Accounts;

/// A store of accounts made of a primary, which decides and answers, and a shadow that follows it.
#[derive(Debug)]
pub struct UserRoute {
    primary: Arc<dyn UserBackend>,
    replication: Arc<SweptReplication<Accounts>>,
}

impl UserRoute {
    /// A route whose shadow `replication` keeps up to date.
    pub fn dual_write(
        primary: Arc<dyn UserBackend>,
        replication: Arc<SweptReplication<Accounts>>,
    ) -> Self {
        Self { primary, replication }
    }
}

impl Drop for UserRoute {
    fn drop(&mut self) {
        self.replication.abandon();
    }
}

#[async_trait]
impl UserBackend for UserRoute {
    fn kind(&self) -> &'static str {
        self.primary.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.primary.capabilities()
    }

    async fn get(&self, id: &UserId, context: &CallContext) -> Result<Dated<Option<UserRecord>>> {
        self.primary.get(id, context).await
    }

    async fn get_by_name(
        &self,
        key: &UsernameKey,
        context: &CallContext,
    ) -> Result<Dated<Option<UserRecord>>> {
        self.primary.get_by_name(key, context).await
    }

    async fn write(&self, write: UserWrite, context: &CallContext) -> Result<UserApplied> {
        let id = write.id().clone();
        let applied = self.primary.write(write, context).await?;
        if applied == UserApplied::Yes {
            self.replication.mirror(id).await;
        }
        Ok(applied)
    }

    async fn list(&self, plan: &UserListPlan, context: &CallContext) -> Result<Vec<UserRecord>> {
        self.primary.list(plan, context).await
    }

    async fn scan(
        &self,
        after: Option<&UserId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<UserRecord>> {
        self.primary.scan(after, limit, context).await
    }

    async fn changes_since(&self, place: &Position, limit: usize) -> Result<UserChanges> {
        self.primary.changes_since(place, limit).await
    }

    async fn changes_end(&self) -> Result<Position> {
        self.primary.changes_end().await
    }

    async fn wait_for_change(&self, place: &Position, timeout: Duration) -> Result<()> {
        self.primary.wait_for_change(place, timeout).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        self.primary.ensure_indexes().await
    }

    async fn health(&self) -> Result<HealthReport> {
        self.primary.health().await
    }

    async fn close(&self) -> Result<()> {
        let closed = self.replication.close().await;
        self.primary.close().await.and(closed)
    }
}
