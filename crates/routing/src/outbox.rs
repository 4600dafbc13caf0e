//! What is on its way to the shadow behind the primary's answer: bounded in number, stopped by a breaker, and in tasks of its
//! own, which a dropped caller does not end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::breaker::Breaker;
use crate::options::ReplicationOptions;
use crate::replicator::status::MirrorStatus;

/// The mirrored writes of one route in this process.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) breaker: Breaker,
    /// The shadow has them.
    confirmed: AtomicU64,
    /// They failed or took too long.
    failed: AtomicU64,
    /// They were not tried, since the shadow is not well.
    skipped: AtomicU64,
    under_way: Arc<Semaphore>,
    options: ReplicationOptions,
}

impl Outbox {
    pub(crate) fn new(options: &ReplicationOptions) -> Self {
        Self {
            breaker: Breaker::default(),
            confirmed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            under_way: Arc::new(Semaphore::new(options.mirrors_max)),
            options: options.clone(),
        }
    }

    /// Starts `work`, which brings `count` records and says whether the shadow has them all. `None` if it `may` not be, is too
    /// much at once, or the breaker is open: then it is left to the replicator.
    pub(crate) fn send(
        &self,
        may: bool,
        count: usize,
        work: impl Future<Output = bool> + Send + 'static,
    ) -> Option<oneshot::Receiver<bool>> {
        let fault = self.options.fault.clone();
        let permit = Arc::clone(&self.under_way).try_acquire_owned().ok();
        let Some(permit) = permit.filter(|_| may && self.breaker.allows()) else {
            if let Some(fault) = &fault {
                fault.pass();
            }
            self.skipped.fetch_add(count as u64, Ordering::Relaxed);
            return None;
        };
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            // The primary has it and the shadow not yet: where a process may die in tests.
            if let Some(fault) = &fault {
                fault.pass();
            }
            // Nobody waits for it in the background.
            let _ = answer.send(work.await);
            drop(permit);
        });
        Some(answered)
    }

    /// Whether the shadow confirmed it within the budget of a caller who waits.
    pub(crate) async fn confirmed(&self, sent: Option<oneshot::Receiver<bool>>) -> bool {
        let Some(sent) = sent else { return false };
        match tokio::time::timeout(self.options.mirror_budget, sent).await {
            Ok(confirmed) => confirmed.unwrap_or(false),
            Err(_) => {
                // A shadow that nobody can wait for is as good as one that does not answer.
                self.breaker.failed();
                false
            }
        }
    }

    /// Counts what became of records. The breaker is told apart from that: a record may fail by its own fault.
    pub(crate) fn count(&self, confirmed: usize, failed: usize) {
        self.confirmed.fetch_add(confirmed as u64, Ordering::Relaxed);
        self.failed.fetch_add(failed as u64, Ordering::Relaxed);
    }

    /// Waits for what is under way, at most `limit`. Whatever is left then, the replicator brings.
    pub(crate) async fn settle(&self, limit: Duration) {
        let all = u32::try_from(self.options.mirrors_max).unwrap_or(u32::MAX);
        let _ = tokio::time::timeout(limit, self.under_way.acquire_many(all)).await;
    }

    pub(crate) fn status(&self) -> MirrorStatus {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MirrorStatus {
            breaker: self.breaker.state_now(),
            opened: self.breaker.opened(),
            confirmed: count(&self.confirmed),
            failed: count(&self.failed),
            skipped: count(&self.skipped),
        }
    }
}
