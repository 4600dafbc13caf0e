//! One process replicates at a time, and another one follows it.

use syntrix_storage_routing::RouteControl as _;

use crate::world::{PATIENCE, World, insert, until, update};

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_passes_on_at_once_when_its_holder_closes() {
    let world = World::new().await;
    let (one, two) = (world.open(), world.open());
    insert(&one.route, "rooms/a", 1, 1).await;
    one.drain().await;
    two.drain().await;
    let (first, second) = (one.status().await, two.status().await);
    let is_here = |status: &syntrix_storage_routing::StatusReport| {
        status.holder.as_ref().is_some_and(|holder| holder.is_here)
    };
    assert!(is_here(&first) != is_here(&second), "not one holder: {first:?} {second:?}");
    let (holder, other) = if is_here(&first) { (one, two) } else { (two, one) };
    holder.close().await;
    insert(&other.route, "rooms/b", 1, 1).await;
    other.control.drain(PATIENCE).await.unwrap();
    assert!(is_here(&other.status().await));
    assert_eq!(world.expect_equal_sides().await, 2);
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_9_two_who_believe_that_they_lead_do_no_harm() {
    let world = World::new().await;
    let (one, two) = (world.open(), world.open());
    one.drain().await;
    two.drain().await;
    for round in 0..10 {
        // The lease of whoever has it is given away under it.
        world.edit("documents/lease", |body| body["released"] = true.into()).await;
        for key in 0..20 {
            let path = format!("rooms/r{round}-{key}");
            let document = insert(&one.route, &path, 1, 1).await;
            update(&two.route, &document, 2).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    one.drain().await;
    until("the lease passes on", async || {
        one.status().await.holder.is_some_and(|holder| holder.term > 2)
    })
    .await;
    assert_eq!(world.expect_equal_sides().await, 200);
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_holder_is_gone_is_taken_after_its_time() {
    let world = World::new().await;
    let route = world.open();
    route.drain().await;
    route.close().await;
    // As a killed process leaves it.
    world
        .edit("documents/lease", |body| {
            body["released"] = false.into();
            body["holder"] = "gone@1".into();
        })
        .await;
    let route = world.open();
    insert(&route.route, "rooms/a", 1, 1).await;
    route.drain().await;
    until("this process leads", async || {
        route.status().await.holder.is_some_and(|holder| holder.is_here)
    })
    .await;
    world.expect_equal_sides().await;
    route.close().await;
}
