//! Stores of revoked tokens with one defect each.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage::{
    ErrorKind, Result, RevocationOptions, RevocationStatus, RevokeOutcome, RotationOutcome,
    Timestamp, TokenId, TokenRevocationStore,
};

use crate::Defect;

#[derive(Debug)]
pub(crate) struct BrokenRevocations {
    inner: Arc<dyn TokenRevocationStore>,
    defect: Defect,
    loosened: Loosened,
}

/// Tokens whose immediate revocation a graceful one overwrote.
pub(crate) type Loosened = Arc<Mutex<HashSet<TokenId>>>;

impl BrokenRevocations {
    pub(crate) fn new(
        inner: Arc<dyn TokenRevocationStore>,
        defect: Defect,
        loosened: Loosened,
    ) -> Self {
        Self { inner, defect, loosened }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn token(&self, token: &TokenId) -> TokenId {
        match self.has(Defect::FoldsTokenIds) {
            true => TokenId::parse(&token.as_str().to_lowercase()).unwrap(),
            false => token.clone(),
        }
    }

    fn grace(&self, grace: Duration) -> Duration {
        match self.has(Defect::GraceIncludesItsEnd) && !grace.is_zero() {
            true => grace + Duration::from_millis(1),
            false => grace,
        }
    }

    fn broken_answer(&self, token: &TokenId, answer: Result<bool>) -> Result<bool> {
        match answer {
            Err(error) if error.kind() == ErrorKind::Closed => {
                if self.has(Defect::AnswersWhenClosed) { Ok(false) } else { Err(error) }
            }
            Err(error) => Err(error),
            Ok(_) if self.has(Defect::KnowsNoRevocations) => Ok(false),
            Ok(_) if self.has(Defect::RevokesEverybody) => Ok(true),
            Ok(_) if self.loosened.lock().unwrap().contains(token) => Ok(false),
            Ok(revoked) => Ok(revoked),
        }
    }
}

#[async_trait]
impl TokenRevocationStore for BrokenRevocations {
    async fn revoke_token(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        options: RevocationOptions,
    ) -> Result<RevokeOutcome> {
        let token = self.token(token);
        let outcome = self.inner.revoke_token(&token, expires_at, options).await?;
        if outcome != RevokeOutcome::Inserted && self.has(Defect::ForgetsImmediate) {
            self.loosened.lock().unwrap().insert(token);
        }
        Ok(outcome)
    }

    async fn revoke_token_immediate(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        options: RevocationOptions,
    ) -> Result<RevokeOutcome> {
        let token = &self.token(token);
        match self.has(Defect::ImmediateIsGraceful) {
            true => self.inner.revoke_token(token, expires_at, options).await,
            false => self.inner.revoke_token_immediate(token, expires_at, options).await,
        }
    }

    async fn revoke_if_not_revoked(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        grace: Duration,
        successor: Option<TokenId>,
        options: RevocationOptions,
    ) -> Result<RotationOutcome> {
        let token = &self.token(token);
        let outcome =
            self.inner.revoke_if_not_revoked(token, expires_at, grace, successor, options).await?;
        Ok(if self.has(Defect::EverybodyWins) { RotationOutcome::Won } else { outcome })
    }

    async fn is_revoked(
        &self,
        token: &TokenId,
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<bool> {
        let token = &self.token(token);
        let answer = self.inner.is_revoked(token, self.grace(grace), options).await;
        self.broken_answer(token, answer)
    }

    async fn is_revoked_many(
        &self,
        tokens: &[TokenId],
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<Vec<bool>> {
        let tokens: Vec<_> = tokens.iter().map(|token| self.token(token)).collect();
        let mut answers = self.inner.is_revoked_many(&tokens, self.grace(grace), options).await?;
        if self.has(Defect::AnswersInReverse) {
            answers.reverse();
        }
        Ok(answers)
    }

    async fn revocation_status(
        &self,
        token: &TokenId,
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<RevocationStatus> {
        self.inner.revocation_status(&self.token(token), self.grace(grace), options).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        self.inner.ensure_indexes().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
