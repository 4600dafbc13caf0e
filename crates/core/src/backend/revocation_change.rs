//! One atomic change of a revocation: the token, and the rule by which its record changes.

use std::fmt;

use crate::backend::{Insertion, RevocationRequest, merge_revocation};
use crate::revocation::{Revocation, RevokeOutcome, TokenId};
use crate::time::Timestamp;

type Rule<T> = dyn Fn(Option<&Revocation>, Timestamp) -> (T, Option<Revocation>) + Send + Sync;

/// What a backend does in one atomic step: reads the token's record, asks [`RevocationChange::decide`], stores what it says.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::backend::{RevocationChange, RevocationRequest};
/// use syntrix_storage_core::{RevokeOutcome, Timestamp, TokenId};
///
/// let at = Timestamp::from_milliseconds;
/// let change = RevocationChange::join(RevocationRequest {
///     token: TokenId::parse("9b1d")?,
///     immediate: true,
///     expires_at: at(90),
///     keep_until: at(100),
///     reason: None,
///     subject: None,
///     family: None,
///     successor: None,
/// });
/// let (outcome, stored) = change.decide(None, at(50));
/// assert_eq!(outcome, RevokeOutcome::Inserted);
/// assert_eq!(change.decide(stored.as_ref(), at(60)), (RevokeOutcome::Unchanged, None));
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
pub struct RevocationChange<T> {
    token: TokenId,
    rule: Box<Rule<T>>,
}

impl RevocationChange<RevokeOutcome> {
    /// As [`RevocationRequest::join`].
    pub fn join(request: RevocationRequest) -> Self {
        let token = request.token.clone();
        Self { token, rule: Box::new(move |stored, now| request.join(stored, now)) }
    }

    /// As [`merge_revocation`].
    pub fn merge(record: Revocation) -> Self {
        let token = record.token.clone();
        Self { token, rule: Box::new(move |stored, now| merge_revocation(&record, stored, now)) }
    }
}

impl RevocationChange<Insertion> {
    /// As [`RevocationRequest::insert`].
    pub fn insert(request: RevocationRequest) -> Self {
        let token = request.token.clone();
        Self { token, rule: Box::new(move |stored, now| request.insert(stored, now)) }
    }
}

impl<T> RevocationChange<T> {
    /// Whose record changes.
    pub fn token(&self) -> &TokenId {
        &self.token
    }

    /// What follows from the `stored` record at the store's time `now`, and what is to be stored then, if anything.
    pub fn decide(&self, stored: Option<&Revocation>, now: Timestamp) -> (T, Option<Revocation>) {
        (self.rule)(stored, now)
    }
}

impl<T> fmt::Debug for RevocationChange<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RevocationChange")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
