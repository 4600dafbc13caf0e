//! The model test finds deliberate defects, and says so in scripts that a person can read.

use std::sync::Arc;

use syntrix_storage::conformance::Harness;
use syntrix_storage::conformance::model::{Disagreement, Options, replay, run};

use crate::{Broken, Defect};

/// Defects, and how many steps a script needs at most to show them.
const FOUND: [(Defect, usize); 17] = [
    (Defect::IgnoresPreconditions, 3),
    (Defect::CreatesOverLive, 2),
    (Defect::ShowsTombstones, 3),
    (Defect::ForgetsTheCursor, 3),
    (Defect::DeclaresIndexesItself, 1),
    (Defect::DoublesEvents, 2),
    (Defect::Panics, 1),
    (Defect::FindsNamesExactly, 2),
    (Defect::ListsHashes, 2),
    (Defect::LosesTheLastOfAList, 2),
    (Defect::IgnoresExpectedVersions, 2),
    (Defect::RestoresOnUpdate, 3),
    (Defect::LiftsLocksWithStaleTickets, 3),
    (Defect::HidesDisabledAccounts, 3),
    (Defect::KnowsNoRevocations, 2),
    (Defect::ForgetsImmediate, 3),
    (Defect::EverybodyWins, 2),
];

/// Enough that each of these defects is met; the seed makes it the same every time.
const CASES: u64 = 300;

async fn find(defect: Defect) -> Disagreement {
    let options = Options::new(CASES).with_seed(1);
    match run(harness(defect).await, harness(Defect::None).await, &options).await {
        Ok(summary) => panic!("{defect:?} is not found in {} steps", summary.steps),
        Err(disagreement) => *disagreement,
    }
}

async fn harness(defect: Defect) -> Arc<dyn Harness> {
    Arc::new(Broken::new(defect).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn defects_are_found_and_shrunk_to_a_short_script() {
    for (defect, steps_max) in FOUND {
        let found = find(defect).await;
        println!("{defect:?}: {found}");
        let steps = found.script.steps.len();
        assert!(steps <= steps_max, "{defect:?} takes {steps} steps:\n{found}");
    }
}

/// What was found can be kept as text and tried again: it fails with the defect, and without it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_was_found_shows_its_defect_again() {
    for defect in [Defect::CreatesOverLive, Defect::RestoresOnUpdate, Defect::EverybodyWins] {
        let script = find(defect).await.script.to_string().parse().unwrap();
        let sound = harness(Defect::None).await;
        replay(&sound, &sound, &script).await.unwrap();
        assert!(replay(&harness(defect).await, &sound, &script).await.is_err(), "{defect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_script_leaves_anything_behind() {
    let (broken, sound) = (harness(Defect::Panics).await, harness(Defect::None).await);
    let options = Options::new(5).with_seed(1);
    assert!(run(Arc::clone(&broken), Arc::clone(&sound), &options).await.is_err());
    assert!(run(Arc::clone(&sound), Arc::clone(&sound), &options).await.is_ok());
    for harness in [broken, sound] {
        assert_eq!(harness.leftovers().await.unwrap(), Vec::<String>::new());
    }
}
