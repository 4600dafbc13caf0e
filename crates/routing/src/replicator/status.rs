//! What operators see of a route.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::breaker::BreakerState;
use crate::shadow::ShadowState;

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
    /// Documents that the shadow refuses; of accounts and tokens, how many records it refused in the last pass.
    pub dead_letters: Option<u64>,
    /// The copy of what was there before the route; `None` before it began.
    pub fill: Option<FillStatus>,
    /// How often the primary's history was gone, each time followed by a new fill.
    pub history_lost: u64,
    /// Seconds until changes that the shadow lacks are trimmed from the primary's history; `None` if it lacks none.
    pub feed_window_left_seconds: Option<u64>,
    /// Since when tombstones are kept on the primary, in milliseconds since 1970.
    pub pinned_since_ms: Option<i64>,
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
        }
    }
}
