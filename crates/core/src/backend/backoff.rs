//! Attempts to connect while a server cannot be reached.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result, Retry};

/// How long no attempt is made after the first that failed, and after many.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Spaces attempts to connect that fail: none for 20 ms after the first, for twice as long after each one more, and half a second
/// at the most, each cut short by up to a half at random so that processes do not come all at once. Meanwhile calls fail at once
/// with what the last attempt said. Attempts that fail side by side are one, and one that began before another succeeded tells nothing.
///
/// # Examples
///
/// ```
/// use std::time::Instant;
///
/// use syntrix_storage_core::backend::Backoff;
/// use syntrix_storage_core::{Error, ErrorKind};
///
/// let backoff = Backoff::default();
/// assert!(backoff.check().is_ok());
/// let begun = Instant::now();
/// backoff.failed(begun, &Error::new(ErrorKind::Unavailable, "").with_message("refused"));
/// let error = backoff.check().expect_err("a moment ago");
/// assert_eq!(error.message(), Some("refused (a moment ago; tried again soon)"));
/// backoff.succeeded();
/// assert!(backoff.check().is_ok());
/// ```
#[derive(Debug, Default)]
pub struct Backoff(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Until when nobody tries, and why.
    pause: Option<(Instant, Failure)>,
    succeeded_at: Option<Instant>,
}

/// What a failed attempt said, kept to be said again.
#[derive(Debug)]
struct Failure {
    kind: ErrorKind,
    retry: Retry,
    message: String,
}

impl Backoff {
    /// Whether an attempt may be made now.
    ///
    /// # Errors
    ///
    /// What the last one said, while the pause after it lasts.
    pub fn check(&self) -> Result<()> {
        self.state().pause().map_or(Ok(()), |failure| Err(failure.again()))
    }

    /// An attempt failed that began at `begun`.
    pub fn failed(&self, begun: Instant, error: &Error) {
        let mut state = self.state();
        if state.pause().is_some() || state.succeeded_at.is_some_and(|at| at > begun) {
            return;
        }
        let longest = PAUSE_MIN.saturating_mul(1 << state.failures.min(8)).min(PAUSE_MAX);
        let pause = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        state.failures = state.failures.saturating_add(1);
        state.pause = Some((Instant::now() + pause, Failure::of(error)));
    }

    /// One succeeded.
    pub fn succeeded(&self) {
        *self.state() = State { succeeded_at: Some(Instant::now()), ..State::default() };
    }

    /// Nothing under this lock can panic half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Why nobody tries now.
    fn pause(&self) -> Option<&Failure> {
        let (until, failure) = self.pause.as_ref()?;
        (Instant::now() < *until).then_some(failure)
    }
}

impl Failure {
    fn of(error: &Error) -> Self {
        // Nothing of a connection attempt reaches the data.
        let retry = match error.retry() {
            Retry::IfIdempotent => Retry::Safe,
            retry => retry,
        };
        Self { kind: error.kind(), retry, message: error.message().unwrap_or_default().to_owned() }
    }

    fn again(&self) -> Error {
        let message = format!("{} (a moment ago; tried again soon)", self.message);
        Error::new(self.kind, "").with_retry(self.retry).with_message(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_second_and_start_over_after_a_success() {
        let backoff = Backoff::default();
        let begun = Instant::now();
        let failed = |begun| backoff.failed(begun, &Error::new(ErrorKind::Unavailable, ""));
        let pause = |times: usize| {
            for _ in 0..times {
                backoff.state().pause = None;
                failed(Instant::now());
            }
            let state = backoff.state();
            state.pause.as_ref().map(|(until, _)| until.duration_since(Instant::now()))
        };
        assert!(pause(1).is_some_and(|pause| pause <= PAUSE_MIN));
        let long = pause(20);
        assert!(
            long.is_some_and(|it| it > Duration::from_millis(200) && it <= PAUSE_MAX),
            "{long:?}"
        );
        backoff.succeeded();
        assert!(pause(1).is_some_and(|pause| pause <= PAUSE_MIN));
        failed(Instant::now());
        assert_eq!(backoff.state().failures, 1, "side by side");
        backoff.succeeded();
        failed(begun);
        assert!(backoff.check().is_ok(), "it is over");
    }
}
