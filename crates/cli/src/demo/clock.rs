//! A clock that can be moved ahead, so that the demo need not wait for a month.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use syntrix_storage::{Clock, SystemClock, Timestamp};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The machine's clock, some days ahead.
#[derive(Clone, Debug, Default)]
pub(super) struct DemoClock(Arc<AtomicI64>);

impl DemoClock {
    /// Sets how many days the clock is ahead.
    pub(super) fn set_days_ahead(&self, days: i64) {
        self.0.store(days * DAY_MS, Ordering::SeqCst);
    }
}

impl Clock for DemoClock {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now().as_milliseconds();
        Timestamp::from_milliseconds(now + self.0.load(Ordering::SeqCst))
    }
}
