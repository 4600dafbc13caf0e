//! `cargo xtask test`: everything that has to hold before a change is taken.
//!
//! The cheap steps come first and the run stops at the first that fails. From the
//! conformance runs on a failure stops nothing, so that one run shows what every
//! backend answers.

mod backends;
mod conformance;
mod counts;
mod declared;
mod load;
mod page;
mod report;
pub(crate) mod routes;
mod table;
mod temporary;

use std::process::Command;

use crate::failure::{Context, Failure, Result};
use crate::metadata::Workspace;
use crate::process::{cargo, line, run as run_command};
use crate::servers::Running;
use crate::{dependencies, soak};
use backends::{Backend, Selection};
use conformance::Runner;
use report::Report;
use temporary::Temporary;

/// How long each server suffers in the slice of the soak: four of them, and a file for a quarter of it, take five minutes.
const SOAK_SECONDS: u64 = 71;
/// Where documents are mirrored to meanwhile.
const SOAK_SHADOW: Option<soak::Shadow> = Some(soak::Shadow::Sqlite);

/// Where nextest looks for how many tests it runs at a time.
const TEST_THREADS: &str = "NEXTEST_TEST_THREADS";

/// Where the third party of our example lives: a workspace of its own, as a user's would be.
const THIRD_PARTY: &str = "examples/third-party-backend/Cargo.toml";

/// What the person asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only these backends, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_parser = backends::names())]
    backends: Vec<String>,
    /// Write the numbers of cases and what backends declare to tests/ and docs/backends.md instead of checking them
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

    /// Prints and adds up what a run found, and keeps it in `reports`.
    fn take(&mut self, ran: Result<Report>, reports: &mut Vec<Report>) {
        let Some(report) = self.note(ran) else { return };
        println!("{}", report.summary());
        report.failures().for_each(|case| println!("  {case}"));
        self.passed += report.passed;
        self.failed += report.failed;
        reports.push(report);
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
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<Outcome> {
    let selection = Selection::of(&options.backends);
    selection.announce();
    static_checks(workspace)?;
    // Dropped after the servers, whose data lie there.
    let _temporary = Temporary::new()?;
    heading("servers", &selection.servers_in_words());
    let servers = Running::start(&selection.servers())?;
    let gate = Gate { workspace, selection: &selection, servers: &servers };
    gate.tests()?;

    let program = conformance::program(workspace)?;
    let runner = Runner { workspace, program: &program };
    let mut outcome = Outcome::default();
    let mut reports = gate.conformance_runs(&runner, &mut outcome);
    // Routes wait for leases, the soak for servers that come back. More than one route beside it is more than two processors carry.
    let (routes, soak) = std::thread::scope(|threads| {
        let soak = threads.spawn(|| gate.soak());
        let routes = gate.route_runs(&runner, &mut outcome);
        (routes, soak.join().unwrap_or_else(|_| Err(Failure::new("the soak panicked"))))
    });
    outcome.note(soak);
    if options.record && !outcome.is_clean() {
        println!("not recorded: something failed");
    }
    let record = options.record && outcome.is_clean();
    // Of routes nothing is declared.
    outcome.note(declared::check(&workspace.root, &reports, record));
    reports.extend(routes);
    outcome.note(counts::check(&workspace.root, &reports, record));
    heading("summary", "backend x group");
    print!("{}", table::render(&reports));
    if record {
        outcome.note(page::write(&workspace.root));
    }
    selection.announce();
    Ok(outcome)
}

/// Writes `docs/backends.md` anew from what is recorded.
///
/// # Errors
///
/// When a file cannot be read, understood or written.
pub(crate) fn write_docs(workspace: &Workspace) -> Result<()> {
    page::write(&workspace.root)
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
    dependencies::run(workspace).context(|| "step `dependencies` failed".into())?;
    heading("docs of the backends", page::FILE);
    page::check(&workspace.root)
}

/// What the steps that need servers share.
struct Gate<'a> {
    workspace: &'a Workspace,
    selection: &'a Selection,
    servers: &'a Running,
}

impl Gate<'_> {
    /// Runs all tests also after a failure, so that one run shows every one that fails.
    fn tests(&self) -> Result<()> {
        let mut command = cargo();
        if nextest_is_installed() {
            command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
            // Not of `cargo test`: there the tests of a program share one process.
            if std::env::var_os(TEST_THREADS).is_none() {
                command.env(TEST_THREADS, load::tests().to_string());
            }
        } else {
            command.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
        }
        command.args(self.selection.exclusions());
        // What follows the two dashes is alike for both.
        let skipped = self.selection.skipped_tests();
        if !skipped.is_empty() {
            command.arg("--");
            command.args(skipped.iter().flat_map(|test| ["--skip", test.as_str()]));
        }
        self.step("tests", &mut command)?;
        let doc_tests = ["test", "--workspace", "--doc", "--no-fail-fast"];
        self.step("doc tests", cargo().args(doc_tests))?;
        self.third_party()
    }

    /// Compiles and tests what a third party would write, against the public crates alone.
    fn third_party(&self) -> Result<()> {
        let mut test = cargo();
        // The shared target folder spares building every dependency a second time.
        test.args(["test", "--locked", "--manifest-path", THIRD_PARTY]);
        self.step("third-party backend", test.env("CARGO_TARGET_DIR", &self.workspace.target))
    }

    /// A step whose tests find the servers.
    fn step(&self, name: &str, command: &mut Command) -> Result<()> {
        command.envs(self.servers.environment()).envs([Temporary::variable()]);
        step(self.workspace, name, command)
    }

    /// Suite, vectors and model test on every backend; a failing one does not stop the next.
    fn conformance_runs(&self, runner: &Runner<'_>, outcome: &mut Outcome) -> Vec<Report> {
        let mut reports = Vec::new();
        for backend in self.selection.backends() {
            for part in backend.parts() {
                heading(part.name(), backend.name);
                let ran = runner.run(backend, self.configuration(backend).as_deref(), *part);
                outcome.take(ran, &mut reports);
            }
        }
        reports
    }

    /// The suite on routes between databases that run.
    fn route_runs(&self, runner: &Runner<'_>, outcome: &mut Outcome) -> Vec<Report> {
        let mut reports = Vec::new();
        for route in routes::Route::of_the_gate(self.selection) {
            heading("conformance on a route", &route.name());
            outcome.take(route.run(runner, self.servers), &mut reports);
        }
        reports
    }

    /// The slice of the soak, on servers of its own.
    fn soak(&self) -> Result<()> {
        let backends = soak::Target::among(|name| self.selection.has(name));
        if backends.is_empty() {
            return Ok(());
        }
        heading("soak", &format!("{SOAK_SECONDS} s for each server"));
        // A gate may run beside other work, so that a time is told here and counts in `cargo xtask soak` alone.
        let (seed, may_be_late, shadow, routes) = (None, true, SOAK_SHADOW, false);
        let options = soak::Options {
            backends,
            seconds: SOAK_SECONDS,
            seed,
            no_build: true,
            may_be_late,
            shadow,
            routes,
            pairs: Vec::new(),
        };
        match soak::suffer(&soak::program(self.workspace)?, &options).context(|| "soak".into())? {
            true => Ok(()),
            false => Err(Failure::new("soak: promises were broken, see above")),
        }
    }

    /// The configuration of a backend that has a server.
    fn configuration(&self, backend: &Backend) -> Option<String> {
        let kind = backend.server?;
        self.servers.url(kind).map(|url| crate::servers::configuration(kind, &url))
    }
}

fn nextest_is_installed() -> bool {
    let version = cargo().args(["nextest", "--version"]).output();
    version.is_ok_and(|output| output.status.success())
}

fn step(workspace: &Workspace, name: &str, command: &mut Command) -> Result<()> {
    heading(name, &line(command));
    run_command(command.current_dir(&workspace.root)).context(|| format!("step `{name}` failed"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_slice_of_the_soak_takes_five_minutes() {
        let each = Duration::from_secs(SOAK_SECONDS);
        let targets = soak::Target::among(|_| true);
        let all: Duration = targets.into_iter().map(|one| one.lasts(each, SOAK_SHADOW)).sum();
        assert!(all >= Duration::from_secs(300), "{all:?}");
    }
}
