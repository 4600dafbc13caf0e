//! What every call of every store goes through: meter, closed state, deadline, and the operation's name on its error.

use std::future::Future;
use std::time::{Duration, Instant};

use syntrix_storage_core::{Error, ErrorKind, Result, Retry};
use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::gate::{Closing, Gate, Pass};
use crate::meter::Meter;

/// The way into one store.
#[derive(Debug)]
pub(crate) struct Calls {
    gate: Gate,
    meter: Meter,
    close_timeout: Duration,
    /// Whether the backend was let go of. Held while closing, so that a second `close` returns only when that is done, and
    /// does it itself when the first one was dropped half way.
    close_turn: Mutex<bool>,
}

impl Calls {
    pub(crate) fn new(meter: Meter, close_timeout: Duration) -> Self {
        Self { gate: Gate::new(), meter, close_timeout, close_turn: Mutex::new(false) }
    }

    /// Runs `work` as `operation`: refused when closed, ended by the timeout, errors named, all of it metered.
    pub(crate) async fn run<T>(
        &self,
        operation: &'static str,
        timeout: Option<Duration>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let call = self.meter.begin(operation);
        let result = self.admit(operation, timeout, work).instrument(call.span()).await;
        call.end(&result);
        result
    }

    async fn admit<T>(
        &self,
        operation: &'static str,
        timeout: Option<Duration>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _pass: Pass<'_> = self.gate.enter(operation)?;
        // A backend that never has to wait would let a busy caller starve every other task of its thread.
        tokio::task::consume_budget().await;
        let result = match timeout {
            None => work.await,
            // What is done at once would be answered on some backends and not on others.
            Some(limit) if limit.is_zero() => Err(Error::new(ErrorKind::Timeout, operation)
                .with_message("the call had no time; nothing was done")
                .with_retry(Retry::Safe)),
            // Boxed: the future of every call would be twice the size for the sake of those with a deadline.
            Some(limit) => Box::pin(tokio::time::timeout(limit, work))
                .await
                .unwrap_or_else(|_| Err(timed_out(operation, limit))),
        };
        result.map_err(|error| error.in_operation(operation))
    }

    /// Refuses new calls, waits for those inside, then lets go of what is behind them.
    pub(crate) async fn close(&self, let_go: impl Future<Output = Result<()>>) -> Result<()> {
        let mut done = self.close_turn.lock().await;
        if *done {
            return Ok(());
        }
        self.gate.close();
        self.gate.wait_until_empty(self.close_timeout).await;
        let closed = let_go.await;
        // Who failed may try again.
        *done = closed.is_ok();
        closed.map_err(|error| error.in_operation("close"))
    }

    /// Refuses new calls of a store that is dropped; `false` if it was closed before.
    pub(crate) fn abandon(&self) -> bool {
        self.gate.close()
    }

    pub(crate) fn closing(&self) -> Closing {
        self.gate.closing()
    }
}

/// When a call with this timeout must be over.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

fn timed_out(operation: &'static str, limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, operation)
        .with_message("the deadline passed; a write may have been applied")
        .with_fact("timeout_ms", limit.as_millis())
}
