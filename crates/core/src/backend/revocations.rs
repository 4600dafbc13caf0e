//! The thin backend behind a store of revoked tokens.

use async_trait::async_trait;

use crate::backend::CallContext;
use crate::capabilities::Capabilities;
use crate::document_admin::{HealthReport, PurgeReport};
use crate::error::{Error, ErrorKind, Result};
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

/// What follows if `record`, which another store decided, is merged with what is `stored`, and what is to be stored then.
///
/// A join like [`RevocationRequest::join`], but the time of the revocation is the record's own: earliest time, immediate
/// wins, latest expiry. Of two texts the smaller stays, so that any number of records come to the same in any order, however
/// often each is merged.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::backend::{RevocationRequest, merge_revocation};
/// use syntrix_storage_core::{Revocation, RevokeOutcome, Timestamp, TokenId};
///
/// let at = Timestamp::from_milliseconds;
/// let record = Revocation {
///     token: TokenId::parse("9b1d")?,
///     revoked_at: at(10),
///     immediate: false,
///     expires_at: at(90),
///     keep_until: at(100),
///     reason: None,
///     subject: None,
///     family: None,
///     successor: None,
/// };
/// let (outcome, stored) = merge_revocation(&record, None, at(50));
/// assert_eq!((outcome, stored.as_ref()), (RevokeOutcome::Inserted, Some(&record)));
/// assert_eq!(merge_revocation(&record, stored.as_ref(), at(60)), (RevokeOutcome::Unchanged, None));
/// assert_eq!(merge_revocation(&record, None, at(100)).0, RevokeOutcome::AlreadyExpired);
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
pub fn merge_revocation(
    record: &Revocation,
    stored: Option<&Revocation>,
    now: Timestamp,
) -> (RevokeOutcome, Option<Revocation>) {
    if !record.is_kept(now) {
        return match stored.filter(|stored| stored.is_kept(now)) {
            Some(_) => (RevokeOutcome::Unchanged, None),
            None => (RevokeOutcome::AlreadyExpired, None),
        };
    }
    let Some(current) = stored.filter(|stored| stored.is_kept(now)) else {
        return (RevokeOutcome::Inserted, Some(record.clone()));
    };
    let merged = merged(current, record);
    match merged == *current {
        true => (RevokeOutcome::Unchanged, None),
        false => (RevokeOutcome::Tightened, Some(merged)),
    }
}

fn merged(current: &Revocation, record: &Revocation) -> Revocation {
    Revocation {
        token: current.token.clone(),
        revoked_at: current.revoked_at.min(record.revoked_at),
        immediate: current.immediate || record.immediate,
        expires_at: current.expires_at.max(record.expires_at),
        keep_until: current.keep_until.max(record.keep_until),
        reason: least(&current.reason, &record.reason),
        subject: least(&current.subject, &record.subject),
        family: least(&current.family, &record.family),
        successor: least(&current.successor, &record.successor),
    }
}

/// The smaller one, byte by byte; any is smaller than none.
fn least<T: Ord + Clone>(left: &Option<T>, right: &Option<T>) -> Option<T> {
    left.iter().chain(right).min().cloned()
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

    /// Stores what [`merge_revocation`] says, as one atomic step: how a record comes from another store.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] from a backend that does not implement this: it can be no shadow.
    async fn merge(
        &self,
        record: Revocation,
        context: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>> {
        let _ = (record, context);
        Err(Error::new(ErrorKind::Unsupported, "merge").with_message(
            "this backend cannot take records of another store, so it can be no shadow",
        ))
    }

    /// Stored records behind `after`, in the order of their tokens, at most `limit`; those whose time is over may be among them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] from a backend that cannot name the tokens of its records. A route whose primary it is has a
    /// complete shadow once every token has expired that was revoked before the route.
    async fn scan(
        &self,
        after: Option<&TokenId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<Revocation>> {
        let _ = (after, limit, context);
        Err(Error::new(ErrorKind::Unsupported, "scan")
            .with_message("this backend cannot list the tokens that are revoked"))
    }

    /// Removes records whose time is over by the store's clock, at most `limit`.
    async fn purge(&self, limit: usize) -> Result<PurgeReport>;

    /// Verifies the indexes and creates what is missing.
    async fn ensure_indexes(&self) -> Result<()>;

    /// Probes the backend.
    async fn health(&self) -> Result<HealthReport>;

    /// Lets go of everything. Idempotent: a caller may give up and close again.
    async fn close(&self) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Revocation> {
        let text = || proptest::option::of("[ab]{0,2}");
        let times = (0_i64..40, 0_i64..40, 0_i64..60);
        (times, any::<bool>(), text(), text()).prop_map(|(times, immediate, reason, family)| {
            let at = Timestamp::from_milliseconds;
            Revocation {
                token: TokenId::parse("t").unwrap(),
                revoked_at: at(times.0),
                immediate,
                expires_at: at(times.1),
                keep_until: at(times.2),
                reason,
                subject: None,
                family: family.clone(),
                successor: family.and_then(|text| TokenId::parse(&text).ok()),
            }
        })
    }

    fn all(records: &[Revocation], now: Timestamp) -> Option<Revocation> {
        let mut stored = None;
        for record in records.iter().chain(records) {
            stored = merge_revocation(record, stored.as_ref(), now).1.or(stored);
        }
        stored
    }

    proptest! {
        #[test]
        fn merges_come_to_the_same_in_any_order_however_often_each_is_made(
            records in proptest::collection::vec(records(), 1..6),
            start in 0_usize..6,
            now in 0_i64..60,
        ) {
            let now = Timestamp::from_milliseconds(now);
            let (mut turned, mut reversed) = (records.clone(), records.clone());
            turned.rotate_left(start % records.len());
            reversed.reverse();
            prop_assert_eq!(all(&turned, now), all(&records, now));
            prop_assert_eq!(all(&reversed, now), all(&records, now));
        }

        #[test]
        fn halves_that_were_merged_apart_come_to_the_whole(
            left in proptest::collection::vec(records(), 0..4),
            right in proptest::collection::vec(records(), 0..4),
            now in 0_i64..60,
        ) {
            let now = Timestamp::from_milliseconds(now);
            let halves: Vec<_> = [all(&left, now), all(&right, now)].into_iter().flatten().collect();
            let whole: Vec<_> = left.into_iter().chain(right).collect();
            prop_assert_eq!(all(&halves, now), all(&whole, now));
        }
    }
}
