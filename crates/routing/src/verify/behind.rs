//! What a barrier lets the shadow be read for.

use std::future::Future;
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::CallContext;
use syntrix_storage_core::{ErrorKind, Result};

use super::Verify;
use crate::extra::migrate;

/// Between two attempts to meet a replica that is not behind.
const BEHIND_PAUSE: Duration = Duration::from_millis(20);
/// Longest wait for one.
const BEHIND_MAX: Duration = Duration::from_secs(30);

impl Verify<'_> {
    /// Returns when the shadow has what the primary has now, and how it is read for that.
    ///
    /// Behind one address there may be several replicas, and the one that passed the barrier need not be the one that answers
    /// afterwards. So each read takes along what it must see, and the server that answers says whether it has it.
    pub(super) async fn pass(&self) -> Result<CallContext> {
        self.barrier.pass().await?;
        let reached = match self.is_replica {
            true => self.primary.watermark().await?,
            false => None,
        };
        Ok(migrate().with_not_before(reached))
    }

    /// Reads the shadow again while it is a replica that is behind.
    pub(super) async fn ask<T, F>(&self, read: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let end = Instant::now() + BEHIND_MAX;
        loop {
            let answer = read().await;
            let is_behind = |kind| kind == ErrorKind::PreconditionFailed && Instant::now() < end;
            if !answer.as_ref().is_err_and(|error| is_behind(error.kind())) {
                return answer;
            }
            tokio::time::sleep(BEHIND_PAUSE).await;
        }
    }
}
