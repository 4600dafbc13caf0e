//! The model test: random operations of all three stores, on a backend and on another one that is taken for right.
//!
//! Both run the same [`Script`] in lockstep, with one clock, and must give the same answers: results, error kinds, reasons,
//! promised facts, pages and their cursors, events. A disagreement is shrunk to a short script with one operation per line,
//! which [`replay`] runs again. For the right one take the memory backend:
//!
//! ```text
//! let memory = StorageHarness::open(StorageConfig::memory()).await?;
//! let mine = StorageHarness::open_in_fresh_folder(config).await?;
//! model::run(Arc::new(mine), Arc::new(memory), &Options::from_environment(200)).await.unwrap();
//! ```
//!
//! What a backend does not offer is left out: stores it does not have, watching, reopening what is not durable. Where a store
//! has a clock of its own, time stands still and no times are compared.

mod answer;
mod documents;
mod generate;
mod revocations;
mod script;
mod shrink;
mod side;
mod users;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use syntrix_storage_core::ManualClock;

pub use script::{Condition, Expected, Script, Step};

use crate::cases::random::SEED_VARIABLE;
use crate::check::{CaseResult, Failure};
use crate::context::within_limit;
use crate::harness::{Harness, Setup};
use crate::runner::payload_text;
use side::{Scope, Side};

/// Longest a step may take on one side; a drain waits for events.
const STEP_LIMIT: Duration = Duration::from_secs(60);
/// Set to a number of cases, this replaces the one a test asks for.
const CASES_VARIABLE: &str = "SYNTRIX_CONFORMANCE_MODEL_CASES";

/// How much is tried.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many scripts.
    pub cases: u64,
    /// How long the longest of them are.
    pub steps_max: usize,
    /// The seed of the first; the others follow.
    pub seed: u64,
}

impl Options {
    /// So many cases of up to 60 steps, with a random seed.
    pub fn new(cases: u64) -> Self {
        Self { cases, steps_max: 60, seed: fastrand::u64(..1 << 32) }
    }

    /// As [`Options::new`], unless the variables `SYNTRIX_CONFORMANCE_MODEL_CASES` and `SYNTRIX_CONFORMANCE_SEED` say otherwise.
    pub fn from_environment(cases: u64) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
        let options = Self::new(number(CASES_VARIABLE).unwrap_or(cases));
        Self { seed: number(SEED_VARIABLE).unwrap_or(options.seed), ..options }
    }

    /// Sets the seed of the first case.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// What was tried without a disagreement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Scripts.
    pub cases: u64,
    /// Their steps, all in all.
    pub steps: usize,
}

/// Two backends that gave different answers.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// The shortest script that was found to show it.
    pub script: Script,
    /// What its last step came to.
    pub failure: Failure,
    /// Makes the same run again, as the seed of its first case.
    pub seed: u64,
    /// How many steps the script had before it was shrunk.
    pub steps_before: usize,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.failure)?;
        writeln!(
            formatter,
            "{SEED_VARIABLE}={}, {} of {} steps are enough:",
            self.seed,
            self.script.steps.len(),
            self.steps_before
        )?;
        write!(formatter, "{}", self.script)
    }
}

impl std::error::Error for Disagreement {}

/// Runs random scripts on both until they disagree. Needs a tokio runtime.
///
/// # Errors
///
/// The first disagreement, shrunk.
///
/// # Cancellation
///
/// If the future is dropped, the namespaces of the script under way stay.
pub async fn run(
    subject: Arc<dyn Harness>,
    reference: Arc<dyn Harness>,
    options: &Options,
) -> Result<Summary, Box<Disagreement>> {
    let scope = Scope::of(&*subject, &*reference);
    let mut summary = Summary::default();
    for number in 0..options.cases {
        let seed = options.seed.wrapping_add(number);
        let script = generate::script(&scope, seed, options.steps_max);
        if let Err(broken) = attempt(&subject, &reference, &script).await {
            return Err(Box::new(shrink::shrink(&subject, &reference, script, broken, seed).await));
        }
        summary.cases += 1;
        summary.steps += script.steps.len();
    }
    Ok(summary)
}

/// Runs one script on both, for example one that a disagreement has left behind.
///
/// # Errors
///
/// Where the answers differ.
pub async fn replay(
    subject: &Arc<dyn Harness>,
    reference: &Arc<dyn Harness>,
    script: &Script,
) -> CaseResult {
    attempt(subject, reference, script).await.map_err(|broken| broken.failure)
}

/// Why a script failed, and at which of its steps.
pub(crate) struct Broken {
    failure: Failure,
    step: usize,
}

/// As [`replay`]; a panic is a failure like others.
async fn attempt(
    subject: &Arc<dyn Harness>,
    reference: &Arc<dyn Harness>,
    script: &Script,
) -> Result<(), Broken> {
    let mut sides = Sides::new(Arc::clone(subject), Arc::clone(reference), script);
    let step = script.steps.len().saturating_sub(1);
    // What a side keeps is thrown away after a panic, and only closed.
    let outcome = AssertUnwindSafe(sides.run(script)).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|payload| {
        let failure = Failure::new(format_args!("panicked: {}", payload_text(&*payload)));
        Err(Broken { failure, step })
    });
    let cleaned = sides.clean_up().await.map_err(|failure| Broken { failure, step });
    outcome.and(cleaned)
}

/// Both backends, and the clock they share.
struct Sides {
    subject: Side,
    reference: Side,
    clock: ManualClock,
    scope: Scope,
}

impl Sides {
    fn new(subject: Arc<dyn Harness>, reference: Arc<dyn Harness>, script: &Script) -> Self {
        let clock = ManualClock::starting_at(Setup::START_MS);
        let scope = Scope::of(&*subject, &*reference);
        let reference = Side::new(reference, &clock, scope, true);
        let subject = Side::new(subject, &clock, scope, script.fast_paths);
        Self { subject, reference, clock, scope }
    }

    async fn run(&mut self, script: &Script) -> Result<(), Broken> {
        for (step, operation) in script.steps.iter().enumerate() {
            let outcome = self.step(operation).await;
            outcome.map_err(|failure| {
                let place = format!("step {} `{operation}`", step + 1);
                Broken { failure: failure.prefixed(&place), step }
            })?;
        }
        let last = script.steps.len().saturating_sub(1);
        self.agree_on_events().await.map_err(|failure| Broken { failure, step: last })
    }

    async fn step(&mut self, step: &Step) -> CaseResult {
        if let Step::Advance { ms } = step {
            if self.scope.moves_time {
                self.clock.advance(Duration::from_millis(*ms));
            }
            return Ok(());
        }
        let expected = within_limit(STEP_LIMIT, self.reference.run(step)).await??;
        let actual = within_limit(STEP_LIMIT, self.subject.run(step)).await??;
        agree(&actual, &expected)
    }

    /// Everything is delivered in the end, and nothing beyond it.
    async fn agree_on_events(&mut self) -> CaseResult {
        let expected = self.reference.drain_to_the_end().await?;
        let actual = self.subject.drain_to_the_end().await?;
        agree(&actual, &expected).map_err(|failure| failure.prefixed("events at the end"))
    }

    async fn clean_up(&mut self) -> CaseResult {
        let subject = self.subject.clean_up().await;
        subject.and(self.reference.clean_up().await)
    }
}

fn agree(actual: &str, expected: &str) -> CaseResult {
    if actual == expected {
        return Ok(());
    }
    Err(Failure::new(format_args!("expected\n  {expected}\nbut got\n  {actual}")))
}
