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
//! has a clock of its own, scripts do not move its time; which times there are is not compared then, but their order is.

mod answer;
mod documents;
mod generate;
mod moments;
mod reported;
mod revocations;
mod script;
mod shrink;
mod side;
mod users;

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use syntrix_storage_core::backend::StoreKind;

pub use reported::run_reported;
pub use script::{Condition, Expected, Script, Step};

use crate::cases::random::SEED_VARIABLE;
use crate::check::{CaseResult, Failure};
use crate::context::within_limit;
use crate::harness::Harness;
use crate::runner::payload_text;
use moments::Moments;
use side::{Clocks, Scope, Side, store_of};

/// Longest a step may take on one side; a drain waits for events.
const STEP_LIMIT: Duration = Duration::from_secs(60);
/// Set to a number of cases, this replaces the one a test asks for.
const CASES_VARIABLE: &str = "SYNTRIX_CONFORMANCE_MODEL_CASES";

/// How much goes by between two steps where clocks differ, so that what one step sets has one time, and the next another.
const BETWEEN_STEPS: Duration = Duration::from_millis(1);

/// How much is tried.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Options {
    /// How many scripts.
    pub cases: u64,
    /// How long the longest of them are.
    pub steps_max: usize,
    /// The seed of the first; the others follow.
    pub seed: u64,
    /// Only these stores; all that both sides have if empty.
    pub stores: Vec<StoreKind>,
}

impl Options {
    /// So many cases of up to 60 steps, with a random seed.
    pub fn new(cases: u64) -> Self {
        Self { cases, steps_max: 60, seed: fastrand::u64(..1 << 32), stores: Vec::new() }
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

    /// Sets the stores.
    #[must_use]
    pub fn with_stores(mut self, stores: impl IntoIterator<Item = StoreKind>) -> Self {
        self.stores = stores.into_iter().collect();
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
    let mut summary = Summary::default();
    for number in 0..options.cases {
        summary.steps += run_one(&subject, &reference, options, number).await?;
        summary.cases += 1;
    }
    Ok(summary)
}

/// The script of this number; how many steps it has.
async fn run_one(
    subject: &Arc<dyn Harness>,
    reference: &Arc<dyn Harness>,
    options: &Options,
    number: u64,
) -> Result<usize, Box<Disagreement>> {
    let scope = Scope::of(&**subject, &**reference).narrowed_to(&options.stores);
    let seed = options.seed.wrapping_add(number);
    let script = generate::script(&scope, seed, options.steps_max);
    match attempt(subject, reference, &script).await {
        Ok(()) => Ok(script.steps.len()),
        Err(broken) => {
            Err(Box::new(shrink::shrink(subject, reference, script, broken, seed).await))
        }
    }
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

/// Both backends, the clocks they share, and the times that they gave.
struct Sides {
    subject: Side,
    reference: Side,
    clocks: Clocks,
    moments: HashMap<StoreKind, Moments>,
}

impl Sides {
    fn new(subject: Arc<dyn Harness>, reference: Arc<dyn Harness>, script: &Script) -> Self {
        let clocks = Clocks::new();
        let scope = Scope::of(&*subject, &*reference);
        let reference = Side::new(reference, &clocks, scope, true);
        let subject = Side::new(subject, &clocks, scope, script.fast_paths);
        Self { subject, reference, clocks, moments: HashMap::new() }
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
            self.clocks.moved.advance(Duration::from_millis(*ms));
            return Ok(());
        }
        self.clocks.steady.advance(BETWEEN_STEPS);
        let expected = within_limit(STEP_LIMIT, self.reference.run(step)).await??;
        let actual = within_limit(STEP_LIMIT, self.subject.run(step)).await??;
        self.agree(store_of(step), &actual, &expected)
    }

    fn agree(&mut self, store: StoreKind, actual: &str, expected: &str) -> CaseResult {
        // Two steps within a millisecond of a real clock have one time.
        let exact = self.reference.offers(store).injected_clock;
        self.moments.entry(store).or_insert_with(|| Moments::new(exact)).agree(actual, expected)
    }

    /// Everything is delivered in the end, and nothing beyond it.
    async fn agree_on_events(&mut self) -> CaseResult {
        let expected = self.reference.drain_to_the_end().await?;
        let actual = self.subject.drain_to_the_end().await?;
        let agreed = self.agree(StoreKind::Documents, &actual, &expected);
        agreed.map_err(|failure| failure.prefixed("events at the end"))
    }

    async fn clean_up(&mut self) -> CaseResult {
        let subject = self.subject.clean_up().await;
        subject.and(self.reference.clean_up().await)
    }
}
