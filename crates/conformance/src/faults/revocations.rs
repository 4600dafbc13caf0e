//! Revoked tokens on a backend that fails on purpose.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    CallContext, Canary, Insertion, RevocationBackend, RevocationRequest, StoreKind, Witnessed,
};
use syntrix_storage_core::{
    Capabilities, HealthReport, PurgeReport, Result, Revocation, RevokeOutcome, TokenId,
};

use super::plan::Faults;
use super::rule::{Call, Method};

/// A [`RevocationBackend`] whose calls meet [`Faults`].
#[derive(Debug)]
pub struct FaultyRevocations {
    inner: Arc<dyn RevocationBackend>,
    faults: Faults,
}

impl FaultyRevocations {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn RevocationBackend>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    async fn run<T>(
        &self,
        method: Method,
        keys: &[&str],
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.faults.run(Call { store: StoreKind::Revocations, method, keys }, work).await
    }
}

#[async_trait]
impl RevocationBackend for FaultyRevocations {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn canary(&self) -> Canary {
        self.inner.canary()
    }

    async fn get(
        &self,
        token: &TokenId,
        context: &CallContext,
    ) -> Result<Witnessed<Option<Box<Revocation>>>> {
        self.run(Method::Get, &[token.as_str()], self.inner.get(token, context)).await
    }

    async fn get_many(
        &self,
        tokens: &[TokenId],
        context: &CallContext,
    ) -> Result<Witnessed<Vec<Option<Revocation>>>> {
        let keys: Vec<_> = tokens.iter().map(TokenId::as_str).collect();
        self.run(Method::GetMany, &keys, self.inner.get_many(tokens, context)).await
    }

    async fn join(
        &self,
        request: RevocationRequest,
        context: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>> {
        let token = request.token.clone();
        self.run(Method::Join, &[token.as_str()], self.inner.join(request, context)).await
    }

    async fn insert(
        &self,
        request: RevocationRequest,
        context: &CallContext,
    ) -> Result<Witnessed<Insertion>> {
        let token = request.token.clone();
        self.run(Method::Insert, &[token.as_str()], self.inner.insert(request, context)).await
    }

    async fn purge(&self, limit: usize) -> Result<PurgeReport> {
        self.run(Method::Purge, &[], self.inner.purge(limit)).await
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
