//! How often and how patiently a compare-and-set is tried again.

use std::time::Duration;

/// Enough for hundreds of processes that write one record; within a process writers take turns.
pub(crate) const ATTEMPTS_MAX: u32 = 40;
const BACKOFF_MIN: Duration = Duration::from_micros(500);
const BACKOFF_MAX: Duration = Duration::from_millis(50);

/// Full jitter, so that writers who collided do not collide again.
pub(crate) async fn pause(attempt: u32) {
    tracing::debug!(attempt, "another writer was first, trying again");
    let ceiling = BACKOFF_MIN.saturating_mul(1 << attempt.min(16)).min(BACKOFF_MAX);
    tokio::time::sleep(ceiling.mul_f64(fastrand::f64())).await;
}
