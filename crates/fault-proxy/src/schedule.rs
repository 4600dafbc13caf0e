//! Faults drawn from a seed.

use std::time::Duration;

use crate::Fault;

/// How long faults last and how long all is well in between, in milliseconds.
const LASTS_MS: std::ops::Range<u64> = 50..1500;

/// Longest time by which a piece is late.
const DELAY_MS_MAX: u64 = 80;

/// One fault of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to set.
    pub fault: Fault,
    /// How long to leave it so.
    pub lasts: Duration,
}

/// An endless list of faults; the same seed gives the same list.
///
/// # Examples
///
/// ```
/// use syntrix_storage_fault_proxy::Schedule;
///
/// let first: Vec<_> = Schedule::new(7).take(20).collect();
/// assert_eq!(first, Schedule::new(7).take(20).collect::<Vec<_>>());
/// ```
#[derive(Debug, Clone)]
pub struct Schedule(fastrand::Rng);

impl Schedule {
    /// The list of this seed.
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// The next one.
    pub fn draw(&mut self) -> Step {
        let fault = match self.0.u8(..4) {
            0 => Fault::Delay(Duration::from_millis(self.0.u64(1..=DELAY_MS_MAX))),
            1 => Fault::Cut,
            2 => Fault::BlackHole,
            _ => Fault::HalfClose,
        };
        Step { fault, lasts: Duration::from_millis(self.0.u64(LASTS_MS)) }
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        Some(self.draw())
    }
}
