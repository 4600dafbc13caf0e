//! What the feed brings, once or often, in whatever order.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_conformance::faults::{Fault, FaultRule, Method};
use syntrix_storage_core::ErrorKind;
use syntrix_storage_core::backend::Write;
use syntrix_storage_routing::{BreakerState, RouteControl as _};

use crate::world::{
    PATIENCE, Ready, World, apply, at, body, delete, first, insert, options, time, until, update,
};

#[tokio::test(flavor = "multi_thread")]
async fn cases_6_and_7_mirrored_writes_may_come_late_in_any_order_twice_or_not_at_all() {
    let world = World::new().await;
    let route = world.open();
    route.drain().await;
    let late = FaultRule::new(Fault::Delay(Duration::from_millis(30))).at(Method::Write);
    world.faults.add(late.with_chance(0.2));
    world.faults.add(FaultRule::new(Fault::FailAfter).at(Method::Write).with_chance(0.1));
    world.faults.add(FaultRule::new(Fault::FailBefore).at(Method::Write).with_chance(0.1));
    for key in 0..20 {
        let path = format!("rooms/r{key}");
        let mut document = insert(&route.route, &path, 1, 0).await;
        for n in 1..20 {
            document = update(&route.route, &document, n).await;
        }
    }
    route.drain().await;
    assert!(world.faults.injected() > 0);
    assert_eq!(world.expect_equal_sides().await, 20);
    // Mirrors that are still delayed change nothing.
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.expect_equal_sides().await;
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_8_a_feed_that_is_read_again_changes_nothing() {
    let world = World::new().await;
    let route = world.open();
    route.drain().await;
    let mut begin = serde_json::Value::Null;
    world.edit("documents/checkpoint", |body| begin = body["position"].clone()).await;
    route.close().await;

    let route = world.open();
    for key in 0..50 {
        let document = insert(&route.route, &format!("rooms/r{key}"), 1, key).await;
        delete(&route.route, &document, 2).await;
    }
    route.drain().await;
    route.close().await;

    world.edit("documents/checkpoint", |body| body["position"] = begin.clone()).await;
    let route = world.open();
    route.drain().await;
    let replicated = route.status().await.replicated;
    assert_eq!((replicated.applied, replicated.known), (0, 50));
    assert_eq!(world.expect_equal_sides().await, 50);
    route.close().await;
}

/// The primary lost what it had told of (a fail-over, a restore) and goes on behind the checkpoint: the history the feed tells
/// of is the right one, though the shadow's record has the higher version.
#[tokio::test(flavor = "multi_thread")]
async fn case_15_a_shadow_that_is_ahead_of_the_feed_gets_the_primarys_record() {
    let world = World::new().await;
    let route = world.open();
    let document = insert(&route.route, "rooms/lobby", 1, 1).await;
    route.drain().await;
    let shadow = world.shadow.documents().unwrap();
    let lost = update(&*shadow, &document, 2).await;
    update(&*shadow, &lost, 3).await;

    update(&route.route, &document, 77).await;
    route.drain().await;
    assert_eq!(world.expect_equal_sides().await, 1);
    assert_eq!(route.status().await.replicated.lineage, 1);
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_equal_versions_with_other_content_are_the_primarys() {
    let world = World::new().await;
    let route = world.open();
    let document = insert(&route.route, "rooms/lobby", 1, 1).await;
    route.drain().await;
    route.close().await;

    let other = document.replaced(time(5), body(666));
    apply(&*world.shadow.documents().unwrap(), Write::ApplyIfNewer(other)).await;
    update(&*world.primary.documents().unwrap(), &document, 2).await;

    let route = world.open();
    route.drain().await;
    assert_eq!(route.status().await.replicated.lineage, 1);
    world.expect_equal_sides().await;
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_19_lost_history_is_told_and_the_shadow_filled_again() {
    let world = World::new().await;
    let route = world.open();
    let purged = insert(&route.route, "rooms/purged", 1, 1).await;
    let kept = insert(&route.route, "rooms/kept", 1, 1).await;
    route.drain().await;
    route.close().await;

    // Past the route, which would not do it: a purge and a trim while nobody replicates.
    let primary = world.primary.documents().unwrap();
    delete(&*primary, &purged, 2).await;
    primary.purge(time(3), 10).await.unwrap();
    update(&*primary, &kept, 2).await;
    insert(&*primary, "rooms/new", 4, 4).await;
    primary.trim_feed(time(i64::MAX), 1000).await.unwrap();

    let route = world.open();
    until("a second fill", async || route.status().await.history_lost == 1).await;
    route.drain().await;
    let fill = route.status().await.fill.unwrap();
    assert_eq!((fill.number, fill.removed, fill.done), (2, 1, true));
    assert_eq!(world.expect_equal_sides().await, 2);
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_20_and_21_a_document_that_the_shadow_refuses_stops_no_other_one() {
    let world = World::new().await;
    let refusing = FaultRule::new(Fault::FailBefore).at(Method::Write).about("rooms/bad");
    world.faults.add(refusing.with_error(ErrorKind::InvalidArgument));
    let route = world.open();
    route.drain().await;
    let bad = insert(&*world.primary.documents().unwrap(), "rooms/bad", 1, 1).await;
    route.expect_refusal().await;
    insert(&route.route, "rooms/good", 1, 1).await;
    route.expect_refusal().await;
    let letters = route.control.dead_letters().await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].path.as_str(), letters[0].version), ("rooms/bad", 1));
    assert!(letters[0].reason.contains("invalid_argument"), "{letters:?}");
    assert!(!route.control.retry_dead_letter("rooms/bad").await.unwrap());
    assert_eq!(route.status().await.dead_letters, Some(1));

    world.faults.heal();
    assert!(route.control.retry_dead_letter("rooms/bad").await.unwrap());
    let missing = route.control.retry_dead_letter("rooms/bad").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    update(&route.route, &bad, 2).await;
    route.drain().await;
    assert_eq!(world.expect_equal_sides().await, 2);
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_that_is_taken_drops_the_dead_letter() {
    let world = World::new().await;
    let refusing = FaultRule::new(Fault::FailBefore).at(Method::Write).about("rooms/bad");
    world.faults.add(refusing.with_error(ErrorKind::InvalidArgument));
    let route = world.open();
    route.drain().await;
    let primary = world.primary.documents().unwrap();
    let bad = insert(&*primary, "rooms/bad", 1, 1).await;
    route.expect_refusal().await;
    assert_eq!(route.control.dead_letters().await.unwrap().len(), 1);
    world.faults.heal();
    update(&*primary, &bad, 2).await;
    route.drain().await;
    assert!(route.control.dead_letters().await.unwrap().is_empty());
    world.expect_equal_sides().await;
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_3_and_5_a_shadow_that_hangs_delays_nobody_and_catches_up() {
    let world = World::new().await;
    let route = world.open();
    route.drain().await;
    world.faults.add(FaultRule::new(Fault::Hang).at(Method::Write));
    let started = std::time::Instant::now();
    for key in 0..2000 {
        insert(&route.route, &format!("rooms/r{key}"), 1, key).await;
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    until("an open breaker", async || route.status().await.mirror.opened > 0).await;
    assert_ne!(route.status().await.mirror.breaker, BreakerState::Closed);
    assert!(route.status().await.mirror.skipped > 1000, "the process keeps a bounded number");
    world.faults.heal();
    route.drain().await;
    assert_eq!(world.expect_equal_sides().await, 2000);
    route.close().await;
}

/// The end of the feed that a request is met by must not move on with what is written meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_though_writes_come_faster_than_they_are_applied() {
    let world = World::new().await;
    // Within this time nobody but the follower itself can tell how far it is.
    let mut options = options();
    (options.lease_time, options.batch_changes_max) = (PATIENCE * 10, 8);
    let route = world.open_with(Arc::new(Ready(Arc::clone(&world.shadow))), options);
    route.drain().await;
    world.faults.add(FaultRule::new(Fault::Delay(Duration::from_millis(30))).at(Method::Write));
    let primary = world.primary.documents().unwrap();
    let writer = tokio::spawn(async move {
        for key in 0.. {
            insert(&*primary, &format!("rooms/r{key}"), 1, key).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    // The follower is on its way by now, and not asked yet.
    tokio::time::sleep(Duration::from_millis(300)).await;
    route.drain().await;
    assert!(!writer.is_finished());
    writer.abort();
    world.faults.heal();
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_27_to_29_and_32_an_old_image_changes_nothing_however_late_it_comes() {
    let world = World::new().await;
    let route = world.open();
    let old = insert(&route.route, "rooms/a", 1, 1).await;
    let newer = update(&route.route, &old, 2).await;
    let gone = delete(&route.route, &newer, 3).await;
    let revived = gone.revived(time(4), body(4));
    apply(&route.route, Write::Replace { expected: gone.version(), document: revived }).await;
    let dead = insert(&route.route, "rooms/b", 1, 1).await;
    delete(&route.route, &dead, 2).await;
    route.drain().await;
    let shadow = world.shadow.documents().unwrap();
    let context =
        syntrix_storage_core::backend::CallContext::new(syntrix_storage_core::Operation::Migrate);
    let late = [old, newer, dead, first("rooms/b", 0, 9)].map(Write::ApplyIfNewer).to_vec();
    for outcome in shadow.write(late, &context).await {
        let applied = outcome.unwrap();
        assert!(matches!(applied, syntrix_storage_core::backend::Applied::No(_)), "{applied:?}");
    }
    world.expect_equal_sides().await;
    assert!(shadow.get(&at("rooms/b"), &context).await.unwrap().unwrap().is_deleted());
    route.close().await;
}
