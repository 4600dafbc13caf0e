//! `conformance`: the public suite, a file of vectors or the model test, on whatever a configuration names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use syntrix_storage::backend::StoreKind;
use syntrix_storage::conformance::{
    CaseReport, Harness, Report, Selection, Verdict, model, run as run_suite, vectors,
};
use syntrix_storage::{StorageConfig, StorageHarness};
use tempfile::TempDir;

use crate::args::Format;
use crate::commands::stoppable::{Stop, Stoppable};
use crate::failure::Failure;
use crate::output::Output;
use crate::report;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct ConformanceArgs {
    /// Backend to run on, in a temporary folder, when there is no --config [default: sqlite]
    #[arg(long, conflicts_with = "config")]
    backend: Option<BackendKind>,

    /// Store whose cases run
    #[arg(long, default_value = "all")]
    store: Store,

    /// Only cases whose id or name contains this text, for example QRY or DOC-05
    #[arg(long, value_name = "ID")]
    filter: Option<String>,

    /// How many cases, or groups of vectors, run side by side; more are faster on a server with time to spare, and each has
    /// stores with pools of connections of their own [default: 2]
    #[arg(long, value_name = "CASES", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,

    /// Run this file of test vectors instead of the suite
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,

    /// Run this many scripts of random operations, whose answers must be those of memory, instead of the suite
    #[arg(long, value_name = "SCRIPTS", conflicts_with_all = ["vectors", "filter", "jobs"])]
    model: Option<u64>,

    /// Seed of the first of these scripts; the others follow [default: random]
    #[arg(long, requires = "model")]
    seed: Option<u64>,

    /// Write a report of all cases, as JSON
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BackendKind {
    /// In memory
    Memory,
    /// SQLite files
    Sqlite,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Store {
    /// JSON documents
    Documents,
    /// User accounts
    Users,
    /// Revoked tokens
    Revocations,
    /// Every store
    All,
}

impl Store {
    fn kinds(self) -> &'static [StoreKind] {
        match self {
            Self::Documents => &[StoreKind::Documents],
            Self::Users => &[StoreKind::Users],
            Self::Revocations => &[StoreKind::Revocations],
            Self::All => &StoreKind::ALL,
        }
    }
}

pub(crate) async fn run(args: ConformanceArgs, session: &mut Session) -> Result<(), Failure> {
    let text = args.vectors.as_deref().map(read).transpose()?;
    let (config, folder) = config(args.backend, session)?;
    let stop = Stop::default();
    let tested = tokio::select! {
        // Polled first, so that the signal is caught from before the first namespace on.
        biased;
        failed = stop_when_interrupted(&stop) => return Err(failed),
        tested = test(config, &args, text.as_deref(), &stop) => tested?,
    };
    drop(folder);
    if stop.is_set() {
        return Err(Failure::negative("conformance", "interrupted"));
    }
    finish(&tested, args.report.as_deref(), &mut session.output)
}

/// The first Ctrl-C lets the cases under way end and clean up; only a second one ends the process as it is.
async fn stop_when_interrupted(stop: &Stop) -> Failure {
    for _ in 0..2 {
        if let Err(error) = tokio::signal::ctrl_c().await {
            return Failure::io("Ctrl-C")(error);
        }
        if stop.is_set() {
            break;
        }
        stop.set();
        report::line("interrupted: the cases under way clean up; again to leave at once");
    }
    Failure::negative("conformance", "interrupted twice; namespaces may be left")
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(Failure::io(file.display().to_string()))
}

/// What to run on, and the folder it lies in if that is a temporary one.
fn config(
    backend: Option<BackendKind>,
    session: &Session,
) -> Result<(StorageConfig, Option<TempDir>), Failure> {
    match (backend, &session.global.config) {
        (None, Some(_)) => Ok((session.config()?, None)),
        (Some(BackendKind::Memory), _) => Ok((StorageConfig::memory(), None)),
        (Some(BackendKind::Sqlite) | None, _) => {
            let folder = tempfile::tempdir().map_err(Failure::io("temporary folder"))?;
            Ok((StorageConfig::embedded(folder.path()), Some(folder)))
        }
    }
}

async fn test(
    config: StorageConfig,
    args: &ConformanceArgs,
    text: Option<&str>,
    stop: &Stop,
) -> Result<Report, Failure> {
    let harness = Stoppable::new(StorageHarness::open(config).await?, stop.clone());
    let harness: Arc<dyn Harness> = Arc::new(harness);
    let tested = match args.model {
        Some(scripts) => run_model(&harness, args, scripts).await?,
        None => run_cases(&harness, args, text).await,
    };
    remove_leftovers(&*harness).await?;
    Ok(tested)
}

async fn run_model(
    harness: &Arc<dyn Harness>,
    args: &ConformanceArgs,
    scripts: u64,
) -> Result<Report, Failure> {
    let mut options = model::Options::new(scripts).with_stores(args.store.kinds().iter().copied());
    options.seed = args.seed.unwrap_or(options.seed);
    let memory = Arc::new(StorageHarness::open(StorageConfig::memory()).await?);
    let bar = progress();
    let tested = model::run_reported(Arc::clone(harness), memory, &options, shown_on(&bar)).await;
    bar.finish_and_clear();
    Ok(tested)
}

async fn run_cases(
    harness: &Arc<dyn Harness>,
    args: &ConformanceArgs,
    text: Option<&str>,
) -> Report {
    let mut selection = Selection::all().with_stores(args.store.kinds().iter().copied());
    if let Some(jobs) = args.jobs {
        selection = selection.with_jobs(jobs.into());
    }
    if let Some(filter) = &args.filter {
        selection = selection.with_filter(filter);
    }
    let bar = progress();
    let show = shown_on(&bar);
    let tested = match text {
        Some(text) => vectors::run_selected(Arc::clone(harness), text, &selection, show).await,
        None => run_suite(Arc::clone(harness), &selection, show).await,
    };
    bar.finish_and_clear();
    tested
}

/// Drawn on a terminal only.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    match ProgressStyle::with_template("{spinner} {pos} cases, last {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn shown_on(bar: &ProgressBar) -> impl FnMut(&CaseReport) {
    |case| {
        bar.inc(1);
        bar.set_message(case.id.clone());
    }
}

/// A case that hung leaves its namespace behind.
async fn remove_leftovers(harness: &dyn Harness) -> Result<(), Failure> {
    for namespace in harness.leftovers().await? {
        harness.remove(&namespace).await?;
    }
    Ok(())
}

fn finish(tested: &Report, file: Option<&Path>, output: &mut Output) -> Result<(), Failure> {
    if let Some(file) = file {
        let text = serde_json::to_string_pretty(tested).unwrap_or_default() + "\n";
        std::fs::write(file, text).map_err(Failure::io(file.display().to_string()))?;
    }
    print_failures(tested, output)?;
    if tested.not_applicable > 0 {
        let count = tested.not_applicable;
        report::line(format_args!(
            "{count} not applicable: {} does not offer what they need",
            tested.backend
        ));
    }
    output.line(format_args!("{} passed, {} failed", tested.passed, tested.failed))?;
    output.flush()?;
    match (tested.is_success(), tested.failed) {
        (true, _) => Ok(()),
        (false, 0) => Err(Failure::negative("conformance", "no case ran")),
        (false, failed) => Err(Failure::negative("conformance", format!("{failed} failed"))),
    }
}

fn print_failures(tested: &Report, output: &mut Output) -> Result<(), Failure> {
    let failed = tested.cases.iter().filter(|case| case.verdict == Verdict::Failed);
    for case in failed {
        let reason = case.reason.as_deref().unwrap_or_default();
        match output.format() {
            Format::Json => output.json(&Value::Object(row(case, reason)))?,
            Format::Table => {
                output.line(format_args!("FAILED {}: {}\n  {reason}", case.id, case.name))?;
            }
        }
    }
    Ok(())
}

fn row(case: &CaseReport, reason: &str) -> Map<String, Value> {
    let members = [("failed", &*case.id), ("name", &*case.name), ("reason", reason)];
    members.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}
