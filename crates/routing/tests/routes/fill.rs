//! The copy of what was there before the route, while writes go on at every side of where it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use syntrix_storage_conformance::faults::{Fault, FaultRule, Method};

use crate::world::{PATIENCE, Ready, World, delete, first, insert, options, update};

/// Several pages of the copy.
const OLD: i64 = 4000;
/// Behind each of the first edges a record is written, which becomes the next edge: so the copy must be let go in the end.
const EDGES: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn case_34_what_is_written_behind_ahead_and_at_the_edges_of_the_copy_is_there() {
    let world = World::new().await;
    let primary = world.primary.documents().unwrap();
    let mut old = Vec::new();
    for n in 0..OLD {
        old.push(insert(&*primary, &format!("old/d{n:05}"), 1, n).await);
    }
    // Of each record, so a page takes half a second.
    world.faults.add(FaultRule::new(Fault::Delay(Duration::from_millis(1))).at(Method::Write));
    let mut options = options();
    options.apply_timeout = Duration::from_secs(20);
    let route = world.open_with(Arc::new(Ready(Arc::clone(&world.shadow))), options);
    let (mut edges, mut written, started) = (Vec::new(), 0, Instant::now());
    loop {
        assert!(started.elapsed() < 2 * PATIENCE, "the copy does not end: {edges:?}");
        let fill = route.status().await.fill;
        if fill.as_ref().is_some_and(|fill| fill.done) {
            break;
        }
        let edge = fill.and_then(|fill| fill.copied_to).filter(|_| edges.len() < EDGES);
        if let Some(edge) = edge.filter(|edge| edges.last() != Some(edge)) {
            let digits = edge.get(5..10).unwrap_or_default();
            let number: i64 = digits.parse().unwrap_or_default();
            // Right behind what was copied last and right before it, far behind, far ahead, before the first and behind the last.
            let before = format!("old/d{:05}~{}", (number - 1).max(0), edges.len());
            for path in
                [format!("{edge}~"), before, format!("aaa/d{written}"), format!("zzz/d{written}")]
            {
                insert(&*primary, &path, 2, number).await;
                written += 1;
            }
            let (copied, ahead) = (number.max(0) as usize, (number + 1).min(OLD - 1) as usize);
            if !old[copied].is_deleted() {
                old[copied] = update(&*primary, &old[copied], -1).await;
            }
            if ahead != copied {
                // Once only: a tombstone is no document to delete.
                if !old[ahead].is_deleted() {
                    old[ahead] = delete(&*primary, &old[ahead], 3).await;
                }
            }
            edges.push(edge);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.faults.heal();
    route.drain().await;
    assert!(edges.len() >= 3, "the copy was too quick to be met: {edges:?}");
    assert_eq!(world.expect_equal_sides().await, usize::try_from(OLD).unwrap() + written);
    route.close().await;
}

/// What was written before the route and never since keeps its own times and versions.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_record_itself_and_not_a_write_of_its_own() {
    let world = World::new().await;
    let primary = world.primary.documents().unwrap();
    let document = insert(&*primary, "old/a", 7, 1).await;
    let gone = delete(&*primary, &insert(&*primary, "old/b", 8, 1).await, 9).await;
    assert_eq!(first("old/a", 7, 1).created_at(), document.created_at());
    let route = world.open();
    route.drain().await;
    assert_eq!(world.expect_equal_sides().await, 2);
    let fill = route.status().await.fill.expect("a fill");
    assert_eq!((fill.copied, fill.removed, gone.version().get()), (2, 0, 2));
    route.close().await;
}
