//! Slows a copy down when the primary does: to half while it is slow, back to all by small steps while it is not.

use std::time::Duration;

/// Slower than this many times its best is slow.
const SLOW_FACTOR: f64 = 3.0;
/// Differences below this say nothing.
const NOISE: Duration = Duration::from_millis(2);
const SHARE_MIN: f64 = 1.0 / 64.0;
const SHARE_STEP: f64 = 1.0 / 16.0;
/// Longest pause, where a page does not take longer itself.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Longest pause, in pages.
const PAGES_MAX: u32 = 4;
/// How fast the best is forgotten, so that a record read from an idle cache is not the measure for ever.
const DRIFT: f64 = 1.01;

/// Pauses between pages, by how long the primary takes for one record while nothing is copied. A page itself would be a bad
/// measure: it is read while another one is applied, so a copy would slow down for its own sake.
///
/// The share of time that the copy takes grows by a step and falls by half, as a connection of TCP does (RFC 5681), so that one
/// slow answer in many costs little.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Seconds for the quickest answer of late.
    best: Option<f64>,
    share: f64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { best: None, share: 1.0 }
    }
}

impl Throttle {
    /// How long to wait after `work`, when the primary needed `answered` for one record.
    pub(crate) fn after(&mut self, work: Duration, answered: Duration) -> Duration {
        let seconds = answered.as_secs_f64();
        let best = self.best.map_or(seconds, |best| (best * DRIFT).min(seconds));
        self.best = Some(best);
        let is_slow = seconds > best * SLOW_FACTOR + NOISE.as_secs_f64();
        self.share = match is_slow {
            true => (self.share / 2.0).max(SHARE_MIN),
            false => (self.share + SHARE_STEP).min(1.0),
        };
        work.mul_f64(1.0 / self.share - 1.0).min(PAUSE_MAX.max(work * PAGES_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Duration = Duration::from_millis(50);
    const QUICK: Duration = Duration::from_micros(300);
    const SLOW: Duration = Duration::from_millis(30);

    #[test]
    fn a_slow_primary_gets_longer_and_longer_pauses_and_a_quick_one_none_in_the_end() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.after(WORK, QUICK), Duration::ZERO);
        let pauses: Vec<Duration> = (0..12).map(|_| throttle.after(WORK, SLOW)).collect();
        assert!(pauses.is_sorted() && pauses[11] == PAUSE_MAX, "{pauses:?}");
        let last = (0..16).map(|_| throttle.after(WORK, QUICK)).last();
        assert_eq!(last, Some(Duration::ZERO));
    }

    #[test]
    fn pages_that_take_long_leave_longer_pauses() {
        let mut throttle = Throttle::default();
        let work = Duration::from_secs(3);
        throttle.after(work, QUICK);
        let last = (0..12).map(|_| throttle.after(work, SLOW)).last();
        assert_eq!(last, Some(work * PAGES_MAX));
    }

    #[test]
    fn one_slow_answer_in_twenty_costs_less_than_a_quarter() {
        let mut throttle = Throttle::default();
        let answered = |page: u32| if page % 20 == 7 { SLOW } else { QUICK };
        let paused: Duration = (0..1000).map(|page| throttle.after(WORK, answered(page))).sum();
        assert!(paused < WORK * 250, "{paused:?}");
    }
}
