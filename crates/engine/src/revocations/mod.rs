//! The store of revoked tokens over a thin backend.

mod status;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    CallContext, Canary, Insertion, RevocationBackend, RevocationRequest, StoreKind, Witnessed,
};
use syntrix_storage_core::{
    Capabilities, Error, ErrorKind, HealthReport, Operation, PurgeReport, Reason, Result,
    RevocationOptions, RevocationStatus, RevokeOutcome, RotationOutcome, StoreAdmin, Timestamp,
    TokenId, TokenRevocationStore,
};

use crate::calls::{Calls, deadline};
use crate::documents::check_items;
use crate::maintenance;
use crate::meter::Meter;
use crate::options::EngineOptions;

/// How long a record is kept behind its token's expiry: more than any validator's leeway.
const RETENTION_MARGIN: Duration = Duration::from_secs(5 * 60);
const REASON_BYTES_MAX: usize = 256;

/// A store of revoked tokens over a backend.
pub struct RevocationEngine {
    backend: Arc<dyn RevocationBackend>,
    /// The mark the data had when it was opened.
    canary: Canary,
    calls: Calls,
}

impl RevocationEngine {
    /// Starts an engine. Must be called within a tokio runtime, which runs its worker.
    pub fn start(backend: Arc<dyn RevocationBackend>, options: &EngineOptions) -> Self {
        let calls =
            Calls::new(Meter::new(StoreKind::Revocations, backend.kind()), options.close_timeout);
        maintenance::start_revocations(&backend, options, calls.closing());
        Self { canary: backend.canary(), backend, calls }
    }

    async fn revoke(
        &self,
        token: &TokenId,
        immediate: bool,
        expires_at: Timestamp,
        options: &RevocationOptions,
    ) -> Result<RevokeOutcome> {
        let request = RevocationRequest { immediate, ..request(token, expires_at, options)? };
        // Stored whatever the mark says: a revocation is never refused for what was lost before it.
        Ok(self.backend.join(request, &write(options)).await?.value)
    }

    async fn rotate(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        grace: Duration,
        successor: Option<TokenId>,
        options: &RevocationOptions,
    ) -> Result<RotationOutcome> {
        let request = RevocationRequest { successor, ..request(token, expires_at, options)? };
        let inserted = self.backend.insert(request, &write(options)).await?;
        let (insertion, now) = self.trusted(inserted)?;
        Ok(match insertion {
            Insertion::Inserted => RotationOutcome::Won,
            Insertion::AlreadyExpired => RotationOutcome::AlreadyExpired,
            Insertion::Present(record) => {
                let since = record.revoked_at;
                match status::of(Some(record), now, grace) {
                    RevocationStatus::Grace { successor, .. } => {
                        RotationOutcome::InGrace { since, successor }
                    }
                    _ => RotationOutcome::Revoked { since },
                }
            }
        })
    }

    async fn check(&self, token: &TokenId, grace: Duration, context: &CallContext) -> Result<bool> {
        let found = self.backend.get(token, context).await?;
        let (record, now) = self.trusted(found)?;
        Ok(record.is_some_and(|record| status::revokes(&record, now, grace)))
    }

    async fn status(
        &self,
        token: &TokenId,
        grace: Duration,
        options: &RevocationOptions,
    ) -> Result<RevocationStatus> {
        let found = self.backend.get(token, &read(options)).await?;
        let (record, now) = self.trusted(found)?;
        Ok(status::of(record.map(|record| *record), now, grace))
    }

    async fn check_many(
        &self,
        tokens: &[TokenId],
        grace: Duration,
        options: &RevocationOptions,
    ) -> Result<Vec<bool>> {
        check_items(tokens.len())?;
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.backend.get_many(tokens, &read(options)).await?;
        let (records, now) = self.trusted(found)?;
        let check = |record: &Option<_>| {
            record.as_ref().is_some_and(|record| status::revokes(record, now, grace))
        };
        Ok(records.iter().map(check).collect())
    }

    /// The answer and the time, if the mark beside the data is the one it was opened with.
    fn trusted<T>(&self, answer: Witnessed<T>) -> Result<(T, Timestamp)> {
        if answer.canary == Some(self.canary) {
            return Ok((answer.value, answer.now));
        }
        Err(Error::new(ErrorKind::StateLost, "").with_message(
            "the database lost its records; treat every token as revoked until they are restored",
        ))
    }
}

#[async_trait]
impl TokenRevocationStore for RevocationEngine {
    async fn revoke_token(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        options: RevocationOptions,
    ) -> Result<RevokeOutcome> {
        let work = self.revoke(token, false, expires_at, &options);
        self.calls.run("revoke_token", options.timeout, work).await
    }

    async fn revoke_token_immediate(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        options: RevocationOptions,
    ) -> Result<RevokeOutcome> {
        let work = self.revoke(token, true, expires_at, &options);
        self.calls.run("revoke_token_immediate", options.timeout, work).await
    }

    async fn revoke_if_not_revoked(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        grace: Duration,
        successor: Option<TokenId>,
        options: RevocationOptions,
    ) -> Result<RotationOutcome> {
        let work = self.rotate(token, expires_at, grace, successor, &options);
        self.calls.run("revoke_if_not_revoked", options.timeout, work).await
    }

    async fn is_revoked(
        &self,
        token: &TokenId,
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<bool> {
        let context = read(&options);
        let work = pin!(self.check(token, grace, &context));
        self.calls.run("is_revoked", options.timeout, work).await
    }

    async fn is_revoked_many(
        &self,
        tokens: &[TokenId],
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<Vec<bool>> {
        let work = self.check_many(tokens, grace, &options);
        self.calls.run("is_revoked_many", options.timeout, work).await
    }

    async fn revocation_status(
        &self,
        token: &TokenId,
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<RevocationStatus> {
        let work = self.status(token, grace, &options);
        self.calls.run("revocation_status", options.timeout, work).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        self.calls.run("ensure_indexes", None, self.backend.ensure_indexes()).await
    }

    async fn close(&self) -> Result<()> {
        self.calls.close(self.backend.close()).await
    }
}

#[async_trait]
impl StoreAdmin for RevocationEngine {
    async fn purge_expired(&self, limit: usize) -> Result<PurgeReport> {
        self.calls.run("purge_expired", None, self.backend.purge(limit)).await
    }

    async fn health(&self) -> Result<HealthReport> {
        self.calls.health(self.backend.health()).await
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }
}

impl Drop for RevocationEngine {
    fn drop(&mut self) {
        self.calls.abandon();
    }
}

impl fmt::Debug for RevocationEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("RevocationEngine");
        debug.field("backend", &self.backend).finish_non_exhaustive()
    }
}

/// A graceful request. A far expiry is cut to the latest time there is: refusing it would leave the token alive.
fn request(
    token: &TokenId,
    expires_at: Timestamp,
    options: &RevocationOptions,
) -> Result<RevocationRequest> {
    check_reason(options.reason.as_deref())?;
    let expires_at = expires_at.clamp(Timestamp::default(), Timestamp::LATEST);
    Ok(RevocationRequest {
        token: token.clone(),
        immediate: false,
        expires_at,
        keep_until: expires_at.saturating_add(RETENTION_MARGIN).min(Timestamp::LATEST),
        reason: options.reason.clone(),
        subject: None,
        family: None,
        successor: None,
    })
}

fn check_reason(reason: Option<&str>) -> Result<()> {
    if reason.is_none_or(|reason| reason.len() <= REASON_BYTES_MAX && !reason.contains('\0')) {
        return Ok(());
    }
    let message = "a reason has up to 256 bytes, none of them zero";
    Err(Error::invalid("reason", Reason::Option, message).with_fact("limit", REASON_BYTES_MAX))
}

/// Never from a replica that may lag: what it does not know yet would count as not revoked.
fn read(options: &RevocationOptions) -> CallContext {
    CallContext::new(Operation::ReadStrong).with_deadline(deadline(options.timeout))
}

fn write(options: &RevocationOptions) -> CallContext {
    CallContext::new(Operation::Write).with_deadline(deadline(options.timeout))
}
