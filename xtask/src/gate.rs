//! `cargo xtask test`: everything that has to hold before a change is taken.
//!
//! The cheap steps come first and the run stops at the first that fails. Only the
//! conformance runs go on past a failure, so that one run shows what every backend
//! answers.

mod conformance;
mod counts;
mod report;
mod table;

use std::path::Path;
use std::process::Command;

use crate::failure::{Context, Result};
use crate::metadata::Workspace;
use crate::process::{cargo, line, run as run_command};
use crate::{dependencies, soak};
use report::Report;

/// The backends the suite runs against.
const BACKENDS: &[&str] = &["memory", "sqlite"];

/// Kills in the short slice of the soak; `cargo xtask soak` does more.
const SOAK_KILLS: u32 = 10;

/// Where the third party of our example lives: a workspace of its own, as a user's would be.
const THIRD_PARTY: &str = "examples/third-party-backend/Cargo.toml";

/// What the person asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only these backends, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(BACKENDS))]
    backends: Vec<String>,
    /// Write the numbers of executed cases to tests/conformance-counts.json instead of checking them
    #[arg(long)]
    record: bool,
}

/// Cases that ran, over all backends, and what else went wrong meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    passed: usize,
    failed: usize,
    failures: Vec<String>,
}

impl Outcome {
    /// Prints the failures and, as the last line, the totals. Says whether all is well.
    pub(crate) fn conclude(&self) -> bool {
        println!();
        for failure in &self.failures {
            println!("error: {failure}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        self.is_clean()
    }

    /// Whether nothing went wrong. Only then the numbers of a run are worth recording.
    fn is_clean(&self) -> bool {
        self.failed == 0 && self.failures.is_empty()
    }

    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|failure| self.failures.push(failure.to_string())).ok()
    }
}

/// Runs the gate.
///
/// # Errors
///
/// The first failing step before the conformance runs. What fails from there on is in the [`Outcome`].
pub(crate) fn run(workspace: &Workspace, options: &Options, program: &Path) -> Result<Outcome> {
    let backends = selected(&options.backends);
    announce_narrowing(&backends);
    static_checks(workspace)?;
    tests(workspace)?;

    let mut outcome = Outcome::default();
    let reports = conformance_runs(workspace, &backends, &mut outcome)?;
    if backends.contains(&"sqlite") {
        heading("soak", &format!("{SOAK_KILLS} kills"));
        outcome
            .note(soak::run(program, &soak::Options::kills(SOAK_KILLS)).context(|| "soak".into()));
    }
    heading("summary", "backend x group");
    print!("{}", table::render(&reports));
    if options.record && !outcome.is_clean() {
        println!("not recorded: something failed");
    }
    let counted = counts::check(&workspace.root, &reports, options.record && outcome.is_clean());
    outcome.note(counted);
    announce_narrowing(&backends);
    Ok(outcome)
}

/// The chosen backends in the order of the list, each once; all when none is chosen.
fn selected(wanted: &[String]) -> Vec<&'static str> {
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    BACKENDS.iter().copied().filter(|name| is_wanted(name)).collect()
}

/// A narrowed run must not be mistaken for the gate, so it says so first and last.
fn announce_narrowing(backends: &[&str]) {
    if backends.len() < BACKENDS.len() {
        let left_out: Vec<_> =
            BACKENDS.iter().copied().filter(|name| !backends.contains(name)).collect();
        println!("\n!!! NARROWED ON PURPOSE (--backends): not run: {} !!!", left_out.join(", "));
    }
}

fn heading(step: &str, detail: &str) {
    println!("\n==> {step}: {detail}");
}

fn static_checks(workspace: &Workspace) -> Result<()> {
    step(workspace, "format", cargo().args(["fmt", "--all", "--", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    step(workspace, "clippy", cargo().args(clippy))?;
    let mut docs = cargo();
    docs.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    step(workspace, "docs", &mut docs)?;
    heading("dependencies", "the floors, the drivers, the versions");
    dependencies::run(workspace).context(|| "step `dependencies` failed".into())
}

/// Runs all tests also after a failure, so that one run shows every one that fails.
fn tests(workspace: &Workspace) -> Result<()> {
    let tests: &[&str] = if nextest_is_installed() {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]
    };
    step(workspace, "tests", cargo().args(tests))?;
    let doc_tests = ["test", "--workspace", "--doc", "--no-fail-fast"];
    step(workspace, "doc tests", cargo().args(doc_tests))?;
    third_party(workspace)
}

/// Compiles and tests what a third party would write, against the public crates alone.
fn third_party(workspace: &Workspace) -> Result<()> {
    let mut test = cargo();
    // The shared target folder spares building every dependency a second time.
    test.args(["test", "--manifest-path", THIRD_PARTY]).env("CARGO_TARGET_DIR", &workspace.target);
    step(workspace, "third-party backend", &mut test)
}

fn nextest_is_installed() -> bool {
    let version = cargo().args(["nextest", "--version"]).output();
    version.is_ok_and(|output| output.status.success())
}

fn step(workspace: &Workspace, name: &str, command: &mut Command) -> Result<()> {
    heading(name, &line(command));
    run_command(command.current_dir(&workspace.root)).context(|| format!("step `{name}` failed"))
}

/// Suite and vectors on every backend; a failing one does not stop the next.
fn conformance_runs(
    workspace: &Workspace,
    backends: &[&str],
    outcome: &mut Outcome,
) -> Result<Vec<Report>> {
    let binary = conformance::build(workspace)?;
    let mut reports = Vec::new();
    for backend in backends {
        for part in [conformance::Part::Suite, conformance::Part::Vectors] {
            heading(part.name(), backend);
            let ran = conformance::run(workspace, &binary, backend, part);
            if let Some(report) = outcome.note(ran) {
                println!("{}", report.summary());
                report.failures().for_each(|case| println!("  {case}"));
                outcome.passed += report.passed;
                outcome.failed += report.failed;
                reports.push(report);
            }
        }
    }
    Ok(reports)
}
