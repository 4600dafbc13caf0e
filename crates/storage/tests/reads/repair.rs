//! Repair makes the shadow equal to the primary, and never undoes a newer write.

use std::sync::Arc;

use syntrix_storage_routing::{Depth, Repair, Repaired};

use crate::pair::{MIGRATE, Pair, document, lose, path, put};

async fn damaged() -> Pair {
    let pair = Pair::with_equal(20).await;
    lose(&pair.shadow, "rooms/r00001").await;
    put(&pair.primary, document("rooms/r00002", 3, r#"{"a":3}"#)).await;
    put(&pair.shadow, document("rooms/r00003", 1, r#"{"a":"x"}"#)).await;
    put(&pair.shadow, document("rooms/r00004", 8, r#"{"a":"x"}"#)).await;
    put(&pair.shadow, document("rooms/phantom", 2, r#"{"a":"x"}"#)).await;
    pair
}

async fn repair_all(pair: &Pair, repair: &Repair) -> Vec<Repaired> {
    let (mut findings, _) = pair.verify(Depth::Deep).await;
    findings.sort_unstable_by(|left, right| left.path.as_str().cmp(right.path.as_str()));
    let mut done = Vec::new();
    for finding in findings {
        done.push(repair.document(&finding.path).await.unwrap());
    }
    done
}

fn dry_run(pair: &Pair) -> Repair {
    Repair::dry_run(Arc::clone(&pair.primary), Arc::clone(&pair.shadow))
}

const STEPS: [Repaired; 5] = [
    Repaired::Removed,
    Repaired::Inserted,
    Repaired::Replaced,
    Repaired::Replaced,
    Repaired::Replaced,
];

#[tokio::test]
async fn a_dry_run_tells_the_same_steps_and_changes_nothing() {
    let pair = damaged().await;
    assert_eq!(repair_all(&pair, &dry_run(&pair)).await, STEPS);
    assert_eq!(pair.verify(Depth::Deep).await.0.len(), STEPS.len());
}

/// Case 51, first half.
#[tokio::test]
async fn after_a_repair_nothing_differs_and_a_second_one_has_nothing_to_do() {
    let pair = damaged().await;
    let repair = dry_run(&pair).executing();
    assert_eq!(repair_all(&pair, &repair).await, STEPS);
    let (findings, summary) = pair.verify(Depth::Deep).await;
    assert!(summary.equal, "{findings:?}");
    assert_eq!(summary.primary, summary.shadow);
    for name in ["rooms/r00001", "rooms/r00002", "rooms/phantom"] {
        assert_eq!(repair.document(&path(name)).await.unwrap(), Repaired::Equal);
    }
    let phantom = pair.shadow.get(&path("rooms/phantom"), &MIGRATE).await.unwrap();
    assert_eq!(phantom, None, "a mark that stays would hide a later document");
}

/// Case 51, second half: the finding is old by the time it is repaired.
#[tokio::test]
async fn a_write_that_came_between_verify_and_repair_stays() {
    let pair = damaged().await;
    let newer = document("rooms/r00003", 2, r#"{"a":"newer"}"#);
    put(&pair.primary, newer.clone()).await;
    put(&pair.shadow, newer.clone()).await;
    let repair = dry_run(&pair).executing();
    assert_eq!(repair.document(newer.path()).await.unwrap(), Repaired::Equal);
    assert_eq!(pair.shadow.get(newer.path(), &MIGRATE).await.unwrap(), Some(newer));
}

#[tokio::test]
async fn a_phantom_that_the_primary_has_by_now_is_replaced_and_not_removed() {
    let pair = damaged().await;
    let created = document("rooms/phantom", 1, r#"{"a":"mine"}"#);
    put(&pair.primary, created.clone()).await;
    let repair = dry_run(&pair).executing();
    assert_eq!(repair.document(created.path()).await.unwrap(), Repaired::Replaced);
    assert_eq!(pair.shadow.get(created.path(), &MIGRATE).await.unwrap(), Some(created));
}
