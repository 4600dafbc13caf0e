//! What the primary wrote, read again and brought to the shadow at once.

use std::sync::Arc;

use syntrix_storage_core::{Error, ErrorKind, Result};

use crate::options::MirrorMode;
use crate::swept::{Swept, SweptReplication};

impl<K: Swept> SweptReplication<K> {
    /// Brings the record that was just written. Waits for it only if the route is to, and no longer than its budget.
    pub(crate) async fn mirror(self: &Arc<Self>, key: K::Key) {
        let replication = Arc::clone(self);
        let work = async move { replication.copy_in_time(&key).await };
        let sent = self.outbox.send(self.link.is_mirrored(), 1, work);
        if self.options.mirror == MirrorMode::Wait {
            // Who does not answer in time is left to the next pass.
            self.outbox.confirmed(sent).await;
        }
    }

    /// Whether the shadow has it.
    async fn copy_in_time(&self, key: &K::Key) -> bool {
        let copying = tokio::time::timeout(self.options.mirror_timeout, self.copy(key));
        let late = |_| Err(Error::new(ErrorKind::Timeout, "mirror"));
        let copied = copying.await.unwrap_or_else(late);
        match &copied {
            Ok(()) => {
                self.outbox.count(1, 0);
                self.outbox.breaker.succeeded();
            }
            Err(error) => {
                tracing::debug!(%error, "a mirrored write failed; the next pass brings it");
                self.outbox.count(0, 1);
                self.outbox.breaker.failed();
            }
        }
        copied.is_ok()
    }

    /// The record as the primary has it by now, which may be a later one than was written.
    async fn copy(&self, key: &K::Key) -> Result<()> {
        let Some(shadow) = self.link.get() else { return Ok(()) };
        match K::fetch(&self.primary, key).await? {
            Some(record) => K::bring(&self.primary, &shadow.store, record).await.map(drop),
            None => Ok(()),
        }
    }
}
