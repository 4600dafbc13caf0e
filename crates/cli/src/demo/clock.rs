//! A clock that can be moved ahead, so that the demo need not wait for a month.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use syntrix_storage::{Clock, SystemClock, Timestamp};

const SECOND_MS: i64 = 1000;
const DAY_SECONDS: i64 = 24 * 3600;

/// The machine's clock, some time ahead.
#[derive(Clone, Debug, Default)]
pub(super) struct DemoClock(Arc<AtomicI64>);

impl DemoClock {
    /// Sets how many days the clock is ahead.
    pub(super) fn set_days_ahead(&self, days: i64) {
        self.set_seconds_ahead(days * DAY_SECONDS);
    }

    /// Sets how many seconds the clock is ahead.
    pub(super) fn set_seconds_ahead(&self, seconds: i64) {
        self.0.store(seconds * SECOND_MS, Ordering::SeqCst);
    }
}

impl Clock for DemoClock {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now().as_milliseconds();
        Timestamp::from_milliseconds(now + self.0.load(Ordering::SeqCst))
    }
}
