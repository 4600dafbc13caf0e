//! Reads of a shadow that may lead to a replica which is still behind.

use std::future::Future;
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::CallContext;
use syntrix_storage_core::{Error, ErrorKind, Result};

use super::Verify;
use crate::extra::migrate;

/// Between two attempts to meet a replica that is not behind.
const BEHIND_PAUSE: Duration = Duration::from_millis(20);

impl Verify<'_> {
    /// Returns when the shadow has what the primary has now, and how it is read for that.
    ///
    /// Behind one address there may be several replicas, and the one that passed the barrier need not be the one that answers
    /// afterwards. So each read takes along what it must see, and the server that answers says whether it has it.
    pub(super) async fn pass(&self) -> Result<CallContext> {
        self.barrier.pass().await?;
        let reached = match self.replica_wait {
            Some(_) => self.primary.watermark().await?,
            None => None,
        };
        Ok(migrate().with_not_before(reached))
    }

    /// Reads the shadow again while it is a replica that is behind.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if it stays that; what `read` says.
    pub(super) async fn read_when_reached<T, F>(&self, read: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let end = Instant::now() + self.replica_wait.unwrap_or_default();
        loop {
            match read().await {
                Err(error) if error.kind() != ErrorKind::PreconditionFailed => return Err(error),
                Err(_) if Instant::now() >= end => return Err(still_behind()),
                Err(_) => tokio::time::sleep(BEHIND_PAUSE).await,
                answer => return answer,
            }
        }
    }
}

fn still_behind() -> Error {
    Error::new(ErrorKind::Timeout, "verify").with_message(
        "the replica that answers stays behind the primary; see how far its replication is, or give more time",
    )
}
