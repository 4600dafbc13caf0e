//! The store of revoked tokens, as applications see it. An error is never "not revoked".

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::{Error, Reason, Result};
use crate::time::Timestamp;

/// A token's id (`jti`): 1 to 256 bytes without control characters, compared byte by byte.
///
/// `Debug` shows a digest only: token ids do not belong in logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenId(String);

impl TokenId {
    /// Checks and takes an id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), which a caller must treat as revoked.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            let message = "a token id has 1 to 256 bytes and no control characters";
            return Err(Error::invalid("jti", Reason::Option, message));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenId({})", &blake3::hash(self.0.as_bytes()).to_hex()[..12])
    }
}

/// What is stored of a revoked token. Records only ever grow stricter: earliest time, immediate wins, latest expiry.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The token.
    pub token: TokenId,
    /// The first revocation, by the store's clock; a grace period is counted from here.
    pub revoked_at: Timestamp,
    /// Whether no grace applies.
    pub immediate: bool,
    /// When the token itself expires.
    pub expires_at: Timestamp,
    /// Why; the first reason given.
    pub reason: Option<String>,
    /// The account it belonged to.
    pub subject: Option<String>,
    /// The chain of refresh tokens it belonged to.
    pub family: Option<String>,
    /// The token issued in its place.
    pub successor: Option<TokenId>,
}

/// What a revoke changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeOutcome {
    /// The token was not revoked before.
    Inserted,
    /// The record grew stricter.
    Tightened,
    /// Nothing to change.
    Unchanged,
    /// The token has expired, nothing is stored.
    AlreadyExpired,
}

/// What a rotation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationOutcome {
    /// This call revoked the token; exactly one call ever does.
    Won,
    /// Another call did, and the grace is running.
    InGrace {
        /// Since when.
        since: Timestamp,
        /// The token issued in its place.
        successor: Option<TokenId>,
    },
    /// Replayed after the grace: revoke the family.
    Revoked {
        /// Since when.
        since: Timestamp,
    },
}

/// Whether a token is revoked, with the details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevocationStatus {
    /// It is not.
    NotRevoked,
    /// It is, but may be used a little longer.
    Grace {
        /// Until then.
        until: Timestamp,
        /// The token issued in its place.
        successor: Option<TokenId>,
    },
    /// It is.
    Revoked {
        /// Since when.
        since: Timestamp,
        /// Without grace.
        immediate: bool,
        /// Why.
        reason: Option<String>,
    },
}

/// Options of revocation operations.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct RevocationOptions {
    /// Longest the call may take.
    pub timeout: Option<Duration>,
    /// Stored with a first revocation.
    pub reason: Option<String>,
}

/// Keeps revoked tokens until they expire. Object safe.
///
/// A failed check is an error and must be treated as revoked.
#[async_trait]
pub trait TokenRevocationStore: Send + Sync + fmt::Debug {
    /// Revokes a token; checks may grant it a grace from the first revocation on.
    async fn revoke_token(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        options: RevocationOptions,
    ) -> Result<RevokeOutcome>;

    /// Revokes a token at once, also one that is in its grace.
    async fn revoke_token_immediate(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        options: RevocationOptions,
    ) -> Result<RevokeOutcome>;

    /// Revokes a token if nobody did: exactly one of any number of callers wins.
    async fn revoke_if_not_revoked(
        &self,
        token: &TokenId,
        expires_at: Timestamp,
        grace: Duration,
        successor: Option<TokenId>,
        options: RevocationOptions,
    ) -> Result<RotationOutcome>;

    /// Whether a token is revoked, granting `grace` after a graceful revocation.
    async fn is_revoked(
        &self,
        token: &TokenId,
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<bool>;

    /// As `is_revoked` for up to 1000 tokens, in their order.
    async fn is_revoked_many(
        &self,
        tokens: &[TokenId],
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<Vec<bool>>;

    /// As `is_revoked`, with the details.
    async fn revocation_status(
        &self,
        token: &TokenId,
        grace: Duration,
        options: RevocationOptions,
    ) -> Result<RevocationStatus>;

    /// Verifies the indexes and creates what is missing.
    async fn ensure_indexes(&self) -> Result<()>;

    /// As [`DocumentStore::close`](crate::DocumentStore::close).
    async fn close(&self) -> Result<()>;
}
