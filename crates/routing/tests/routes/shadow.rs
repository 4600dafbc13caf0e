//! Shadows that are down, foreign, or no shadows at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use syntrix_storage_core::backend::Backend;
use syntrix_storage_core::{Error, ErrorKind, Result};
use syntrix_storage_routing::{ShadowOpener, ShadowState};

use crate::world::{Ready, World, insert, open, options, until};

/// Cannot be opened at first.
#[derive(Debug)]
struct Later {
    backend: Arc<dyn Backend>,
    failures: AtomicU32,
}

#[async_trait]
impl ShadowOpener for Later {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        if self.failures.fetch_add(1, Ordering::SeqCst) < 3 {
            return Err(Error::new(ErrorKind::Unavailable, "open"));
        }
        Ok(Arc::clone(&self.backend))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_is_down_delays_neither_open_nor_write_nor_close() {
    let world = World::new().await;
    let later = Later { backend: Arc::clone(&world.shadow), failures: AtomicU32::new(0) };
    let started = Instant::now();
    let route = world.open_with(Arc::new(later), options());
    insert(&route.route, "rooms/a", 1, 1).await;
    assert!(started.elapsed() < Duration::from_millis(500));
    until("it is told", async || matches!(route.status().await.shadow, ShadowState::Down(_))).await;
    let started = Instant::now();
    let early = world.open_with(
        Arc::new(Later { backend: Arc::clone(&world.shadow), failures: AtomicU32::new(0) }),
        options(),
    );
    early.close().await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    route.drain().await;
    world.expect_equal_sides().await;
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_itself_is_no_shadow() {
    let world = World::new().await;
    let route = world.open_with(Arc::new(Ready(Arc::clone(&world.primary))), options());
    insert(&route.route, "rooms/a", 1, 1).await;
    until("it is refused", async || {
        matches!(route.status().await.shadow, ShadowState::Refused(reason) if reason.contains("replica"))
    })
    .await;
    assert!(!world.is_pinned().await);
    route.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_37_a_shadow_of_another_primary_is_refused() {
    let world = World::new().await;
    let route = world.open();
    insert(&route.route, "rooms/a", 1, 1).await;
    route.drain().await;
    route.close().await;

    let stranger = World {
        primary: open(syntrix_storage_memory::factory()).await,
        shadow: Arc::clone(&world.shadow),
        faults: world.faults.clone(),
    };
    let route = stranger.open();
    insert(&route.route, "rooms/stranger", 1, 1).await;
    until("it is refused", async || {
        matches!(route.status().await.shadow, ShadowState::Refused(reason) if reason.contains("another primary"))
    })
    .await;
    route.close().await;
    assert_eq!(world.expect_equal_sides().await, 1);
}
