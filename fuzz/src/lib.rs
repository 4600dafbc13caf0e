//! Fuzz targets: everything in the public crates that reads text from outside must answer or refuse, never panic or hang.
//!
//! Each target has a corpus of texts that are right or nearly so. An input is one of them, mutated a few times or spliced with
//! another; no coverage guides the choice, so this runs on a stable compiler. A seed makes a run repeatable.

mod config;
mod input;
mod query;
mod text;
mod token;

use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

pub use input::Inputs;

/// One reader of text and what it is fed.
pub trait Target: UnwindSafe + RefUnwindSafe {
    /// For example `path`.
    fn name(&self) -> &'static str;

    /// What inputs are made from.
    fn corpus(&self) -> Vec<String>;

    /// Reads one input. Panics if an answer is wrong.
    fn read(&self, input: &str);
}

/// Every target.
pub fn targets() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(text::Path),
        Box::new(text::FieldPath),
        Box::new(text::Names),
        Box::new(query::FilterJson),
        Box::new(query::PatchJson),
        Box::new(query::CursorText::new()),
        Box::new(token::TokenText::new()),
        Box::new(config::ConfigText),
    ]
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// After so many inputs.
    Inputs(u64),
    /// After so long.
    Time(Duration),
}

/// Feeds a target and returns how many inputs it has read.
///
/// # Errors
///
/// The first input that made it panic, with the seed that repeats the run.
pub fn run(target: &dyn Target, seed: u64, limit: Limit) -> Result<u64, String> {
    let mut inputs = Inputs::new(target.corpus(), seed);
    let started = Instant::now();
    let mut count = 0;
    loop {
        let over = match limit {
            Limit::Inputs(most) => count >= most,
            Limit::Time(longest) => started.elapsed() >= longest,
        };
        if over {
            return Ok(count);
        }
        let input = inputs.next_input();
        if catch_unwind(|| target.read(&input)).is_err() {
            let name = target.name();
            return Err(format!("{name}: panicked with seed {seed} at input {count}: {input:?}"));
        }
        count += 1;
    }
}
