//! The worker that removes expired tombstones and history.

use std::sync::Arc;

use syntrix_storage_core::backend::DocumentBackend;
use syntrix_storage_core::{Result, Retention};

use crate::gate::Closing;
use crate::options::EngineOptions;

/// Tombstones or changes removed in one step: bounded, so that writers get their turn in between.
const BATCH: usize = 1000;

pub(crate) fn start(
    backend: &Arc<dyn DocumentBackend>,
    options: &EngineOptions,
    retention: Retention,
    mut closing: Closing,
) {
    let Some(interval) = options.maintenance_interval else { return };
    let (backend, clock) = (Arc::clone(backend), Arc::clone(&options.clock));
    tokio::spawn(async move {
        loop {
            let round = async {
                tokio::time::sleep(interval).await;
                let now = clock.now();
                if let Err(error) = sweep(&*backend, retention, now).await {
                    // The next round tries again; nothing depends on when a tombstone goes.
                    tracing::warn!(%error, "maintenance failed");
                }
            };
            tokio::select! {
                () = round => {}
                () = closing.wait() => return,
            }
        }
    });
}

async fn sweep(
    backend: &dyn DocumentBackend,
    retention: Retention,
    now: syntrix_storage_core::Timestamp,
) -> Result<()> {
    while backend.purge(now.saturating_sub(retention.soft_delete()), BATCH).await?.more {}
    while backend.trim_feed(now.saturating_sub(retention.watch()), BATCH).await? == BATCH {}
    Ok(())
}
