//! The workers that remove what is expired.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::backend::{DocumentBackend, RevocationBackend};
use syntrix_storage_core::{Result, Retention, Timestamp};

use crate::gate::Closing;
use crate::options::EngineOptions;

/// Records removed in one step: bounded, so that writers get their turn in between.
const BATCH: usize = 1000;

/// Starts the worker that removes expired tombstones and history.
pub(crate) fn start_documents(
    backend: &Arc<dyn DocumentBackend>,
    options: &EngineOptions,
    retention: Retention,
    closing: Closing,
) {
    let (backend, clock) = (Arc::clone(backend), Arc::clone(&options.clock));
    start(options.maintenance_interval, closing, move || {
        let (backend, now) = (Arc::clone(&backend), clock.now());
        async move { sweep_documents(&*backend, retention, now).await }
    });
}

/// Starts the worker that removes revocations whose time is over.
pub(crate) fn start_revocations(
    backend: &Arc<dyn RevocationBackend>,
    options: &EngineOptions,
    closing: Closing,
) {
    let backend = Arc::clone(backend);
    start(options.maintenance_interval, closing, move || {
        let backend = Arc::clone(&backend);
        async move {
            while backend.purge(BATCH).await?.more {}
            Ok(())
        }
    });
}

fn start<Sweeping>(
    interval: Option<Duration>,
    mut closing: Closing,
    sweep: impl Fn() -> Sweeping + Send + Sync + 'static,
) where
    Sweeping: Future<Output = Result<()>> + Send,
{
    let Some(interval) = interval else { return };
    tokio::spawn(async move {
        loop {
            let round = async {
                tokio::time::sleep(interval).await;
                if let Err(error) = sweep().await {
                    // The next round tries again; no answer depends on when a record goes.
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

async fn sweep_documents(
    backend: &dyn DocumentBackend,
    retention: Retention,
    now: Timestamp,
) -> Result<()> {
    while backend.purge(now.saturating_sub(retention.soft_delete()), BATCH).await?.more {}
    while backend.trim_feed(now.saturating_sub(retention.watch()), BATCH).await? == BATCH {}
    Ok(())
}
