//! What operators see of a route.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use syntrix_storage_core::backend::{Ledger, StoreKind};
use syntrix_storage_core::{Clock, Position, Result, SystemClock, Timestamp};

use crate::breaker::BreakerState;
use crate::replicator::records::{self, LeaseBody};
use crate::shadow::{LastFailure, ShadowLink, ShadowState};
use crate::verify::state::VerifyBody;
use crate::verify::{LastVerify, VerifyUnderWay};

/// Shorter than this, a rate says little.
const RATE_TIME_MIN: Duration = Duration::from_secs(2);

/// A route as it is now. Serialises to JSON with `camelCase` keys; fields may be added.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// Which store: `documents`, `users` or `revocations`.
    pub store: &'static str,
    /// The strategy's word in the configuration.
    pub strategy: String,
    /// The shadow, as this process sees it.
    pub shadow: ShadowState,
    /// What failed last on the way to the shadow in this process; it may be over.
    pub last_failure: Option<LastFailure>,
    /// Whether the shadow has everything from before the route, and the route may be read from it.
    pub filled: bool,
    /// Who replicates; `None` if nobody does.
    pub holder: Option<HolderStatus>,
    /// How far the shadow is behind; `None` if that cannot be said, such as while a side is down.
    pub lag: Option<LagStatus>,
    /// Mirrored writes of this process.
    pub mirror: MirrorStatus,
    /// What this process replicated.
    pub replicated: ReplicatedStatus,
    /// Documents or accounts that the shadow refuses, not counted beyond 1,000; of tokens, how many it refused in the last
    /// pass.
    pub dead_letters: Option<u64>,
    /// The copy of what was there before the route; `None` before it began.
    pub fill: Option<FillStatus>,
    /// How often the primary's history was gone, each time followed by a new fill.
    pub history_lost: u64,
    /// Seconds until changes that the shadow lacks are trimmed from the primary's history; `None` if it lacks none.
    pub feed_window_left_seconds: Option<u64>,
    /// Since when tombstones are kept on the primary, in milliseconds since 1970.
    pub pinned_since_ms: Option<i64>,
    /// The last comparison by `verify` that came to its end, whoever made it.
    pub last_verify: Option<LastVerify>,
    /// A comparison of documents that is being made, or was interrupted and can be resumed.
    pub verify_under_way: Option<VerifyUnderWay>,
    /// Reads compared under `reads: both`, as the process noted that did so last.
    pub last_compare: Option<CompareStatus>,
}

impl StatusReport {
    /// What is known without asking either side.
    pub(crate) fn new(
        store: StoreKind,
        strategy: &str,
        mirror: MirrorStatus,
        replicated: ReplicatedStatus,
    ) -> Self {
        Self {
            store: store.as_str(),
            strategy: strategy.to_owned(),
            shadow: ShadowState::Connecting,
            last_failure: None,
            filled: false,
            holder: None,
            lag: None,
            mirror,
            replicated,
            dead_letters: None,
            fill: None,
            history_lost: 0,
            feed_window_left_seconds: None,
            pinned_since_ms: None,
            last_verify: None,
            verify_under_way: None,
            last_compare: None,
        }
    }

    /// How the shadow is, as this process sees it.
    pub(crate) fn with_link<S: ?Sized>(mut self, link: &ShadowLink<S>) -> Self {
        (self.shadow, self.filled) = (link.state(), link.is_filled());
        self.last_failure = link.last_failure();
        self
    }

    /// What the comparisons noted.
    pub(crate) fn add_verify(&mut self, body: Option<VerifyBody>) {
        let Some(body) = body else { return };
        self.verify_under_way = body.under_way();
        self.last_verify = body.last;
    }
}

/// Who has the lease of this name, if anybody does.
pub(crate) async fn holder(
    ledger: &dyn Ledger,
    lease: &str,
    is_here: bool,
) -> Result<Option<HolderStatus>> {
    let found = records::read::<LeaseBody>(ledger, lease).await?.map(|(_, body)| body);
    let held = found.filter(|body| !body.released);
    Ok(held.map(|body| HolderStatus { name: body.holder, term: body.term, is_here }))
}

/// Who replicates.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HolderStatus {
    /// The holder's name; the part behind `@` is its process number.
    pub name: String,
    /// How many holders there were up to it.
    pub term: u64,
    /// Whether it is this process.
    pub is_here: bool,
}

/// How far the shadow is behind.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LagStatus {
    /// Seconds since the first change that the checkpoint lacks was committed; 0 if it lacks none.
    pub seconds: f64,
    /// Changes that the checkpoint lacks, where the primary numbers them.
    pub events: Option<u64>,
}

impl LagStatus {
    pub(crate) const NONE: Self = Self { seconds: 0.0, events: Some(0) };

    /// What lies between `place` and `end` is lacking, the first of it written at `since`.
    pub(crate) fn between(place: &Position, end: Option<&Position>, since: Timestamp) -> Self {
        let age = SystemClock.now().as_milliseconds() - since.as_milliseconds();
        let seconds = age.max(0) as f64 / 1000.0;
        Self { seconds, events: end.and_then(|end| events_between(place, end)) }
    }
}

/// Places that carry more than a number are not counted by it.
fn events_between(place: &Position, end: &Position) -> Option<u64> {
    let are_numbers = place.state.is_empty() && end.state.is_empty();
    are_numbers.then(|| end.sequence.saturating_sub(place.sequence))
}

/// Mirrored writes of one process.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorStatus {
    /// What the breaker lets through.
    pub breaker: BreakerState,
    /// How often it opened.
    pub opened: u64,
    /// Writes that the shadow confirmed.
    pub confirmed: u64,
    /// Writes that failed or took too long; the feed delivers them.
    pub failed: u64,
    /// Writes that were left to the feed at once.
    pub skipped: u64,
}

/// What one process replicated.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicatedStatus {
    /// Records that were new to the shadow.
    pub applied: u64,
    /// Records that the shadow had, or had newer.
    pub known: u64,
    /// Records of another history that the primary's replaced.
    pub lineage: u64,
    /// Records a second in the last seconds that were measured; `None` before.
    pub per_second: Option<f64>,
}

/// Reads compared under `reads: both`, since their process began.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompareStatus {
    /// When it was noted, in milliseconds since 1970.
    pub noted_ms: i64,
    /// Which process.
    pub process: u32,
    /// Reads that the shadow answered alike at once.
    pub equal: u64,
    /// Reads that the shadow answered alike a little later.
    pub lag: u64,
    /// Reads whose answer changed on the primary meanwhile.
    pub raced: u64,
    /// Reads that the shadow answered otherwise and went on to: each is in the log.
    pub definite: u64,
    /// Reads that could not be compared, as a side did not answer.
    pub failed: u64,
    /// Reads that were not compared, as there were too many.
    pub dropped: u64,
    /// When the last definite difference was found, in milliseconds since 1970.
    pub last_definite_ms: Option<i64>,
}

/// The copy of what was there before the route.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FillStatus {
    /// Number of the fill.
    pub number: u64,
    /// Records copied so far.
    pub copied: u64,
    /// Records that the shadow had too much.
    pub removed: u64,
    /// The last path that was copied.
    pub copied_to: Option<String>,
    /// Whether the copy is whole.
    pub done: bool,
    /// Records per second, if this process copies.
    pub rate_per_second: Option<f64>,
    /// Pause between two pages for the primary's sake, if this process copies.
    pub pause_ms: Option<u64>,
}

/// Counts of one process's replicator.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    applied: AtomicU64,
    known: AtomicU64,
    lineage: AtomicU64,
    pub(crate) is_holder: AtomicBool,
    pub(crate) fill_pause_ms: AtomicU64,
    /// Records copied by this process, and since when.
    pub(crate) filling: Mutex<Option<(Instant, u64)>>,
    rate: Rate,
}

/// How fast a count grows, measured between the looks at it.
#[derive(Debug, Default)]
pub(crate) struct Rate(Mutex<Option<Measured>>);

/// A look at the count, and what came of it and the one before.
#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Instant,
    count: u64,
    per_second: Option<f64>,
}

impl Rate {
    /// What was measured last, `count` being what it is now.
    pub(crate) fn measured(&self, count: u64) -> Option<f64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let per_second = match *last {
            Some(Measured { at, per_second, .. }) if at.elapsed() < RATE_TIME_MIN => {
                return per_second;
            }
            Some(Measured { at, count: before, .. }) => {
                Some(count.saturating_sub(before) as f64 / at.elapsed().as_secs_f64())
            }
            None => None,
        };
        *last = Some(Measured { at: Instant::now(), count, per_second });
        per_second
    }
}

impl Counts {
    pub(crate) fn applied(&self, count: u64) {
        self.applied.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn known(&self, count: u64) {
        self.known.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn lineage(&self, count: u64) {
        self.lineage.fetch_add(count, Ordering::Relaxed);
    }

    /// Records per second that this process copies.
    pub(crate) fn fill_rate(&self) -> Option<f64> {
        let filling = *self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        filling.map(|(since, copied)| copied as f64 / since.elapsed().as_secs_f64().max(0.001))
    }

    /// The pause between two pages, if this process copies.
    pub(crate) fn fill_pause(&self) -> Option<u64> {
        self.fill_rate().map(|_| self.fill_pause_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn report(&self) -> ReplicatedStatus {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ReplicatedStatus {
            applied: read(&self.applied),
            known: read(&self.known),
            lineage: read(&self.lineage),
            per_second: self.rate.measured(read(&self.applied) + read(&self.known)),
        }
    }
}
