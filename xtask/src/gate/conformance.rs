//! Runs the public suite, the vectors and the model test through the program, as a user would.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::backends::Backend;
use super::load;
use super::report::Report;
use super::temporary::Temporary;
use crate::failure::{Context, Failure, Result};
use crate::metadata::Workspace;
use crate::process::run_within;

/// The expected answers that every backend shares.
const VECTORS: &str = "tests/vectors/semantics.jsonl";

/// Longest a part may take on one backend; it takes seconds to two minutes, on a route beside the soak four, on a disk twice that.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// What is run on a backend.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The cases.
    Suite,
    /// The expected answers in [`VECTORS`].
    Vectors,
    /// Random operations, whose answers are to be those of memory.
    Model,
}

impl Part {
    /// For headings.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Suite => "conformance",
            Self::Vectors => "vectors",
            Self::Model => "model test",
        }
    }
}

/// The program that the tests have built and run. Building it alone would compile every driver a second time, with other
/// features of their common dependencies.
pub(super) fn program(workspace: &Workspace) -> Result<PathBuf> {
    let name = format!("syntrix-storage{}", std::env::consts::EXE_SUFFIX);
    let binary = workspace.target.join("debug").join(name);
    if binary.exists() {
        return Ok(binary);
    }
    Err(Failure::new(
        "there is no program `syntrix-storage`; the tests of syntrix-storage-cli build it",
    ))
}

/// How many cases run at a time.
fn jobs_arguments() -> Vec<OsString> {
    vec!["--jobs".into(), load::cases().to_string().into()]
}

/// What a run needs besides a backend.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) program: &'a Path,
}

impl Runner<'_> {
    /// Runs `part` on `backend`. Without a `configuration` the program is told the backend's name alone.
    ///
    /// # Errors
    ///
    /// When there is no report one can believe, or the program fails although its report does not.
    pub(super) fn run(
        &self,
        backend: &Backend,
        configuration: Option<&str>,
        part: Part,
    ) -> Result<Report> {
        let more: Vec<OsString> = match part {
            Part::Suite => jobs_arguments(),
            Part::Vectors => vec!["--vectors".into(), self.workspace.root.join(VECTORS).into()],
            Part::Model => vec!["--model".into(), backend.scripts.to_string().into()],
        };
        let ran = self.report(backend.name, configuration, &more);
        ran.context(|| format!("{} on {}", part.name(), backend.name))
    }

    /// Runs the suite on what `configuration` describes, whose primary is of the kind `primary`.
    ///
    /// # Errors
    ///
    /// As [`Runner::run`].
    pub(super) fn suite(&self, primary: &str, configuration: &str) -> Result<Report> {
        self.report(primary, Some(configuration), &jobs_arguments())
    }

    /// Runs the program in a folder of its own and reads the report.
    fn report(&self, name: &str, configuration: Option<&str>, more: &[OsString]) -> Result<Report> {
        let folder = tempfile::tempdir().context(|| "making a temporary folder".into())?;
        let file = folder.path().join("report.json");
        let mut command = self.command(folder.path(), name, configuration)?;
        let ended = run_within(command.args(more).arg("--report").arg(&file), LIMIT);
        match (ended, read(&file, name)) {
            (Err(failure), Ok(report)) if report.failed == 0 => {
                Err(failure).context(|| "no case failed, yet".into())
            }
            (Err(failure), Err(_)) => Err(failure),
            (_, report) => report,
        }
    }

    /// The program with what it is to run on.
    fn command(&self, folder: &Path, name: &str, configuration: Option<&str>) -> Result<Command> {
        let mut command = Command::new(self.program);
        command.current_dir(folder).envs([Temporary::variable()]).arg("conformance");
        let Some(text) = configuration else {
            command.args(["--backend", name]);
            return Ok(command);
        };
        let file = folder.join("storage.yaml");
        fs::write(&file, text).context(|| format!("writing {}", file.display()))?;
        command.arg("--config").arg(file);
        Ok(command)
    }
}

fn read(file: &Path, backend: &str) -> Result<Report> {
    let text = fs::read_to_string(file).context(|| "no report was written".into())?;
    Report::parse(&text, backend).context(|| "its report cannot be used".into())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::backends;
    use super::*;

    const GOOD: &str = r#"{"backend":"memory","cases":[{"id":"DOC-01","group":"DOC","name":"a","verdict":"passed","reason":null,"milliseconds":1}],"passed":1,"failed":0,"notApplicable":0}"#;

    /// What comes of a program that writes `report` (its last argument names the file) and ends with `code`.
    fn ran(report: &str, code: i32, part: Part) -> Result<Report> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        let script = format!(
            "#!/bin/sh\nfor file; do :; done\n\
             [ -z '{report}' ] || echo '{report}' > \"$file\"\nexit {code}\n"
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let workspace = Workspace { root: "repository".into(), target: "target".into() };
        let runner = Runner { workspace: &workspace, program: &program };
        runner.run(backends::named("memory").unwrap(), None, part)
    }

    fn says(result: Result<Report>, part: &str) {
        let failure = result.expect_err("a failure").to_string();
        assert!(failure.contains(part), "{failure}");
    }

    #[test]
    fn a_good_run_gives_its_report() {
        assert_eq!(ran(GOOD, 0, Part::Suite).unwrap().passed, 1);
        assert_eq!(ran(GOOD, 0, Part::Vectors).unwrap().passed, 1);
    }

    #[test]
    fn a_backend_with_a_server_is_told_by_a_configuration() {
        let workspace = Workspace { root: "repository".into(), target: "target".into() };
        let runner = Runner { workspace: &workspace, program: Path::new("program") };
        let folder = tempfile::tempdir().unwrap();
        let command = runner.command(folder.path(), "redis", Some("storage: {}")).unwrap();
        let file = folder.path().join("storage.yaml");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["conformance".as_ref(), "--config".as_ref(), file.as_os_str()]);
        assert_eq!(fs::read_to_string(file).unwrap(), "storage: {}");
    }

    #[test]
    fn failed_cases_are_a_report_and_not_an_error() {
        let text = GOOD.replace("\"passed\",\"reason\":null", "\"failed\",\"reason\":\"no\"");
        let text = text.replace("\"passed\":1,\"failed\":0", "\"passed\":0,\"failed\":1");
        assert_eq!(ran(&text, 1, Part::Suite).unwrap().failed, 1);
    }

    #[test]
    fn a_program_that_fails_without_a_failed_case_is_an_error() {
        says(ran(GOOD, 1, Part::Suite), "no case failed, yet");
    }

    #[test]
    fn no_report_is_an_error_whatever_the_program_says() {
        says(ran("", 0, Part::Suite), "conformance on memory: no report was written");
        says(ran("", 3, Part::Vectors), "vectors on memory: `program conformance");
    }
}
