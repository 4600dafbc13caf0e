//! The thin backend behind a store of revoked tokens.

use async_trait::async_trait;

use crate::backend::CallContext;
use crate::capabilities::Capabilities;
use crate::document_admin::{HealthReport, PurgeReport};
use crate::error::Result;
use crate::revocation::{Revocation, RevokeOutcome, TokenId};
use crate::time::Timestamp;

/// A revocation to be joined with what is stored. The store's own time becomes its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRequest {
    /// The token.
    pub token: TokenId,
    /// Whether no grace applies.
    pub immediate: bool,
    /// When the token itself expires.
    pub expires_at: Timestamp,
    /// When the record means nothing any more.
    pub keep_until: Timestamp,
    /// Why.
    pub reason: Option<String>,
    /// The account it belonged to.
    pub subject: Option<String>,
    /// The chain of refresh tokens it belonged to.
    pub family: Option<String>,
    /// The token issued in its place.
    pub successor: Option<TokenId>,
}

impl RevocationRequest {
    /// What follows from this request and the `stored` record at the store's time `now`, and what is to be stored then.
    ///
    /// Records only grow stricter: earliest time, immediate wins, latest expiry, first reason. The join of any number of
    /// requests is the same in any order. A record whose time is over counts as none, whether it was removed or not.
    pub fn join(
        &self,
        stored: Option<&Revocation>,
        now: Timestamp,
    ) -> (RevokeOutcome, Option<Revocation>) {
        let Some(current) = stored.filter(|stored| stored.is_kept(now)) else {
            return match self.keep_until > now {
                true => (RevokeOutcome::Inserted, Some(self.first(now))),
                false => (RevokeOutcome::AlreadyExpired, None),
            };
        };
        let joined = self.joined(current, now);
        match joined == *current {
            true => (RevokeOutcome::Unchanged, None),
            false => (RevokeOutcome::Tightened, Some(joined)),
        }
    }

    /// What follows if only the first request may be stored, and what is to be stored then.
    pub fn insert(
        &self,
        stored: Option<&Revocation>,
        now: Timestamp,
    ) -> (Insertion, Option<Revocation>) {
        match stored.filter(|stored| stored.is_kept(now)) {
            Some(current) => (Insertion::Present(current.clone()), None),
            None if self.keep_until > now => (Insertion::Inserted, Some(self.first(now))),
            None => (Insertion::AlreadyExpired, None),
        }
    }

    fn first(&self, now: Timestamp) -> Revocation {
        Revocation {
            token: self.token.clone(),
            revoked_at: now,
            immediate: self.immediate,
            expires_at: self.expires_at,
            keep_until: self.keep_until,
            reason: self.reason.clone(),
            subject: self.subject.clone(),
            family: self.family.clone(),
            successor: self.successor.clone(),
        }
    }

    fn joined(&self, current: &Revocation, now: Timestamp) -> Revocation {
        let or = |first: &Option<String>, second: &Option<String>| first.clone().or(second.clone());
        Revocation {
            token: current.token.clone(),
            revoked_at: current.revoked_at.min(now),
            immediate: current.immediate || self.immediate,
            expires_at: current.expires_at.max(self.expires_at),
            keep_until: current.keep_until.max(self.keep_until),
            reason: or(&current.reason, &self.reason),
            subject: or(&current.subject, &self.subject),
            family: or(&current.family, &self.family),
            successor: current.successor.clone().or(self.successor.clone()),
        }
    }
}

/// What became of an insertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// Nothing was there; the request is stored.
    Inserted,
    /// This record was there and stays as it is.
    Present(Revocation),
    /// The token has expired; nothing is stored.
    AlreadyExpired,
}

/// A random mark that a store keeps with its data. Another one, or none, tells that data was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary(pub [u8; 16]);

/// An answer, the store's time, and the mark that lay beside the data, all of one moment.
#[derive(Clone, Debug)]
pub struct Witnessed<T> {
    /// The answer.
    pub value: T,
    /// The store's own time.
    pub now: Timestamp,
    /// The mark; `None` if it is gone. A backend that cannot lose data under an open handle repeats the one it opened with.
    pub canary: Option<Canary>,
}

/// A place for revoked tokens: stores and finds, decides nothing.
#[async_trait]
pub trait RevocationBackend: Send + Sync + std::fmt::Debug {
    /// The kind in the configuration, for example `sqlite`.
    fn kind(&self) -> &'static str;

    /// What it offers; what concerns documents alone is off.
    fn capabilities(&self) -> Capabilities;

    /// The mark that lay beside the data when it was opened.
    fn canary(&self) -> Canary;

    /// Reads one record, in one round trip. A record that cannot be decoded is an error. Boxed: most tokens have none, and an
    /// answer is handed up through several futures.
    async fn get(
        &self,
        token: &TokenId,
        context: &CallContext,
    ) -> Result<Witnessed<Option<Box<Revocation>>>>;

    /// Reads records in the order of `tokens`, which may repeat, in one round trip.
    async fn get_many(
        &self,
        tokens: &[TokenId],
        context: &CallContext,
    ) -> Result<Witnessed<Vec<Option<Revocation>>>>;

    /// Stores what [`RevocationRequest::join`] says, as one atomic step.
    async fn join(
        &self,
        request: RevocationRequest,
        context: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>>;

    /// Stores what [`RevocationRequest::insert`] says, as one atomic step.
    async fn insert(
        &self,
        request: RevocationRequest,
        context: &CallContext,
    ) -> Result<Witnessed<Insertion>>;

    /// Removes records whose time is over by the store's clock, at most `limit`.
    async fn purge(&self, limit: usize) -> Result<PurgeReport>;

    /// Verifies the indexes and creates what is missing.
    async fn ensure_indexes(&self) -> Result<()>;

    /// Probes the backend.
    async fn health(&self) -> Result<HealthReport>;

    /// Lets go of everything. Idempotent: a caller may give up and close again.
    async fn close(&self) -> Result<()>;
}
