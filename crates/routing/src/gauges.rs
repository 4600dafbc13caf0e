//! What `routing status` says, as metrics: looked at now and then, for whoever installed a recorder.

use std::sync::{Arc, Weak};
use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};
use syntrix_storage_core::backend::StoreKind;

use crate::breaker::BreakerState;
use crate::control::RouteControl;
use crate::replicator::status::StatusReport;
use crate::shadow::ShadowState;

/// The instruments of one store's route.
struct Gauges {
    up: Gauge,
    filled: Gauge,
    holder: Gauge,
    breaker: Gauge,
    lag: Gauge,
    backlog: Gauge,
    window: Gauge,
    dead_letters: Gauge,
    rate: Gauge,
    verify_ended: Gauge,
    verify_differences: Gauge,
    history_lost: Counter,
    mirrored: [Counter; 3],
    replicated: [Counter; 3],
}

/// Looks at the route every `interval` until it is closed or dropped. Must be called within a runtime.
pub fn export_metrics(route: &Arc<dyn RouteControl>, interval: Duration) {
    let route = Arc::downgrade(route);
    tokio::spawn(async move { keep_exporting(route, interval).await });
}

async fn keep_exporting(route: Weak<dyn RouteControl>, interval: Duration) {
    let mut gauges = None;
    loop {
        tokio::time::sleep(interval).await;
        // Not held while we sleep: a route that nobody has any more ends.
        let Some(route) = route.upgrade() else { return };
        let Ok(status) = route.status().await else { continue };
        gauges.get_or_insert_with(|| Gauges::new(status.store)).set(&status);
        if status.shadow == ShadowState::Closed {
            return;
        }
    }
}

impl Gauges {
    fn new(store: &'static str) -> Self {
        let gauge = |name: &'static str| gauge!(name, "store" => store);
        let outcomes = |name: &'static str, outcomes: [&'static str; 3]| {
            outcomes.map(|outcome| counter!(name, "store" => store, "outcome" => outcome))
        };
        Self {
            up: gauge("syntrix_storage_shadow_up"),
            filled: gauge("syntrix_storage_shadow_filled"),
            holder: gauge("syntrix_storage_replication_holder"),
            breaker: gauge("syntrix_storage_shadow_breaker"),
            lag: gauge("syntrix_storage_replication_lag_seconds"),
            backlog: gauge("syntrix_storage_replication_backlog"),
            window: gauge("syntrix_storage_feed_window_left_seconds"),
            dead_letters: gauge("syntrix_storage_dead_letters"),
            rate: gauge("syntrix_storage_replication_rate"),
            verify_ended: gauge("syntrix_storage_verify_ended_timestamp_seconds"),
            verify_differences: gauge("syntrix_storage_verify_differences"),
            history_lost: counter!("syntrix_storage_history_lost_total", "store" => store),
            mirrored: outcomes(
                "syntrix_storage_mirrored_total",
                ["confirmed", "failed", "skipped"],
            ),
            replicated: outcomes(
                "syntrix_storage_replicated_total",
                ["applied", "known", "lineage"],
            ),
        }
    }

    fn set(&self, status: &StatusReport) {
        self.up.set(flag(status.shadow == ShadowState::Up));
        self.filled.set(flag(status.filled));
        self.holder.set(flag(status.holder.as_ref().is_some_and(|holder| holder.is_here)));
        self.breaker.set(match status.mirror.breaker {
            BreakerState::Closed => 0.0,
            BreakerState::HalfOpen => 1.0,
            BreakerState::Open => 2.0,
        });
        self.lag.set(known(status.lag.map(|lag| lag.seconds)));
        self.backlog.set(count(status.lag.and_then(|lag| lag.events)));
        self.window.set(window(status));
        self.dead_letters.set(count(status.dead_letters));
        self.rate.set(known(status.replicated.per_second));
        let last = status.last_verify.as_ref();
        self.verify_ended.set(known(last.map(|last| last.ended_ms as f64 / 1000.0)));
        self.verify_differences.set(count(last.map(|last| last.differences + last.unsettled)));
        self.history_lost.absolute(status.history_lost);
        let (mirror, replicated) = (status.mirror, status.replicated);
        set_all(&self.mirrored, [mirror.confirmed, mirror.failed, mirror.skipped]);
        set_all(&self.replicated, [replicated.applied, replicated.known, replicated.lineage]);
    }
}

/// Only documents have a history that is trimmed, which is all there when the shadow lacks nothing of it.
fn window(status: &StatusReport) -> f64 {
    let is_known = status.store == StoreKind::Documents.as_str() && status.lag.is_some();
    match status.feed_window_left_seconds {
        None if is_known => f64::INFINITY,
        left => count(left),
    }
}

fn set_all(counters: &[Counter; 3], values: [u64; 3]) {
    for (counter, value) in counters.iter().zip(values) {
        counter.absolute(value);
    }
}

const fn flag(is_set: bool) -> f64 {
    if is_set { 1.0 } else { 0.0 }
}

/// What is not known is not a number; an old one would look like a present one.
fn known(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

fn count(value: Option<u64>) -> f64 {
    known(value.map(|value| value as f64))
}
