//! Runs cases: each on a store of its own, in its own task, in bounded time.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use syntrix_storage_core::Capabilities;
use syntrix_storage_core::backend::StoreKind;

use crate::case::{Case, Group};
use crate::cases::cases;
use crate::check::{CaseResult, Failure};
use crate::context::Context;
use crate::harness::{Harness, Setup};
use crate::report::{CaseReport, Report, Verdict};

/// A case that is not done by then hangs.
const CASE_LIMIT: Duration = Duration::from_secs(180);

/// Which cases to run.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Selection {
    /// Only cases whose id or name contains this text, in any case of letters.
    pub filter: Option<String>,
    /// Only these groups; all if empty.
    pub groups: Vec<Group>,
    /// Only groups about these stores; all if empty.
    pub stores: Vec<StoreKind>,
    /// How many cases run side by side, at least 1.
    pub jobs: usize,
}

impl Default for Selection {
    /// Everything, two at a time.
    fn default() -> Self {
        Self { filter: None, groups: Vec::new(), stores: Vec::new(), jobs: 2 }
    }
}

impl Selection {
    /// Everything.
    pub fn all() -> Self {
        Self::default()
    }

    /// Sets the text that ids or names must contain.
    #[must_use]
    pub fn with_filter(mut self, filter: impl Into<String>) -> Self {
        self.filter = Some(filter.into());
        self
    }

    /// Sets the groups.
    #[must_use]
    pub fn with_groups(mut self, groups: impl IntoIterator<Item = Group>) -> Self {
        self.groups = groups.into_iter().collect();
        self
    }

    /// Sets the stores.
    #[must_use]
    pub fn with_stores(mut self, stores: impl IntoIterator<Item = StoreKind>) -> Self {
        self.stores = stores.into_iter().collect();
        self
    }

    /// Sets how many cases run side by side.
    #[must_use]
    pub fn with_jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs;
        self
    }

    pub(crate) fn contains(&self, group: Group, id: &str, name: &str) -> bool {
        let filter = self.filter.as_ref().map(|filter| filter.to_lowercase());
        let named = |filter: String| {
            id.to_lowercase().contains(&filter) || name.to_lowercase().contains(&filter)
        };
        (self.groups.is_empty() || self.groups.contains(&group))
            && (self.stores.is_empty() || self.stores.contains(&group.store()))
            && filter.is_none_or(named)
    }
}

/// Runs the selected cases and calls `progress` after each, in the order they end. Needs a tokio runtime.
///
/// # Cancellation
///
/// If the future is dropped, the namespaces of the cases under way stay; [`Harness::leftovers`] lists them.
pub async fn run(
    harness: Arc<dyn Harness>,
    selection: &Selection,
    mut progress: impl FnMut(&CaseReport) + Send,
) -> Report {
    let selected =
        cases().into_iter().filter(|case| selection.contains(case.group, case.id, case.name));
    let runs = selected.enumerate().map(|(number, case)| {
        let harness = Arc::clone(&harness);
        async move { (number, run_case(harness, case).await) }
    });
    let mut running = futures_util::stream::iter(runs).buffer_unordered(selection.jobs.max(1));
    let mut done = Vec::new();
    while let Some((number, report)) = running.next().await {
        progress(&report);
        done.push((number, report));
    }
    done.sort_by_key(|(number, _)| *number);
    Report::new(&*harness, done.into_iter().map(|(_, report)| report).collect())
}

/// Runs one case, with fast paths and without if that makes a difference.
pub(crate) async fn run_case(harness: Arc<dyn Harness>, case: &'static Case) -> CaseReport {
    let started = Instant::now();
    let store = store_of(case, &*harness);
    let (verdict, reason) = match applicable(case, store, harness.capabilities(store)) {
        Err(reason) => (Verdict::NotApplicable, Some(reason)),
        Ok(capabilities) => match run_modes(harness, case, store, &capabilities).await {
            Ok(()) => (Verdict::Passed, None),
            Err(failure) if failure.is_not_applicable() => {
                (Verdict::NotApplicable, Some(failure.to_string()))
            }
            Err(failure) => (Verdict::Failed, Some(failure.to_string())),
        },
    };
    let (id, name) = (case.id.to_owned(), case.name.to_owned());
    CaseReport { id, group: case.group, name, verdict, reason, duration: started.elapsed() }
}

/// The ledger is beside whichever store the backend offers.
fn store_of(case: &Case, harness: &dyn Harness) -> StoreKind {
    let offered = |store: &StoreKind| harness.capabilities(*store).is_some();
    match case.group {
        Group::Led => StoreKind::ALL.into_iter().find(offered),
        _ => None,
    }
    .unwrap_or(case.group.store())
}

/// What the store of the case offers, or why the case does not apply to it.
fn applicable(
    case: &Case,
    store: StoreKind,
    offered: Option<Capabilities>,
) -> Result<Capabilities, String> {
    let store = store.as_str();
    let offered = offered.ok_or_else(|| format!("the backend does not offer the store {store}"))?;
    match case.missing(&offered) {
        Some(need) => Err(format!("the backend does not offer the capability {}", need.as_str())),
        None => Ok(offered),
    }
}

async fn run_modes(
    harness: Arc<dyn Harness>,
    case: &'static Case,
    store: StoreKind,
    capabilities: &Capabilities,
) -> CaseResult {
    run_once(Arc::clone(&harness), case, store, true).await?;
    if case.is_about_writes() && capabilities.replace_live {
        let slow = run_once(harness, case, store, false).await;
        slow.map_err(|failure| failure.prefixed("with fast paths off"))?;
    }
    Ok(())
}

async fn run_once(
    harness: Arc<dyn Harness>,
    case: &Case,
    store: StoreKind,
    fast_paths: bool,
) -> CaseResult {
    let setup = Setup { fast_paths, ..Setup::new(store) };
    in_context(harness, case.id, setup, case.run).await
}

/// Opens a store, lets `body` have it, and closes and removes it whatever `body` does, also after a panic.
pub(crate) async fn in_context<F>(
    harness: Arc<dyn Harness>,
    id: &str,
    setup: Setup,
    body: impl FnOnce(Context) -> F,
) -> CaseResult
where
    F: Future<Output = CaseResult> + Send + 'static,
{
    let context = Context::open(harness, id, setup).await?;
    let mut task = tokio::spawn(body(context.clone()));
    let outcome = match tokio::time::timeout(CASE_LIMIT, &mut task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Err(Failure::new(format_args!("panicked: {}", panic_text(error)))),
        Err(_) => {
            task.abort();
            Err(Failure::new(format_args!("still not done after {} s", CASE_LIMIT.as_secs())))
        }
    };
    outcome.and(context.clean_up().await)
}

fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => payload_text(&*payload),
        Err(_) => "the task was cancelled".into(),
    }
}

/// What a panic said.
pub(crate) fn payload_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
