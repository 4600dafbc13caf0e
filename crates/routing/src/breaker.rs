//! Stops asking a database that does not answer, and looks now and then whether it does again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Failures in a row after which nobody is let through.
const FAILURES_MAX: u32 = 5;
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// Nothing.
    Open,
    /// One call, to see whether it succeeds.
    HalfOpen,
}

/// Counts failures in a row.
#[derive(Debug)]
pub struct Breaker(Mutex<State>);

#[derive(Debug)]
struct State {
    failures: u32,
    /// Set while it is open or half open.
    open_until: Option<Instant>,
    pause: Duration,
    probing: bool,
    /// How often it opened.
    opened: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self(Mutex::new(State {
            failures: 0,
            open_until: None,
            pause: PAUSE_MIN,
            probing: false,
            opened: 0,
        }))
    }
}

impl Breaker {
    /// Whether a call may go through now. Who goes through must say how it went.
    pub fn allows(&self) -> bool {
        let mut state = self.state();
        match state.open_until {
            None => true,
            Some(_) if state.probing => false,
            Some(until) if Instant::now() < until => false,
            Some(_) => {
                state.probing = true;
                true
            }
        }
    }

    /// A call succeeded.
    pub fn succeeded(&self) {
        let mut state = self.state();
        (state.failures, state.open_until, state.probing) = (0, None, false);
        state.pause = PAUSE_MIN;
    }

    /// A call failed, or took longer than anybody waits for it.
    pub fn failed(&self) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.probing || (state.open_until.is_none() && state.failures >= FAILURES_MAX) {
            let jitter = 0.75 + fastrand::f64() / 2.0;
            state.open_until = Some(Instant::now() + state.pause.mul_f64(jitter));
            state.pause = (state.pause * 2).min(PAUSE_MAX);
            state.probing = false;
            state.opened += 1;
        }
    }

    /// A call was given up before it was known how it went.
    pub fn given_up(&self) {
        self.state().probing = false;
    }

    /// As `allows`, with something that takes the word back if the call is given up before it was known how it went: a probe
    /// must not stay undecided for good.
    pub(crate) fn attempt(&self) -> Option<Attempt<'_>> {
        self.allows().then_some(Attempt(Some(self)))
    }

    /// What it lets through now.
    pub fn state_now(&self) -> BreakerState {
        let state = self.state();
        match state.open_until {
            None => BreakerState::Closed,
            Some(until) if state.probing || Instant::now() >= until => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }

    /// How often it opened.
    pub fn opened(&self) -> u64 {
        self.state().opened
    }

    /// Nothing under this lock can panic half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was let through.
pub(crate) struct Attempt<'breaker>(Option<&'breaker Breaker>);

impl Attempt<'_> {
    /// It is over.
    pub(crate) fn end(mut self, succeeded: bool) {
        match self.0.take() {
            Some(breaker) if succeeded => breaker.succeeded(),
            Some(breaker) => breaker.failed(),
            None => {}
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = self.0 {
            breaker.given_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_probe_through_later() {
        let breaker = Breaker::default();
        (1..FAILURES_MAX).for_each(|_| breaker.failed());
        assert!(breaker.allows());
        breaker.succeeded();
        (0..FAILURES_MAX).for_each(|_| breaker.failed());
        assert_eq!((breaker.state_now(), breaker.allows()), (BreakerState::Open, false));
        std::thread::sleep(PAUSE_MIN * 2);
        assert_eq!(breaker.state_now(), BreakerState::HalfOpen);
        assert!(breaker.allows() && !breaker.allows(), "more than one probe went through");
        breaker.failed();
        assert!(!breaker.allows(), "a failed probe did not open it again");
        assert_eq!(breaker.opened(), 2);
    }

    #[test]
    fn a_successful_probe_closes_it() {
        let breaker = Breaker::default();
        (0..FAILURES_MAX).for_each(|_| breaker.failed());
        std::thread::sleep(PAUSE_MIN * 2);
        assert!(breaker.allows());
        breaker.succeeded();
        assert!(breaker.allows() && breaker.allows());
    }
}
