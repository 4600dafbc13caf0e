//! One writer at a time per document within this process, which spares most compare-and-set retries.

use syntrix_storage_core::DocumentPath;
use tokio::sync::{Mutex, MutexGuard};

const SHARDS: usize = 256;

#[derive(Debug)]
pub(crate) struct Turns(Vec<Mutex<()>>);

impl Turns {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::new(())).collect())
    }

    /// Waits for the document's turn. Documents that share a shard wait for each other, which is harmless.
    pub(crate) async fn take(&self, path: &DocumentPath) -> MutexGuard<'_, ()> {
        self.0[usize::from(path.key().as_bytes()[0])].lock().await
    }
}
