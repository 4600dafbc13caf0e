//! A place to die: between the primary's commit and the mirrored write. For tests of what must not be lost there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ends the process, as `kill -9` would, between a write's commit on the primary and its mirror.
#[derive(Clone, Debug)]
pub struct MirrorFault {
    seed: u64,
    /// One in so many mirrored writes, at random; or exactly that one, if there is no seed.
    one_in: u64,
    exact: bool,
    passed: Arc<AtomicU64>,
}

impl MirrorFault {
    /// Dies at the `number`th mirrored write, from 1 on.
    pub fn nth(number: u64) -> Self {
        Self { seed: 0, one_in: number, exact: true, passed: Arc::default() }
    }

    /// Dies at about one in `one_in` mirrored writes; the same ones for the same seed.
    pub fn seeded(seed: u64, one_in: u64) -> Self {
        Self { seed, one_in: one_in.max(1), exact: false, passed: Arc::default() }
    }

    /// Passes the place, or does not come back.
    pub(crate) fn pass(&self) {
        if self.strikes(self.passed.fetch_add(1, Ordering::Relaxed) + 1) {
            std::process::abort();
        }
    }

    fn strikes(&self, number: u64) -> bool {
        if self.exact {
            return number == self.one_in;
        }
        let seed = self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        fastrand::Rng::with_seed(seed).u64(..self.one_in) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_strikes_at_the_same_writes_and_about_as_often_as_asked() {
        let strikes = |seed| {
            let fault = MirrorFault::seeded(seed, 10);
            (1..=10_000).filter(|number| fault.strikes(*number)).collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        assert_ne!(strikes(7), strikes(8));
        assert!((800..1200).contains(&strikes(7).len()), "{}", strikes(7).len());
    }

    #[test]
    fn an_exact_one_strikes_once() {
        let fault = MirrorFault::nth(3);
        let struck: Vec<u64> = (1..=100).filter(|number| fault.strikes(*number)).collect();
        assert_eq!(struck, [3]);
    }
}
