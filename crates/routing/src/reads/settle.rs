//! Finds out in the background what the shadow has by now, so that it may be read again.

use std::sync::Weak;
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::{CallContext, DocumentBackend};
use syntrix_storage_core::{
    Consistency, DocumentPath, Error, ErrorKind, ITEMS_MAX, Operation, Result,
};

use crate::reads::freshness::barrier;
use crate::reads::replica::Asked;
use crate::reads::{ShadowReads, shadow_share};
use crate::replicator::apply::strong;

/// Between two looks whether the shadow has what the session remembers.
const SETTLE_PAUSE_MIN: Duration = Duration::from_millis(5);
const SETTLE_PAUSE_MAX: Duration = Duration::from_millis(250);
/// Longest wait for one barrier of the session's; a shadow that is down is asked again.
const BARRIER_WAIT: Duration = Duration::from_secs(5);
/// After a failed look.
const SETTLE_BACKOFF: Duration = Duration::from_millis(500);
/// How often it is found out how far the shadow is, while that is asked for.
const FRESHNESS_INTERVAL: Duration = Duration::from_millis(500);
/// Longest wait of a list for a barrier.
const LATE_WAIT: Duration = Duration::from_millis(500);

impl ShadowReads {
    /// One look whether the shadow has what is remembered.
    async fn settle(&self) -> Result<()> {
        let shadow = self.replication.link().opened().await;
        let paths = self.session.some(ITEMS_MAX);
        let lacking = self.look(&*shadow.store, paths).await?;
        if !lacking.is_empty() || self.session.needs_barrier() {
            let moment = self.pass_barrier().await?;
            self.settle_missing(&*shadow.store, lacking, moment).await?;
        }
        Ok(())
    }

    /// Forgets what the shadow shows, and returns what it lacks.
    async fn look(
        &self,
        shadow: &dyn DocumentBackend,
        paths: Vec<DocumentPath>,
    ) -> Result<Vec<DocumentPath>> {
        if paths.is_empty() {
            return Ok(paths);
        }
        let found = shadow.get_many(&paths, &shadow_context()).await?;
        found.iter().flatten().for_each(|document| self.session.found(document));
        let lacking = paths.into_iter().zip(&found).filter(|(_, found)| found.is_none());
        Ok(lacking.map(|(path, _)| path).collect())
    }

    /// What the shadow lacks behind a barrier is gone on the primary too, or was refused. A tombstone may lie there a little
    /// longer, as the shadow is purged first, but shows nobody more than its absence.
    async fn settle_missing(
        &self,
        shadow: &dyn DocumentBackend,
        paths: Vec<DocumentPath>,
        moment: u64,
    ) -> Result<()> {
        let lacking = self.look(shadow, paths).await?;
        let missing = self.session.missing(&lacking, moment);
        let paths: Vec<DocumentPath> = missing.iter().map(|missing| missing.path.clone()).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let there = self.replication.primary().get_many(&paths, &strong()).await?;
        for (missing, there) in missing.iter().zip(there) {
            if there.is_none_or(|there| there.is_deleted() && missing.is_tombstone) {
                self.session.is_gone(&missing.path, moment);
            }
        }
        Ok(())
    }

    /// Lists that find every barrier too late wait for one, for a part of their time.
    pub(super) async fn wait_if_late(&self, context: &CallContext) {
        let passed = self.session.barriers.notified();
        if context.consistency == Consistency::Session && self.session.is_late() {
            let _ = tokio::time::timeout(shadow_share(context, LATE_WAIT), passed).await;
        }
    }

    /// Returns the moment it began at.
    async fn pass_barrier(&self) -> Result<u64> {
        let (moment, started) = (self.session.moment(), Instant::now());
        let passed = tokio::time::timeout(BARRIER_WAIT, barrier(&self.replication)).await;
        passed.unwrap_or_else(|_| Err(not_passed()))?;
        self.session.passed(moment);
        self.freshness.passed(started);
        Ok(moment)
    }
}

fn shadow_context() -> CallContext {
    CallContext::new(Operation::Migrate).with_consistency(Consistency::Any)
}

fn not_passed() -> Error {
    Error::new(ErrorKind::Timeout, "replica").with_message("the shadow does not catch up")
}

/// What goes on in the background.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// Forgets what the shadow has by now.
    Settle,
    /// Finds out how far the shadow is, while that is asked for.
    Probe,
}

impl Work {
    pub(super) async fn run(self, reads: &Weak<ShadowReads>) {
        match self {
            Self::Settle => settle_on(reads).await,
            Self::Probe => probe_on(reads).await,
        }
    }
}

async fn settle_on(reads: &Weak<ShadowReads>) {
    let mut pause = SETTLE_PAUSE_MIN;
    while let Some(reads) = reads.upgrade() {
        if reads.marks.get().is_none() {
            if let Err(error) = reads.decide().await {
                tracing::debug!(%error, "it is not known yet how the shadow is to be read");
                tokio::time::sleep(SETTLE_BACKOFF).await;
            }
            continue;
        }
        if let Some(marks) = reads.watermarks() {
            reads.learn(marks).await;
            continue;
        }
        if reads.session.allows_all() {
            reads.session.news.notified().await;
            pause = SETTLE_PAUSE_MIN;
        }
        match reads.settle().await {
            Ok(()) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SETTLE_PAUSE_MAX);
            }
            Err(error) => {
                tracing::debug!(%error, "the shadow was not asked what it has by now");
                tokio::time::sleep(SETTLE_BACKOFF).await;
            }
        }
    }
}

async fn probe_on(reads: &Weak<ShadowReads>) {
    let (mut known, mut lately) = (0, Asked::default());
    while let Some(reads) = reads.upgrade() {
        if let Some(marks) = reads.watermarks() {
            reads.keep_samples(marks, &mut lately).await;
            continue;
        }
        let asked = reads.freshness.asked();
        if asked != known {
            known = asked;
            // What fails leaves the old answer, which grows too old by itself.
            let _ = reads.pass_barrier().await;
        }
        tokio::time::sleep(FRESHNESS_INTERVAL).await;
    }
}
