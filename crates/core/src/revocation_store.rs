//! The store of revoked tokens, as applications see it. An error is never "not revoked".

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::revocation::{RevocationStatus, RevokeOutcome, RotationOutcome, TokenId};
use crate::time::Timestamp;

/// Options of revocation operations.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct RevocationOptions {
    /// Longest the call may take; no limit if `None`. A revocation that times out may have been stored.
    pub timeout: Option<Duration>,
    /// Stored with a first revocation; at most 256 bytes.
    pub reason: Option<String>,
}

impl RevocationOptions {
    /// Sets why.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

/// Keeps revoked tokens until they expire. Object safe.
///
/// **A failed check is an error and must be treated as revoked.** Records only ever grow stricter: the first revocation starts
/// the grace, an immediate one ends it for good, the latest expiry counts. Times are those of the store's own clock. A grace
/// is cut to milliseconds and to [`GRACE_MAX`](crate::GRACE_MAX).
///
/// # Errors
///
/// Every method: [`ErrorKind::StateLost`](crate::ErrorKind::StateLost) when the database lost records it had acknowledged,
/// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable),
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed), [`ErrorKind::Internal`](crate::ErrorKind::Internal) for a record that
/// cannot be read. No error carries a token id.
///
/// # Cancellation
///
/// Each revocation is one atomic step: a dropped future leaves it stored or not, never half.
#[async_trait]
pub trait TokenRevocationStore: Send + Sync + fmt::Debug {
    /// Revokes a token; checks may grant it a grace from the first revocation on. Repeating it is fine.
    ///
    /// The record is kept until some minutes behind `expires_at`, at most to the end of the year 9999. A token that expired
    /// longer ago is not stored.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use syntrix_storage::{Clock, RevokeOutcome, Storage, SystemClock, TokenId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let revocations = storage.revocations()?;
    /// let token = TokenId::parse("9b1d")?;
    /// let expires_at = SystemClock.now().saturating_add(Duration::from_secs(900));
    /// let outcome = revocations.revoke_token(&token, expires_at, Default::default()).await?;
    /// assert_eq!(outcome, RevokeOutcome::Inserted);
    /// let again = revocations.revoke_token(&token, expires_at, Default::default()).await?;
    /// assert_eq!(again, RevokeOutcome::Unchanged);
    /// # Ok(())
    /// # }
    /// ```
    async fn revoke_token(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        options: RevocationOptions,
    ) -> Result<RevokeOutcome>;

    /// Revokes a token at once, also one that is in its grace. Nothing loosens it again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use syntrix_storage::{Clock, Storage, SystemClock, TokenId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let revocations = storage.revocations()?;
    /// let token = TokenId::parse("9b1d")?;
    /// let expires_at = SystemClock.now().saturating_add(Duration::from_secs(900));
    /// revocations.revoke_token(&token, expires_at, Default::default()).await?;
    /// revocations.revoke_token_immediate(&token, expires_at, Default::default()).await?;
    /// let grace = Duration::from_secs(30);
    /// assert!(revocations.is_revoked(&token, grace, Default::default()).await?);
    /// # Ok(())
    /// # }
    /// ```
    async fn revoke_token_immediate(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        options: RevocationOptions,
    ) -> Result<RevokeOutcome>;

    /// Revokes a token if nobody did: exactly one of any number of callers wins.
    ///
    /// For refresh tokens: the winner issues `successor`, a loser within `grace` gets it handed back, a later one is a replay.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use syntrix_storage::{Clock, RotationOutcome, Storage, SystemClock, TokenId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let revocations = storage.revocations()?;
    /// let token = TokenId::parse("9b1d")?;
    /// let expires_at = SystemClock.now().saturating_add(Duration::from_secs(900));
    /// let (grace, next) = (Duration::from_secs(30), TokenId::parse("7c2e")?);
    /// let rotate = || {
    ///     let options = Default::default();
    ///     revocations.revoke_if_not_revoked(&token, expires_at, grace, Some(next.clone()), options)
    /// };
    /// assert_eq!(rotate().await?, RotationOutcome::Won);
    /// assert!(matches!(rotate().await?, RotationOutcome::InGrace { successor: Some(_), .. }));
    /// # Ok(())
    /// # }
    /// ```
    async fn revoke_if_not_revoked(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        grace: Duration,
        successor: Option<TokenId>,
        options: RevocationOptions,
    ) -> Result<RotationOutcome>;

    /// Whether a token is revoked, granting `grace` after a graceful revocation. One round trip, nothing is written.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use syntrix_storage::{Storage, TokenId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let revocations = storage.revocations()?;
    /// let token = TokenId::parse("9b1d")?;
    /// // An error is never "not revoked": treat it as revoked.
    /// let checked = revocations.is_revoked(&token, Duration::ZERO, Default::default()).await;
    /// assert!(!checked.unwrap_or(true));
    /// # Ok(())
    /// # }
    /// ```
    async fn is_revoked(
        &self,
        token: &TokenId,
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<bool>;

    /// As `is_revoked` for up to 1000 tokens, in their order.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use syntrix_storage::{Clock, Storage, SystemClock, TokenId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let revocations = storage.revocations()?;
    /// let token = TokenId::parse("9b1d")?;
    /// let expires_at = SystemClock.now().saturating_add(Duration::from_secs(900));
    /// revocations.revoke_token(&token, expires_at, Default::default()).await?;
    /// let tokens = [TokenId::parse("7c2e")?, token];
    /// let checked = revocations.is_revoked_many(&tokens, Duration::ZERO, Default::default()).await?;
    /// assert_eq!(checked, [false, true]);
    /// # Ok(())
    /// # }
    /// ```
    async fn is_revoked_many(
        &self,
        tokens: &[TokenId],
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<Vec<bool>>;

    /// As `is_revoked`, with the details.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use syntrix_storage::{Clock, RevocationStatus, Storage, SystemClock, TokenId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let revocations = storage.revocations()?;
    /// let token = TokenId::parse("9b1d")?;
    /// let expires_at = SystemClock.now().saturating_add(Duration::from_secs(900));
    /// revocations.revoke_token(&token, expires_at, Default::default()).await?;
    /// let grace = Duration::from_secs(30);
    /// let status = revocations.revocation_status(&token, grace, Default::default()).await?;
    /// assert!(matches!(status, RevocationStatus::Grace { .. }));
    /// # Ok(())
    /// # }
    /// ```
    async fn revocation_status(
        &self,
        token: &TokenId,
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<RevocationStatus>;

    /// Verifies the indexes and creates what is missing.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let revocations = storage.revocations()?;
    /// revocations.ensure_indexes().await?;
    /// # Ok(())
    /// # }
    /// ```
    async fn ensure_indexes(&self) -> Result<()>;

    /// As [`DocumentStore::close`](crate::DocumentStore::close). Other stores of the same backend stay open.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use syntrix_storage::{ErrorKind, Storage, TokenId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let revocations = storage.revocations()?;
    /// revocations.close().await?;
    /// let token = TokenId::parse("9b1d")?;
    /// let checked = revocations.is_revoked(&token, Duration::ZERO, Default::default()).await;
    /// assert_eq!(checked.unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok(())
    /// # }
    /// ```
    async fn close(&self) -> Result<()>;
}
