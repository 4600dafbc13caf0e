//! Starting other programs.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::canary::Output;
use crate::failure::{Context, Failure, Result};

/// How the variables begin in which cargo tells a program which package it is of.
const PACKAGE_VARIABLES: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// The cargo that runs us, so that every step uses the same toolchain.
///
/// It is not told which package we are. Build scripts that ask for such a variable (ring's does) run again whenever it changed outside,
/// and with them everything above is built again: nextest hides those variables from cargo, plain cargo does not.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in told.filter(|name| is_package_variable(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo
}

fn is_package_variable(name: &str) -> bool {
    PACKAGE_VARIABLES.iter().any(|prefix| name.starts_with(prefix))
}

/// Runs `command` with our own output and waits for it.
///
/// # Errors
///
/// When it cannot be started or does not succeed; the text is the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let (mut child, output) = start(command)?;
    let ended = child.wait().context(|| format!("waiting for `{}`", line(command)));
    let judged = ended.and_then(|status| judge(command, status));
    output.end(judged.is_ok());
    judged
}

/// As [`run`], but a program that is not done after `limit` is killed: a hang is a failure, not a wait without end.
///
/// # Errors
///
/// As [`run`], and when the time is up.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let (mut child, output) = start(command)?;
    let judged = match wait_until(&mut child, Instant::now() + limit)? {
        Some(status) => judge(command, status),
        None => {
            let text = format!("`{}` was not done after {} s", line(command), limit.as_secs());
            Err(Failure::new(text))
        }
    };
    output.end(judged.is_ok());
    judged
}

/// Starts a program; what it prints is shown and, in the gate, kept as well.
///
/// # Errors
///
/// When it cannot be started.
pub(crate) fn start(command: &mut Command) -> Result<(Child, Output)> {
    let output = Output::of(command);
    let started = command.spawn();
    let mut child = started.context(|| format!("`{}` could not be started", line(command)))?;
    let output = output.follow(&mut child)?;
    Ok((child, output))
}

/// The status of `child`, or `None` if it had to be killed at `deadline`.
fn wait_until(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    let doing = || "waiting for a program".to_owned();
    loop {
        if let Some(status) = child.try_wait().context(doing)? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill().context(doing)?;
            return child.wait().map(|_| None).context(doing);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn judge(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` ended with {status}", line(command))))
}

/// The command as one would type it, with the program's bare name.
pub(crate) fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_stem().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_names_itself() {
        let failure = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(failure.contains("`sh -c exit 3`") && failure.contains('3'), "{failure}");
    }

    #[test]
    fn cargo_is_not_told_which_package_we_are() {
        let command = cargo();
        let hidden: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).collect();
        // Cargo and nextest both tell a test.
        assert!(hidden.iter().any(|(name, _)| *name == "CARGO_MANIFEST_DIR"), "{hidden:?}");
        for needed in ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR"] {
            assert!(!is_package_variable(needed), "{needed}");
        }
    }

    #[test]
    fn a_missing_program_is_a_failure_and_no_panic() {
        let failure = run(&mut Command::new("no-such-program-here")).unwrap_err().to_string();
        assert!(failure.contains("could not be started"), "{failure}");
    }

    #[test]
    fn a_program_that_hangs_is_killed_and_named() {
        let mut hanging = Command::new("sleep");
        let started = Instant::now();
        let failure = run_within(hanging.arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(failure.to_string().contains("`sleep 60` was not done"), "{failure}");
        assert!(started.elapsed() < Duration::from_secs(30));
        run_within(&mut Command::new("true"), Duration::from_secs(30)).unwrap();
    }
}
