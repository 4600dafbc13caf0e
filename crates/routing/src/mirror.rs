//! What the primary wrote goes to the shadow at once: freshness. Completeness is the replicator's.

use std::sync::Arc;
use std::time::Instant;

use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend, Write};
use syntrix_storage_core::{Document, ErrorKind, Operation, Result};

use crate::options::{MirrorMode, ReplicationOptions};
use crate::outbox::Outbox;
use crate::shadow::ShadowLink;

/// The mirror of a document route.
#[derive(Debug)]
pub(crate) struct Mirror {
    link: Arc<ShadowLink<dyn DocumentBackend>>,
    pub(crate) outbox: Outbox,
    options: ReplicationOptions,
}

impl Mirror {
    pub(crate) fn new(
        link: Arc<ShadowLink<dyn DocumentBackend>>,
        options: ReplicationOptions,
    ) -> Arc<Self> {
        Arc::new(Self { link, outbox: Outbox::new(&options), options })
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
        let (mirror, count) = (Arc::clone(self), images.len());
        let work = async move { mirror.apply(images).await };
        let sent = self.outbox.send(self.link.is_mirrored(), count, work);
        if self.options.mirror == MirrorMode::Background || self.outbox.confirmed(sent).await {
            return outcomes;
        }
        outcomes.into_iter().map(pending).collect()
    }

    /// Whether the shadow has all of them.
    async fn apply(&self, images: Vec<Document>) -> bool {
        let Some(shadow) = self.link.get() else { return false };
        let deadline = Instant::now() + self.options.mirror_timeout;
        let context = CallContext::new(Operation::Migrate).with_deadline(Some(deadline));
        let writes = images.iter().cloned().map(Write::ApplyIfNewer).collect();
        let writing = shadow.store.write(writes, &context);
        match tokio::time::timeout(self.options.mirror_timeout, writing).await {
            Ok(outcomes) => self.note(&images, &outcomes),
            Err(_) => {
                self.outbox.breaker.failed();
                self.outbox.count(0, images.len());
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
        self.outbox.count(confirmed, failed);
        match outcomes.iter().find_map(|outcome| outcome.as_ref().err()) {
            Some(error) if error.kind() != ErrorKind::InvalidArgument => {
                tracing::debug!(%error, "a mirrored write failed; the feed delivers it");
                self.outbox.breaker.failed();
            }
            _ => self.outbox.breaker.succeeded(),
        }
        failed == 0
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
