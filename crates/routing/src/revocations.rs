//! The route of a store of revoked tokens.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    CallContext, Canary, Insertion, RevocationBackend, RevocationRequest, Witnessed,
    merge_revocation,
};
use syntrix_storage_core::{
    Capabilities, HealthReport, PurgeReport, Result, Revocation, RevokeOutcome, Timestamp, TokenId,
};

use crate::reads::shadow_share;
use crate::swept::SweptReplication;
use crate::swept::tokens::Tokens;

/// The shortest time that any clock tells.
const INSTANT: Duration = Duration::from_millis(1);

/// A store of revoked tokens made of a primary and a shadow that follows it.
///
/// The primary alone decides what is revoked, and its time counts. A check asks both: a token is revoked if either says so, each
/// by its own clock. An error of the shadow fails no check; one of the primary does.
#[derive(Debug)]
pub struct RevocationRoute {
    primary: Arc<dyn RevocationBackend>,
    replication: Arc<SweptReplication<Tokens>>,
}

impl RevocationRoute {
    /// A route whose shadow `replication` keeps up to date.
    pub fn dual_write(
        primary: Arc<dyn RevocationBackend>,
        replication: Arc<SweptReplication<Tokens>>,
    ) -> Self {
        Self { primary, replication }
    }

    /// What the shadow has of `tokens`, in their order and as long as it keeps them; nothing if it is not well or does not
    /// answer within the little time that a check may lose by it.
    async fn shadows(&self, tokens: &[TokenId], context: &CallContext) -> Vec<Option<Revocation>> {
        let Some((shadow, attempt)) = self.replication.attempt() else { return Vec::new() };
        let limit = shadow_share(context, self.replication.options.mirror_budget);
        let answer = tokio::time::timeout(limit, shadow.get_many(tokens, context)).await;
        let found = match answer {
            Ok(Ok(found)) if found.canary == Some(shadow.canary()) => Some(found),
            _ => None,
        };
        attempt.end(found.is_some());
        let Some(Witnessed { value, now, .. }) = found else {
            tracing::debug!("the shadow took no part in a check");
            return Vec::new();
        };
        value.into_iter().map(|record| record.filter(|record| record.is_kept(now))).collect()
    }
}

impl Drop for RevocationRoute {
    fn drop(&mut self) {
        self.replication.abandon();
    }
}

/// The stricter of both. What the shadow keeps is kept, also if the primary's clock is ahead of the shadow's and its own record
/// is gone already.
fn both(
    primary: Option<Revocation>,
    shadow: Option<Revocation>,
    now: Timestamp,
) -> Option<Revocation> {
    match shadow {
        Some(mut shadow) => {
            shadow.keep_until = shadow.keep_until.max(now.saturating_add(INSTANT));
            merge_revocation(&shadow, primary.as_ref(), now).1.or(primary)
        }
        None => primary,
    }
}

#[async_trait]
impl RevocationBackend for RevocationRoute {
    fn kind(&self) -> &'static str {
        self.primary.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.primary.capabilities()
    }

    fn canary(&self) -> Canary {
        self.primary.canary()
    }

    async fn get(
        &self,
        token: &TokenId,
        context: &CallContext,
    ) -> Result<Witnessed<Option<Box<Revocation>>>> {
        let asked = std::slice::from_ref(token);
        let (found, shadow) =
            tokio::join!(self.primary.get(token, context), self.shadows(asked, context));
        let Witnessed { value, now, canary } = found?;
        let shadow = shadow.into_iter().next().flatten();
        let value = both(value.map(|record| *record), shadow, now).map(Box::new);
        Ok(Witnessed { value, now, canary })
    }

    async fn get_many(
        &self,
        tokens: &[TokenId],
        context: &CallContext,
    ) -> Result<Witnessed<Vec<Option<Revocation>>>> {
        let (found, shadow) =
            tokio::join!(self.primary.get_many(tokens, context), self.shadows(tokens, context));
        let Witnessed { value, now, canary } = found?;
        let shadow = shadow.into_iter().chain(std::iter::repeat(None));
        let value = value.into_iter().zip(shadow).map(|(left, right)| both(left, right, now));
        Ok(Witnessed { value: value.collect(), now, canary })
    }

    async fn join(
        &self,
        request: RevocationRequest,
        context: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>> {
        let token = request.token.clone();
        let joined = self.primary.join(request, context).await?;
        if matches!(joined.value, RevokeOutcome::Inserted | RevokeOutcome::Tightened) {
            self.replication.mirror(token).await;
        }
        Ok(joined)
    }

    /// Only one call ever wins, and the primary alone says which.
    async fn insert(
        &self,
        request: RevocationRequest,
        context: &CallContext,
    ) -> Result<Witnessed<Insertion>> {
        let token = request.token.clone();
        let inserted = self.primary.insert(request, context).await?;
        if inserted.value == Insertion::Inserted {
            self.replication.mirror(token).await;
        }
        Ok(inserted)
    }

    async fn merge(
        &self,
        record: Revocation,
        context: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>> {
        let token = record.token.clone();
        let merged = self.primary.merge(record, context).await?;
        self.replication.mirror(token).await;
        Ok(merged)
    }

    async fn scan(
        &self,
        after: Option<&TokenId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<Revocation>> {
        self.primary.scan(after, limit, context).await
    }

    /// Each side removes by its own clock what means nothing any more.
    async fn purge(&self, limit: usize) -> Result<PurgeReport> {
        if let Some(shadow) = self.replication.live_shadow() {
            let purged =
                tokio::time::timeout(self.replication.options.mirror_timeout, shadow.purge(limit));
            if !matches!(purged.await, Ok(Ok(_))) {
                tracing::debug!("the shadow's expired records stay a while");
            }
        }
        self.primary.purge(limit).await
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
