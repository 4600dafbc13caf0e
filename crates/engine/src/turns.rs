//! One writer at a time per record within this process, which spares most compare-and-set retries.

use tokio::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct Turns(Vec<Mutex<()>>);

impl Turns {
    pub(crate) fn new() -> Self {
        Self((0..=u8::MAX).map(|_| Mutex::new(())).collect())
    }

    /// Waits for the turn of a record, given a byte of its key's digest. Records that share the byte wait for each other,
    /// which is harmless.
    pub(crate) async fn take(&self, digest: u8) -> MutexGuard<'_, ()> {
        self.0[usize::from(digest)].lock().await
    }
}
