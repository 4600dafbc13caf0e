//! How long a call may take, and that giving it up leaves the connection in order.

use std::future::Future;
use std::time::{Duration, Instant};

use syntrix_storage_core::Result;
use syntrix_storage_core::backend::CallContext;

use crate::error::{lost, timed_out};

/// When a call has to be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit(Instant);

impl Limit {
    /// The caller's deadline or the longest time a call may take, whichever comes first.
    pub(crate) fn new(context: &CallContext, longest: Duration) -> Self {
        let longest = Instant::now() + longest;
        Self(context.deadline.map_or(longest, |deadline| deadline.min(longest)))
    }

    /// The longest time from now on.
    pub(crate) fn within(longest: Duration) -> Self {
        Self(Instant::now() + longest)
    }

    /// What is left, for the server: at least a millisecond, since nothing means no limit there.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// Waits for `future` until the limit.
    pub(crate) async fn wait<T>(self, future: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout_at(self.0.into(), future).await.map_err(|_| timed_out())?
    }

    /// Runs `future` in a task of its own and waits for it until the limit. It goes on if nobody waits any more, so that what
    /// takes several steps takes all of them.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let task = tokio::spawn(future);
        self.wait(async { task.await.map_err(|_| lost())? }).await
    }
}
