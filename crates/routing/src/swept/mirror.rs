//! What the primary wrote, read again and brought to the shadow at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use syntrix_storage_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use crate::options::MirrorMode;
use crate::swept::{Swept, SweptReplication};

impl<K: Swept> SweptReplication<K> {
    /// Brings the record that was just written. Waits for it only if the route is to, and no longer than its budget.
    pub(crate) async fn mirror(self: &Arc<Self>, key: K::Key) {
        let sent = self.send(key);
        if let (MirrorMode::Wait, Some(sent)) = (self.options.mirror, sent) {
            // Who does not answer in time is left to the next pass.
            let _ = tokio::time::timeout(self.options.mirror_budget, sent).await;
        }
    }

    /// In a task of its own, which a dropped caller does not end. `None` if it is left to the next pass.
    fn send(self: &Arc<Self>, key: K::Key) -> Option<oneshot::Receiver<()>> {
        let permit = Arc::clone(&self.under_way).try_acquire_owned().ok();
        let Some(permit) = permit.filter(|_| self.link.is_mirrored() && self.breaker.allows())
        else {
            self.mirrored.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let (answer, answered) = oneshot::channel();
        let replication = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(fault) = &replication.options.fault {
                fault.pass();
            }
            replication.copy_in_time(&key).await;
            // Nobody waits for it in the background.
            let _ = answer.send(());
            drop(permit);
        });
        Some(answered)
    }

    async fn copy_in_time(&self, key: &K::Key) {
        let copying = tokio::time::timeout(self.options.mirror_timeout, self.copy(key));
        let copied =
            copying.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "mirror")));
        match copied {
            Ok(()) => {
                self.mirrored.confirmed.fetch_add(1, Ordering::Relaxed);
                self.breaker.succeeded();
            }
            Err(error) => {
                tracing::debug!(%error, "a mirrored write failed; the next pass brings it");
                self.mirrored.failed.fetch_add(1, Ordering::Relaxed);
                self.breaker.failed();
            }
        }
    }

    /// The record as the primary has it by now, which may be a later one than was written.
    async fn copy(&self, key: &K::Key) -> Result<()> {
        let Some(shadow) = self.link.get() else { return Ok(()) };
        match K::fetch(&self.primary, key).await? {
            Some(record) => K::bring(&self.primary, &shadow.store, record).await.map(drop),
            None => Ok(()),
        }
    }

    /// Waits for the mirrors under way, at most `limit`.
    pub(crate) async fn settle_mirrors(&self, limit: Duration) {
        let all = u32::try_from(self.options.mirrors_max).unwrap_or(u32::MAX);
        // Whatever is left then, the next pass brings.
        let _ = tokio::time::timeout(limit, self.under_way.acquire_many(all)).await;
    }
}
