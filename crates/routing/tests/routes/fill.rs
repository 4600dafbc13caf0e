//! The copy of what was there before the route, while writes go on at every side of where it is.

use std::time::Duration;

use syntrix_storage_conformance::faults::{Fault, FaultRule, Method};

use crate::world::{World, delete, first, insert, update};

/// Several pages of the copy.
const OLD: i64 = 4000;

#[tokio::test(flavor = "multi_thread")]
async fn case_34_what_is_written_behind_ahead_and_at_the_edges_of_the_copy_is_there() {
    let world = World::new().await;
    let primary = world.primary.documents().unwrap();
    let mut old = Vec::new();
    for n in 0..OLD {
        old.push(insert(&*primary, &format!("old/d{n:05}"), 1, n).await);
    }
    world.faults.add(FaultRule::new(Fault::Delay(Duration::from_millis(40))).at(Method::Write));
    let route = world.open();
    let (mut edges, mut written) = (Vec::new(), 0);
    loop {
        let fill = route.status().await.fill;
        if fill.as_ref().is_some_and(|fill| fill.done) {
            break;
        }
        let edge = fill.and_then(|fill| fill.copied_to);
        if let Some(edge) = edge.filter(|edge| edges.last() != Some(edge)) {
            let number: i64 = edge.trim_start_matches("old/d").parse().unwrap_or_default();
            // Right behind what was copied last and right before it, far behind, far ahead, before the first and behind the last.
            let before = format!("old/d{:05}~", (number - 1).max(0));
            for path in
                [format!("{edge}~"), before, format!("aaa/d{number}"), format!("zzz/d{number}")]
            {
                insert(&*primary, &path, 2, number).await;
                written += 1;
            }
            let (copied, ahead) = (number.max(0) as usize, (number + 1).min(OLD - 1) as usize);
            old[copied] = update(&*primary, &old[copied], -1).await;
            if ahead != copied {
                old[ahead] = delete(&*primary, &old[ahead], 3).await;
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
