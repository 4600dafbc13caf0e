//! What a recorder gets of a route. Alone in its program: there is one recorder of a process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "routes/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use syntrix_storage_conformance::faults::{Fault, FaultRule, Method};
use syntrix_storage_core::ErrorKind;
use syntrix_storage_routing::{Depth, RouteControl, VerifyOptions, export_metrics};

use world::{PATIENCE, World, insert, until};

fn values(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let told = |value| match value {
        DebugValue::Gauge(value) => Some(value.into_inner()),
        DebugValue::Counter(value) => Some(value as f64),
        DebugValue::Histogram(_) => None,
    };
    let all = snapshotter.snapshot().into_vec();
    let named = all.into_iter().filter_map(|(key, _, _, value)| {
        let labels = key.key().labels().map(|label| label.value()).collect::<Vec<_>>().join(" ");
        Some((format!("{} {labels}", key.key().name()), told(value)?))
    });
    named.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_backlog_dead_letters_breaker_and_the_last_comparison_are_gauges() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let world = World::new().await;
    let refusing = FaultRule::new(Fault::FailBefore).at(Method::Write).about("rooms/bad");
    world.faults.add(refusing.with_error(ErrorKind::InvalidArgument));
    let route = world.open();
    route.drain().await;
    insert(&*world.primary.documents().unwrap(), "rooms/bad", 1, 1).await;
    route.expect_refusal().await;
    insert(&route.route, "rooms/good", 1, 1).await;
    route.expect_refusal().await;
    let options = VerifyOptions::default().with_depth(Depth::Deep);
    let summary = route.control.verify(options, PATIENCE, &mut |_| Ok(())).await.unwrap();
    assert_eq!(summary.counts.missing, 1);

    export_metrics(
        &(Arc::clone(&route.control) as Arc<dyn RouteControl>),
        Duration::from_millis(20),
    );
    let name = |name: &str| format!("syntrix_storage_{name} documents");
    let expected = [
        ("shadow_up", 1.0),
        ("shadow_filled", 1.0),
        ("replication_holder", 1.0),
        ("shadow_breaker", 0.0),
        ("replication_lag_seconds", 0.0),
        ("replication_backlog", 0.0),
        ("dead_letters", 1.0),
        ("verify_differences", 1.0),
        ("mirrored_total confirmed", 1.0),
    ];
    let told = std::sync::Mutex::new(BTreeMap::new());
    // They are set one by one, so a look may come in between.
    until("the gauges", async || {
        let now = values(&snapshotter);
        let is_there = |(gauge, value): &(&str, f64)| {
            let (gauge, label) = gauge.split_once(' ').unwrap_or((gauge, ""));
            now.get(format!("{} {label}", name(gauge)).trim_end()) == Some(value)
        };
        let missing: Vec<_> = expected.iter().filter(|gauge| !is_there(gauge)).collect();
        let are_all = missing.is_empty();
        if !are_all {
            eprintln!("not yet: {missing:?}");
        }
        *told.lock().unwrap() = now;
        are_all
    })
    .await;
    let told = told.into_inner().unwrap();
    assert!(told[&name("verify_ended_timestamp_seconds")] > 1e9, "{told:#?}");

    // Every name is in the documentation.
    let documented = include_str!("../../../docs/metrics.md");
    for name in told.keys().filter_map(|key| key.split(' ').next()) {
        assert!(documented.contains(&format!("`{name}`")), "{name} is not documented");
    }
    route.close().await;
}
