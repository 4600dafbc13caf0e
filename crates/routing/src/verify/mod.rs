//! Verify: whether a shadow holds what its primary holds, found out while writes go on.
//!
//! A range is read on the primary, then the shadow is given the time to catch up to the end of the primary's feed as it is
//! after that read (a [`Barrier`]), then the range is read on the shadow. What the shadow lacks behind the barrier it really
//! lacks; what it has beyond is looked at again. So a verdict is exact, and no write has to wait for it.

mod digest;
mod entry;
mod pages;
mod recheck;
mod records;
mod repair;
mod report;
mod route;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Serialize;
use syntrix_storage_core::backend::{CallContext, DocumentBackend};
use syntrix_storage_core::{Consistency, Operation, Result, Timestamp};

pub use digest::SideSummary;
pub use records::{RecordFinding, RecordKey, RecordReport, RecordRoute, RecordsSummary};
pub use repair::{Repair, RepairSummary, Repaired};
pub use report::{Finding, Verdict, VerdictCounts, VerifySummary};

use digest::SideDigest;
use pages::Range;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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
}

/// What a run has found so far.
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
        Self { primary, shadow, barrier, options }
    }

    /// Compares everything, tombstones included.
    ///
    /// # Errors
    ///
    /// What the databases, the barrier or `report` say; then nothing is proven.
    pub async fn run(&self, report: Report<'_>) -> Result<VerifySummary> {
        let started = Instant::now();
        let mut progress = Progress {
            primary: SideDigest::new(),
            shadow: SideDigest::new(),
            counts: VerdictCounts::default(),
            settled: 0,
            expired: 0,
        };
        let mut range = Some(Range::first());
        while let Some(current) = range {
            range = self.run_range(current, &mut progress, report).await?;
        }
        Ok(self.summary(progress, started))
    }

    /// Compares one range and returns the next.
    async fn run_range(
        &self,
        range: Range,
        progress: &mut Progress,
        report: Report<'_>,
    ) -> Result<Option<Range>> {
        let (primary, bounds, next) = self.read_primary(range).await?;
        self.barrier.pass().await?;
        let shadow = self.read_shadow(&bounds).await?;
        let doubtful = pages::compare(&primary, &shadow, |equal| {
            progress.primary.add(equal);
            progress.shadow.add(equal);
        });
        self.recheck(doubtful, progress, report).await?;
        Ok(next)
    }

    fn summary(&self, progress: Progress, started: Instant) -> VerifySummary {
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
            elapsed: started.elapsed(),
        }
    }
}

/// Reads and writes of verify name their database and see its last commit.
fn context() -> CallContext {
    CallContext::new(Operation::Migrate).with_consistency(Consistency::Strong)
}
