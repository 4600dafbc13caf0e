//! Tombstones stay while a shadow needs them.

use syntrix_storage_core::backend::DocumentBackend as _;
use syntrix_storage_routing::RouteControl as _;

use crate::world::{World, delete, insert, time};

#[tokio::test(flavor = "multi_thread")]
async fn case_30_nobody_but_the_holder_purges_while_the_pin_is_there() {
    let world = World::new().await;
    let route = world.open();
    let document = insert(&route.route, "rooms/a", 1, 1).await;
    delete(&route.route, &document, 2).await;
    route.drain().await;
    assert!(world.is_pinned().await);

    let other = world.single();
    assert_eq!(other.purge(time(100), 10).await.unwrap().purged, 0);
    assert_eq!(world.expect_equal_sides().await, 1);

    let standby = world.open();
    standby.drain().await;
    assert_eq!(standby.route.purge(time(100), 10).await.unwrap().purged, 0);

    assert_eq!(route.route.purge(time(100), 10).await.unwrap().purged, 1);
    assert_eq!(world.expect_equal_sides().await, 0);
    standby.close().await;
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_begins_again_after_a_purge_begins_again_on_the_shadow() {
    let world = World::new().await;
    let route = world.open();
    let document = insert(&route.route, "rooms/a", 1, 1).await;
    delete(&route.route, &document, 2).await;
    route.drain().await;
    route.close().await;
    // As if the shadow had been purged later than the primary.
    let primary = world.primary.documents().unwrap();
    primary.purge(time(3), 10).await.unwrap();
    insert(&*primary, "rooms/a", 5, 5).await;

    let route = world.open();
    route.drain().await;
    assert_eq!(world.expect_equal_sides().await, 1);
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_given_up_lifts_the_pin_and_is_filled_anew_when_it_is_opened_again() {
    let world = World::new().await;
    let (route, second) = (world.open(), world.open());
    let document = insert(&route.route, "rooms/a", 1, 1).await;
    insert(&route.route, "rooms/b", 1, 1).await;
    route.drain().await;
    second.drain().await;
    second.control.drop_route().await.unwrap();
    crate::world::until("the other process stops", async || {
        matches!(route.status().await.shadow, syntrix_storage_routing::ShadowState::Dropped)
    })
    .await;
    assert!(!world.is_pinned().await);
    second.close().await;

    delete(&route.route, &document, 2).await;
    assert_eq!(route.route.purge(time(100), 10).await.unwrap().purged, 1);
    insert(&route.route, "rooms/c", 3, 1).await;
    route.close().await;

    let route = world.open();
    route.drain().await;
    assert_eq!(world.expect_equal_sides().await, 2);
    assert!(world.is_pinned().await);
    route.close().await;
}
