//! Verify: whether a shadow holds what its primary holds, found out while writes go on.
//!
//! A range is read on the primary, then the shadow is given the time to catch up to the end of the primary's feed as it is
//! after that read (a [`Barrier`]), then the range is read on the shadow. What the shadow lacks behind the barrier it really
//! lacks; what it has beyond is looked at again. So a verdict is exact, and no write has to wait for it.

mod behind;
mod digest;
mod entry;
mod pages;
mod recheck;
mod records;
mod repair;
mod report;
mod route;
pub(crate) mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use syntrix_storage_core::backend::DocumentBackend;
use syntrix_storage_core::{Result, Timestamp};

pub use digest::SideSummary;
pub use records::{RecordFinding, RecordKey, RecordReport, RecordRoute, RecordsSummary};
pub use repair::{Repair, RepairSummary, Repaired};
pub use report::{FieldDifference, Finding, Verdict, VerdictCounts, VerifySummary};
pub use state::{LastVerify, VerifyUnderWay};

use digest::SideDigest;
use pages::Range;
use state::Memory;

/// Waits until a shadow has everything that the primary has. Only who follows the feed knows.
#[async_trait]
pub trait Barrier: Send + Sync {
    /// Returns when the shadow has everything that was committed on the primary before this call.
    ///
    /// # Errors
    ///
    /// If it is not making progress.
    async fn pass(&self) -> Result<()>;
}

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Depth {
    /// Versions, times of creation and tombstone marks.
    #[default]
    Quick,
    /// Everything, the data decoded and in normal form.
    Deep,
}

/// How to verify.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// What is compared.
    pub depth: Depth,
    /// Whether findings bring the values that differ. They may be anything that was ever stored.
    pub show_values: bool,
    /// Documents of one range, read between two barriers.
    pub range_documents_max: usize,
    /// How often a document in flight is looked at until it counts as unsettled.
    pub rechecks_max: u32,
    /// The pause before the second and every later look.
    pub recheck_pause: Duration,
    /// Tombstones last written before this may be gone on the shadow, which is purged first.
    pub expired_before: Option<Timestamp>,
    /// Whether to go on where a run of documents that was interrupted had come to. If there is none, it begins anew.
    pub resume: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            depth: Depth::Quick,
            show_values: false,
            range_documents_max: 10_000,
            rechecks_max: 20,
            recheck_pause: Duration::from_millis(50),
            expired_before: None,
            resume: false,
        }
    }
}

impl VerifyOptions {
    /// Sets what is compared.
    #[must_use]
    pub fn with_depth(mut self, depth: Depth) -> Self {
        self.depth = depth;
        self
    }

    /// Sets whether findings bring values.
    #[must_use]
    pub fn with_values(mut self, show_values: bool) -> Self {
        self.show_values = show_values;
        self
    }

    /// Sets whether an interrupted run is taken up.
    #[must_use]
    pub fn with_resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Sets before which time a tombstone must have been written to be missing rightly.
    #[must_use]
    pub fn with_expired_before(mut self, expired_before: Timestamp) -> Self {
        self.expired_before = Some(expired_before);
        self
    }
}

/// Gets each finding as soon as it is certain. An error ends the run.
pub type Report<'run> = &'run mut (dyn FnMut(Finding) -> Result<()> + Send);

/// Compares two databases.
///
/// # Examples
///
/// ```
/// use syntrix_storage_routing::{Verify, VerifySummary};
///
/// async fn print_differences(verify: Verify<'_>) -> syntrix_storage_core::Result<VerifySummary> {
///     let mut print = |finding: syntrix_storage_routing::Finding| {
///         println!("{:?} {}", finding.verdict, finding.path);
///         Ok(())
///     };
///     verify.run(&mut print).await
/// }
/// ```
pub struct Verify<'run> {
    primary: Arc<dyn DocumentBackend>,
    shadow: Arc<dyn DocumentBackend>,
    barrier: &'run dyn Barrier,
    options: VerifyOptions,
    /// Where it notes how far it is.
    memory: Option<Memory>,
    /// Longest wait for one that is not behind, if the shadow is a replica of the primary's own.
    replica_wait: Option<Duration>,
}

/// What a run has found so far.
#[derive(Default)]
struct Progress {
    primary: SideDigest,
    shadow: SideDigest,
    counts: VerdictCounts,
    settled: u64,
    expired: u64,
}

impl<'run> Verify<'run> {
    /// A comparison of `shadow` with `primary`, behind `barrier`.
    pub fn new(
        primary: Arc<dyn DocumentBackend>,
        shadow: Arc<dyn DocumentBackend>,
        barrier: &'run dyn Barrier,
        options: VerifyOptions,
    ) -> Self {
        Self { primary, shadow, barrier, options, memory: None, replica_wait: None }
    }

    /// The same one, which notes how far it is.
    pub(crate) fn remembering(mut self, memory: Memory) -> Self {
        self.memory = Some(memory);
        self
    }

    /// The same one, of a shadow that the primary's own database feeds. A read waits up to `limit` for a replica that is not behind.
    pub(crate) fn of_replica(mut self, limit: Duration) -> Self {
        self.replica_wait = Some(limit);
        self
    }

    /// Compares everything, tombstones included.
    ///
    /// # Errors
    ///
    /// What the databases, the barrier or `report` say; then nothing is proven.
    pub async fn run(mut self, report: Report<'_>) -> Result<VerifySummary> {
        let started = Instant::now();
        let mut memory = self.memory.take();
        let (mut progress, first) = self.begin(memory.as_mut()).await?;
        let resumed_after = first.begins_after().map(str::to_owned);
        let (mut range, mut is_first) = (Some(first), resumed_after.is_none());
        while let Some(current) = range {
            range = self.run_range(current, &mut progress, report).await?;
            let compared_to = range.as_ref().and_then(Range::begins_after);
            if let Some((memory, compared_to)) = memory.as_mut().zip(compared_to) {
                let (depth, elapsed) = (self.options.depth, started.elapsed());
                memory.save(depth, &progress, compared_to, elapsed, is_first).await;
                is_first = false;
            }
        }
        let spent = memory.as_ref().map_or(Duration::ZERO, |memory| memory.spent);
        let summary = self.summary(progress, resumed_after, spent + started.elapsed());
        if let Some(memory) = memory {
            let VerifySummary { depth, equal, counts, elapsed, .. } = summary;
            memory.end(state::ended_now(depth, equal, counts, elapsed)).await;
        }
        Ok(summary)
    }

    /// At the very first range, or where an interrupted run had come to.
    async fn begin(&self, memory: Option<&mut Memory>) -> Result<(Progress, Range)> {
        if let Some(memory) = memory.filter(|_| self.options.resume)
            && let Some(resumed) = memory.resume(self.options.depth).await?
        {
            return Ok((resumed.progress, Range::behind(resumed.after)));
        }
        Ok((Progress::default(), Range::first()))
    }

    /// Compares one range and returns the next.
    async fn run_range(
        &self,
        range: Range,
        progress: &mut Progress,
        report: Report<'_>,
    ) -> Result<Option<Range>> {
        let (primary, bounds, next) = self.read_primary(range).await?;
        let context = self.pass().await?;
        let shadow = self.read_shadow(&bounds, &context).await?;
        let doubtful = pages::compare(&primary, &shadow, |equal| {
            progress.primary.add(equal);
            progress.shadow.add(equal);
        });
        self.recheck(doubtful, progress, report).await?;
        Ok(next)
    }

    fn summary(
        &self,
        progress: Progress,
        resumed_after: Option<String>,
        elapsed: Duration,
    ) -> VerifySummary {
        let Progress { primary, shadow, counts, settled, expired } = progress;
        VerifySummary {
            depth: self.options.depth,
            equal: counts == VerdictCounts::default(),
            counts,
            settled,
            expired,
            ranges_differing: primary.differing(&shadow),
            primary: primary.summary(),
            shadow: shadow.summary(),
            resumed_after,
            elapsed,
        }
    }
}
