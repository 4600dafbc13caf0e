//! What goes wrong, and in which calls.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use syntrix_storage_core::ErrorKind;
use syntrix_storage_core::backend::StoreKind;

/// What becomes of a call.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done and the call fails, as when no connection could be made.
    FailBefore,
    /// The work is done and its answer is lost, as when a connection breaks behind a commit.
    FailAfter,
    /// Nothing is done and the call never ends.
    Hang,
    /// The work is done and the call never ends.
    HangAfter,
    /// The work is done this much later.
    Delay(Duration),
}

/// A method of a backend trait. `Get` of documents is another call than `Get` of accounts: see [`FaultRule::of`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// One record by its key.
    Get,
    /// Records by their keys.
    GetMany,
    /// An account by its folded name.
    GetByName,
    /// Writes of documents, each judged by itself, or a write of an account.
    Write,
    /// A revocation to be joined.
    Join,
    /// A merged record.
    Merge,
    /// A revocation of who comes first.
    Insert,
    /// A query, with or without the place in the feed.
    Query,
    /// A list of accounts.
    List,
    /// An export.
    Scan,
    /// A read of the change log.
    Feed,
    /// The end of the change log.
    FeedEnd,
    /// The wait for news.
    WaitForChange,
    /// Removal of old changes.
    TrimFeed,
    /// Removal of expired records.
    Purge,
    /// The declared indexes.
    ListIndexes,
    /// Declaring an index.
    CreateIndex,
    /// Dropping an index.
    DropIndex,
    /// The check of what must be there.
    EnsureIndexes,
    /// The probe.
    Health,
    /// Letting go.
    Close,
}

/// Which calls meet a fault. Everything that a rule says must hold; a rule that says nothing fits every call.
#[derive(Clone)]
pub struct FaultRule {
    fault: Fault,
    error: ErrorKind,
    store: Option<StoreKind>,
    method: Option<Method>,
    key: Option<String>,
    nth: Option<u64>,
    every: Option<u64>,
    chance: Option<f64>,
    times: Option<u64>,
    seen: u64,
    injected: u64,
}

impl FaultRule {
    /// Every call meets `fault`.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            error: ErrorKind::Unavailable,
            store: None,
            method: None,
            key: None,
            nth: None,
            every: None,
            chance: None,
            times: None,
            seen: 0,
            injected: 0,
        }
    }

    /// Only calls of `store`.
    #[must_use]
    pub fn of(mut self, store: StoreKind) -> Self {
        self.store = Some(store);
        self
    }

    /// Only calls of `method`.
    #[must_use]
    pub fn at(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only calls that name `key`: a document's path, an account's id or folded name, a token's id.
    #[must_use]
    pub fn about(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Only the `number`th of the calls that fit otherwise, from 1.
    #[must_use]
    pub fn nth(mut self, number: u64) -> Self {
        self.nth = Some(number);
        self
    }

    /// Every `step`th of the calls that fit otherwise. 0 is none.
    #[must_use]
    pub fn every(mut self, step: u64) -> Self {
        self.every = Some(step);
        self
    }

    /// Each of the calls that fit otherwise with this probability, from 0 to 1.
    #[must_use]
    pub fn with_chance(mut self, chance: f64) -> Self {
        self.chance = Some(chance);
        self
    }

    /// At most so many calls.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Calls fail with `kind` instead of [`ErrorKind::Unavailable`].
    #[must_use]
    pub fn with_error(mut self, kind: ErrorKind) -> Self {
        self.error = kind;
        self
    }

    pub(super) fn error(&self) -> ErrorKind {
        self.error
    }

    /// Counts the call if it fits; the fault if it meets one.
    pub(super) fn judge(&mut self, call: &Call<'_>, rng: &mut Rng) -> Option<Fault> {
        if !self.fits(call) {
            return None;
        }
        self.seen += 1;
        let due = self.nth.is_none_or(|nth| self.seen == nth)
            && self.every.is_none_or(|every| self.seen.checked_rem(every) == Some(0))
            && self.times.is_none_or(|times| self.injected < times)
            && self.chance.is_none_or(|chance| rng.f64() < chance);
        self.injected += u64::from(due);
        due.then_some(self.fault)
    }

    fn fits(&self, call: &Call<'_>) -> bool {
        self.store.is_none_or(|store| store == call.store)
            && self.method.is_none_or(|method| method == call.method)
            && self.key.as_deref().is_none_or(|key| call.keys.contains(&key))
    }
}

impl fmt::Debug for FaultRule {
    /// Without the key, which may be a token's id.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("FaultRule");
        debug.field("fault", &self.fault).field("store", &self.store);
        debug.field("method", &self.method).field("injected", &self.injected);
        debug.finish_non_exhaustive()
    }
}

/// A call as rules see it.
#[derive(Clone, Copy)]
pub(super) struct Call<'keys> {
    pub(super) store: StoreKind,
    pub(super) method: Method,
    pub(super) keys: &'keys [&'keys str],
}
