//! What the primary wrote goes to the shadow at once: freshness. Completeness is the replicator's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend, Write};
use syntrix_storage_core::{Document, ErrorKind, Operation, Result};
use tokio::sync::{Semaphore, oneshot};

use crate::breaker::Breaker;
use crate::options::{MirrorMode, ReplicationOptions};
use crate::shadow::ShadowLink;

/// What became of mirrored writes.
#[derive(Debug, Default)]
pub(crate) struct MirrorCounts {
    /// The shadow has them.
    pub(crate) confirmed: AtomicU64,
    /// They failed or took too long; the feed delivers them.
    pub(crate) failed: AtomicU64,
    /// They were not tried, since the shadow is not well; the feed delivers them.
    pub(crate) skipped: AtomicU64,
}

/// The mirror of a document route.
#[derive(Debug)]
pub(crate) struct Mirror {
    link: Arc<ShadowLink<dyn DocumentBackend>>,
    pub(crate) breaker: Breaker,
    pub(crate) counts: MirrorCounts,
    under_way: Arc<Semaphore>,
    options: ReplicationOptions,
}

impl Mirror {
    pub(crate) fn new(
        link: Arc<ShadowLink<dyn DocumentBackend>>,
        options: ReplicationOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            link,
            breaker: Breaker::default(),
            counts: MirrorCounts::default(),
            under_way: Arc::new(Semaphore::new(options.mirrors_max)),
            options,
        })
    }

    /// Sends what was written after the primary answered. The answer is the primary's; at most it says that the shadow does
    /// not have it yet.
    pub(crate) async fn follow(
        self: &Arc<Self>,
        outcomes: Vec<Result<Applied>>,
    ) -> Vec<Result<Applied>> {
        let images: Vec<Document> = outcomes.iter().filter_map(image).cloned().collect();
        if images.is_empty() {
            return outcomes;
        }
        let sent = self.send(images);
        if self.options.mirror == MirrorMode::Background || self.confirmed(sent).await {
            return outcomes;
        }
        outcomes.into_iter().map(pending).collect()
    }

    /// Starts the mirrored write in a task of its own, which a dropped caller does not end. `None` if it is left to the feed.
    fn send(self: &Arc<Self>, images: Vec<Document>) -> Option<oneshot::Receiver<bool>> {
        let permit = Arc::clone(&self.under_way).try_acquire_owned().ok();
        let Some(permit) = permit.filter(|_| self.link.is_mirrored() && self.breaker.allows())
        else {
            self.pass_fault();
            self.counts.skipped.fetch_add(images.len() as u64, Ordering::Relaxed);
            return None;
        };
        let (answer, answered) = oneshot::channel();
        let mirror = Arc::clone(self);
        tokio::spawn(async move {
            mirror.pass_fault();
            // Nobody waits for it in the background.
            let _ = answer.send(mirror.apply(images).await);
            drop(permit);
        });
        Some(answered)
    }

    /// The primary has it and the shadow not yet: where a process may die in tests.
    fn pass_fault(&self) {
        if let Some(fault) = &self.options.fault {
            fault.pass();
        }
    }

    async fn confirmed(&self, sent: Option<oneshot::Receiver<bool>>) -> bool {
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

    /// Whether the shadow has all of them.
    async fn apply(&self, images: Vec<Document>) -> bool {
        let Some(shadow) = self.link.get() else { return false };
        let count = images.len() as u64;
        let deadline = Instant::now() + self.options.mirror_timeout;
        let context = CallContext::new(Operation::Migrate).with_deadline(Some(deadline));
        let writes = images.iter().cloned().map(Write::ApplyIfNewer).collect();
        let writing = shadow.store.write(writes, &context);
        match tokio::time::timeout(self.options.mirror_timeout, writing).await {
            Ok(outcomes) => self.note(&images, &outcomes),
            Err(_) => {
                self.breaker.failed();
                self.counts.failed.fetch_add(count, Ordering::Relaxed);
                false
            }
        }
    }

    fn note(&self, images: &[Document], outcomes: &[Result<Applied>]) -> bool {
        let has = |(image, outcome): (&Document, &Result<Applied>)| match outcome {
            Ok(Applied::Yes(_) | Applied::ShadowPending(_)) => true,
            // An older life of the path may have come further; a wrong clock makes us doubt, never believe.
            Ok(Applied::No(Some(current))) => {
                current.version() >= image.version() && current.created_at() >= image.created_at()
            }
            Ok(Applied::No(None)) | Err(_) => false,
        };
        let confirmed = images.iter().zip(outcomes).filter(|pair| has(*pair)).count();
        let failed = images.len() - confirmed;
        self.counts.confirmed.fetch_add(confirmed as u64, Ordering::Relaxed);
        self.counts.failed.fetch_add(failed as u64, Ordering::Relaxed);
        match outcomes.iter().find_map(|outcome| outcome.as_ref().err()) {
            Some(error) if error.kind() != ErrorKind::InvalidArgument => {
                tracing::debug!(%error, "a mirrored write failed; the feed delivers it");
                self.breaker.failed();
            }
            _ => self.breaker.succeeded(),
        }
        failed == 0
    }

    /// Waits for the mirrors under way, at most `limit`.
    pub(crate) async fn settle(&self, limit: Duration) {
        let all = u32::try_from(self.options.mirrors_max).unwrap_or(u32::MAX);
        // Whatever is left then, the feed delivers.
        let _ = tokio::time::timeout(limit, self.under_way.acquire_many(all)).await;
    }
}

fn image(outcome: &Result<Applied>) -> Option<&Document> {
    match outcome {
        Ok(Applied::Yes(document)) => Some(document),
        _ => None,
    }
}

fn pending(outcome: Result<Applied>) -> Result<Applied> {
    match outcome {
        Ok(Applied::Yes(document)) => Ok(Applied::ShadowPending(document)),
        other => other,
    }
}
