//! Starting other programs.

use std::process::Command;

use crate::failure::{Context, Failure, Result};

/// The cargo that runs us, so that every step uses the same toolchain.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs `command` with our own output and waits for it.
///
/// # Errors
///
/// When it cannot be started or does not succeed; the text is the command line.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status =
        command.status().context(|| format!("`{}` could not be started", line(command)))?;
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
    fn a_missing_program_is_a_failure_and_no_panic() {
        let failure = run(&mut Command::new("no-such-program-here")).unwrap_err().to_string();
        assert!(failure.contains("could not be started"), "{failure}");
    }
}
