//! A revoked token: its id, its record, and the answers about it.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, Reason, Result};
use crate::time::Timestamp;

/// The longest grace a check may grant; longer ones count as this.
pub const GRACE_MAX: Duration = Duration::from_secs(5 * 60);

/// A token's id (`jti`): 1 to 256 bytes without control characters, compared byte by byte.
///
/// `Debug` shows a digest only: token ids do not belong in logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

impl TokenId {
    /// Checks and takes an id.
    ///
    /// # Errors
    ///
    /// [`Reason::TokenId`], which a caller must treat as revoked.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::TokenId;
    ///
    /// assert_eq!(TokenId::parse("9b1d")?.as_str(), "9b1d");
    /// assert!(TokenId::parse("").is_err());
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
            let message = "a token id has 1 to 256 bytes and no control characters";
            return Err(Error::invalid("jti", Reason::TokenId, message)
                .with_fact("bytes", text.len())
                .with_fact("limit", 256));
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
    /// When the record means nothing any more and may be removed: some time after the token's expiry.
    pub keep_until: Timestamp,
    /// Why; the first reason given.
    pub reason: Option<String>,
    /// The account it belonged to.
    pub subject: Option<String>,
    /// The chain of refresh tokens it belonged to.
    pub family: Option<String>,
    /// The token issued in its place.
    pub successor: Option<TokenId>,
}

impl Revocation {
    /// Whether the record still means something at the store's time `now`; removed or not makes no difference.
    pub fn is_kept(&self, now: Timestamp) -> bool {
        now < self.keep_until
    }
}

/// What a revoke changed.
#[non_exhaustive]
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
#[non_exhaustive]
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
    /// Replayed after the grace, or revoked at once by somebody: revoke the family.
    Revoked {
        /// Since when.
        since: Timestamp,
    },
    /// The token has expired: nobody wins, nothing is stored.
    AlreadyExpired,
}

/// Whether a token is revoked, with the details.
#[non_exhaustive]
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
