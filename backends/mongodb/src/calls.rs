//! How long a call may take, and that giving it up leaves the connection in order.

use std::future::Future;
use std::sync::{Arc, Weak};
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

/// What a caller holds while it waits for an answer.
#[derive(Debug)]
pub(crate) struct Caller(Arc<()>);

impl Caller {
    pub(crate) fn new() -> Self {
        Self(Arc::new(()))
    }

    /// For those who work on the answer.
    pub(crate) fn patience(&self, limit: Limit) -> Patience {
        Patience { limit, caller: Arc::downgrade(&self.0) }
    }
}

/// Whether anybody still waits for an answer: what was not sent by the time nobody does is not sent later.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    limit: Limit,
    caller: Weak<()>,
}

impl Patience {
    pub(crate) fn is_over(&self) -> bool {
        self.limit.0 <= Instant::now() || self.caller.strong_count() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_with_the_limit_and_with_the_caller() {
        let caller = Caller::new();
        let waiting = caller.patience(Limit::within(Duration::from_secs(3600)));
        assert!(!waiting.is_over());
        assert!(caller.patience(Limit::within(Duration::ZERO)).is_over());
        drop(caller);
        assert!(waiting.is_over());
    }
}
