//! Runs the public suite and the vectors through the program, as a user would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::report::Report;
use super::{heading, step};
use crate::failure::{Context, Failure, Result};
use crate::metadata::Workspace;
use crate::process::{cargo, run as run_command};

/// The expected answers that every backend shares.
const VECTORS: &str = "tests/vectors/semantics.jsonl";

/// What is run on a backend.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The cases.
    Suite,
    /// The expected answers in [`VECTORS`].
    Vectors,
}

impl Part {
    /// For headings.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Suite => "conformance",
            Self::Vectors => "vectors",
        }
    }
}

/// Builds the program and says where it is.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf> {
    step(workspace, "program", cargo().args(["build", "--package", "syntrix-storage-cli"]))?;
    let name = format!("syntrix-storage{}", std::env::consts::EXE_SUFFIX);
    let binary = workspace.target.join("debug").join(name);
    if binary.exists() {
        return Ok(binary);
    }
    Err(Failure::new("the build of syntrix-storage-cli left no program `syntrix-storage`"))
}

/// Runs `part` on `backend` in a folder of its own and reads the report.
///
/// # Errors
///
/// When there is no report one can believe, or the program fails although its report does not.
pub(super) fn run(
    workspace: &Workspace,
    program: &Path,
    backend: &str,
    part: Part,
) -> Result<Report> {
    let doing = || format!("{} on {backend}", part.name());
    let folder = tempfile::tempdir().context(|| "making a temporary folder".into())?;
    let file = folder.path().join("report.json");
    let mut command = Command::new(program);
    command.current_dir(folder.path()).args(["conformance", "--backend", backend]);
    if matches!(part, Part::Vectors) {
        command.arg("--vectors").arg(workspace.root.join(VECTORS));
    }
    let ended = run_command(command.arg("--report").arg(&file));

    let report = read(&file, backend);
    match (ended, report) {
        (Err(failure), Ok(report)) if report.failed == 0 => {
            Err(failure).context(|| format!("{}: no case failed, yet", doing()))
        }
        (Err(failure), Err(_)) => Err(failure).context(doing),
        (_, report) => report.context(doing),
    }
}

fn read(file: &Path, backend: &str) -> Result<Report> {
    let text = fs::read_to_string(file).context(|| "no report was written".into())?;
    Report::parse(&text, backend).context(|| "its report cannot be used".into())
}
