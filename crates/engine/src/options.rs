//! Settings of an engine that are not the backend's.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::{Clock, Retention, SystemClock};

/// How an engine runs.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The time of writes, retention and purge.
    pub clock: Arc<dyn Clock>,
    /// Replaces the retention the backend was configured with.
    pub retention: Option<Retention>,
    /// Whether a backend's fast paths are used. Off only in tests: the outcome is the same.
    pub fast_paths: bool,
    /// How often expired tombstones, history and revocations are removed; `None` leaves it to
    /// [`purge_expired`](syntrix_storage_core::DocumentAdmin::purge_expired).
    pub maintenance_interval: Option<Duration>,
    /// Longest wait of `close` for calls in flight.
    pub close_timeout: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            retention: None,
            fast_paths: true,
            maintenance_interval: Some(Duration::from_secs(60)),
            close_timeout: Duration::from_secs(5),
        }
    }
}
