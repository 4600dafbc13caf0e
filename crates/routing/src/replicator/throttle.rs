//! Slows a copy down when the primary does: more and more while it is slow, less by little when it is not.

use std::time::Duration;

/// Slower than this many times its best is slow.
const SLOW_FACTOR: f64 = 3.0;
/// Differences below this say nothing.
const NOISE: Duration = Duration::from_millis(2);
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
const PAUSE_STEP: Duration = Duration::from_millis(2);
/// How fast the best is forgotten, so that a page read from an idle cache is not the measure for ever.
const DRIFT: f64 = 1.01;

/// Pauses between pages, by how long the primary takes for a page of the same size.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// Seconds per record of the fastest page of late.
    best: Option<f64>,
    pause: Duration,
}

impl Throttle {
    /// How long to wait after a page of `records` that took `took`.
    pub(crate) fn after(&mut self, took: Duration, records: usize) -> Duration {
        if records == 0 {
            return self.pause;
        }
        let each = took.as_secs_f64() / records as f64;
        let best = self.best.map_or(each, |best| (best * DRIFT).min(each));
        self.best = Some(best);
        let expected = Duration::from_secs_f64(best * SLOW_FACTOR * records as f64);
        self.pause = match took > expected + NOISE {
            true => (self.pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX),
            false => self.pause.saturating_sub(PAUSE_STEP),
        };
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_primary_gets_longer_and_longer_pauses_and_a_quick_one_none_in_the_end() {
        let mut throttle = Throttle::default();
        let (quick, slow) = (Duration::from_millis(5), Duration::from_millis(80));
        assert_eq!(throttle.after(quick, 1000), Duration::ZERO);
        let pauses: Vec<Duration> = (0..12).map(|_| throttle.after(slow, 1000)).collect();
        assert!(pauses.is_sorted() && pauses[11] == PAUSE_MAX, "{pauses:?}");
        let last = (0..600).map(|_| throttle.after(quick, 1000)).last();
        assert_eq!(last, Some(Duration::ZERO));
    }
}
