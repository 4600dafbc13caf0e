//! What every call of every store goes through: meter, closed state, deadline, and the operation's name on its error.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use syntrix_storage_core::{Error, ErrorKind, HealthReport, Result, Retry};
use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::gate::{Closing, Gate, Pass};
use crate::meter::Meter;

/// One point read in so many counts against the task's budget. Giving way costs as much as ten of them, as the task often
/// goes on in another thread with cold caches, and a whole budget of 128 of them is over in half a millisecond.
const POINT_READS_PER_UNIT: u32 = 8;

/// How much longer than for calls `close` waits for the backend to let go: half a minute by default, enough for a last flush
/// to a slow disk, and an end when the server behind it is gone.
const LET_GO_FACTOR: u32 = 6;
/// Even without patience for calls a backend has this long to let go.
const LET_GO_MIN: Duration = Duration::from_secs(1);

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
        // In place from here on: each future around it would hold it twice, as its argument and where it is polled.
        let work = pin!(work);
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
        if counts_against_budget(operation) {
            tokio::task::consume_budget().await;
        }
        let result = match timeout {
            None => self.until_cut_off(operation, work).await,
            // What is done at once would be answered on some backends and not on others.
            Some(limit) if limit.is_zero() => Err(no_time(operation)),
            // Boxed: the future of every call would be twice the size for the sake of those with a deadline.
            Some(limit) => {
                Box::pin(self.until_cut_off(operation, async {
                    let result = tokio::time::timeout(limit, work).await;
                    result.unwrap_or_else(|_| Err(timed_out(operation, limit)))
                }))
                .await
            }
        };
        result.map_err(|error| error.in_operation(operation))
    }

    /// The answer of `work`, unless `close` waits for it no longer.
    async fn until_cut_off<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (mut work, mut expelled) = (pin!(work), pin!(self.gate.expelled()));
        // Only what has to wait pays for being watched: `expelled` begins when it is first polled. Not `select!`, which holds back
        // even what is at hand once the task's budget is used up.
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => expelled.as_mut().poll(context).map(|()| Err(cut_off(operation))),
        })
        .await
    }

    /// Times a probe. A backend that does not answer is what the report is for, so only a closed store is an error.
    pub(crate) async fn health(
        &self,
        probe: impl Future<Output = Result<HealthReport>>,
    ) -> Result<HealthReport> {
        let started = Instant::now();
        let mut report = match self.run("health", None, probe).await {
            Err(error) if error.kind() != ErrorKind::Closed => self.not_ready(&error),
            other => other?,
        };
        report.latency = started.elapsed();
        Ok(report)
    }

    fn not_ready(&self, error: &Error) -> HealthReport {
        let report = HealthReport::new(self.meter.backend(), false);
        report.with_fact("error", error.kind().as_str()).with_fact("message", error)
    }

    /// Refuses new calls, waits for those inside, then lets go of what is behind them.
    pub(crate) async fn close(&self, let_go: impl Future<Output = Result<()>>) -> Result<()> {
        let mut done = self.close_turn.lock().await;
        if *done {
            return Ok(());
        }
        self.gate.close();
        if !self.gate.wait_until_empty(self.close_timeout).await {
            self.gate.expel();
        }
        let limit = self.close_timeout.saturating_mul(LET_GO_FACTOR).max(LET_GO_MIN);
        let closed = tokio::time::timeout(limit, let_go).await;
        let closed = closed.unwrap_or_else(|_| Err(not_let_go(limit)));
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

/// Whether the call takes one of the units after which tokio makes a task give way. A backend that never has to wait would
/// let a busy caller starve every other task of its thread.
fn counts_against_budget(operation: &str) -> bool {
    !is_point_read(operation) || fastrand::u32(0..POINT_READS_PER_UNIT) == 0
}

/// Whether the call reads one record: a few microseconds where the record is at hand.
fn is_point_read(operation: &str) -> bool {
    matches!(operation, "get" | "is_revoked" | "get_user_by_id" | "get_user_by_username")
}

/// When a call with this timeout must be over.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

fn no_time(operation: &'static str) -> Error {
    Error::new(ErrorKind::Timeout, operation)
        .with_message("the call had no time; nothing was done")
        .with_retry(Retry::Safe)
}

fn cut_off(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation)
        .with_message("the store was closed before the call ended; a write may have been applied")
        .with_retry(Retry::IfIdempotent)
}

fn not_let_go(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, "close")
        .with_message("the backend does not let go; it is left behind, or closed by another call")
        .with_fact("timeout_ms", limit.as_millis())
}

fn timed_out(operation: &'static str, limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, operation)
        .with_message("the deadline passed; a write may have been applied")
        .with_fact("timeout_ms", limit.as_millis())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use syntrix_storage_core::backend::StoreKind;

    use super::*;

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_not_ready_and_a_closed_one_is_an_error() {
        let calls = Calls::new(Meter::new(StoreKind::Users, "mine"), Duration::ZERO);
        let unreachable = || async { Err(Error::new(ErrorKind::Unavailable, "")) };
        let report = calls.health(unreachable()).await.expect("a report");
        assert_eq!((report.backend.as_str(), report.ready), ("mine", false));
        assert_eq!(report.facts[0], ("error".to_owned(), "unavailable".to_owned()));

        calls.close(async { Ok(()) }).await.expect("closed");
        let error = calls.health(unreachable()).await.expect_err("it is closed");
        assert_eq!(error.kind(), ErrorKind::Closed);
    }

    /// Each look goes through every layer; the waker is woken at once, so that each look of ours is one wake.
    #[tokio::test]
    async fn a_call_that_has_to_wait_is_looked_at_once_before_it_sleeps_and_once_each_time_it_is_woken()
     {
        let calls = Calls::new(Meter::new(StoreKind::Documents, "mine"), Duration::ZERO);
        let (looks, wakes) = (Cell::new(0), Cell::new(0));
        let work = poll_fn(|context| {
            looks.set(looks.get() + 1);
            context.waker().wake_by_ref();
            if looks.get() == 3 { Poll::Ready(Ok(())) } else { Poll::Pending }
        });
        let mut call = pin!(calls.run("get", None, work));
        let ended = poll_fn(|context| {
            wakes.set(wakes.get() + 1);
            call.as_mut().poll(context)
        });
        ended.await.expect("it ends");
        assert_eq!((looks.get(), wakes.get()), (3, 3));
    }

    #[tokio::test]
    async fn a_close_that_waits_no_longer_cuts_calls_off_with_and_without_a_deadline() {
        let calls = Calls::new(Meter::new(StoreKind::Documents, "mine"), Duration::from_millis(20));
        let stuck = |timeout| calls.run("get", timeout, std::future::pending::<Result<()>>());
        let (first, second, closed) = tokio::join!(
            stuck(None),
            stuck(Some(Duration::from_secs(60))),
            calls.close(async { Ok(()) })
        );
        closed.expect("closed");
        for error in [first, second].map(|ended| ended.expect_err("it was cut off")) {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Closed, Retry::IfIdempotent));
        }
    }

    #[tokio::test]
    async fn a_close_that_failed_is_tried_again() {
        let calls = Calls::new(Meter::new(StoreKind::Users, "mine"), Duration::ZERO);
        let failed = calls.close(async { Err(Error::new(ErrorKind::Internal, "")) }).await;
        assert!(failed.is_err());
        let mut let_go = false;
        calls
            .close(async {
                let_go = true;
                Ok(())
            })
            .await
            .expect("closed");
        assert!(let_go, "the second close did nothing");
    }
}
