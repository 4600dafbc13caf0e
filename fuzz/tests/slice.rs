//! A short run of every target; `cargo xtask fuzz` is the long one.

use syntrix_storage_fuzz::{Inputs, Limit, run, targets};

const INPUTS: u64 = 4_000;

#[test]
fn no_target_panics() {
    for target in targets() {
        let seed = fastrand::u64(..);
        let read = run(&*target, seed, Limit::Inputs(INPUTS));
        assert_eq!(read, Ok(INPUTS), "{}", target.name());
    }
}

#[test]
fn a_seed_repeats_its_inputs_and_corpora_are_not_empty() {
    for target in targets() {
        let corpus = target.corpus();
        assert!(!corpus.is_empty() && corpus.iter().all(|text| !text.is_empty()));
        let row = |seed| {
            let mut inputs = Inputs::new(target.corpus(), seed);
            (0..100).map(|_| inputs.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
    }
}
