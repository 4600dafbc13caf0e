//! `cargo xtask bench` and `cargo xtask fuzz`: programs of this repository, built as they are meant to be.

use crate::failure::Result;
use crate::process::{cargo, run as run_command};

/// Runs the program of `package` in release with `arguments`.
///
/// # Errors
///
/// When it does not build, or ends with a failure: a gate was missed, a target panicked.
pub(crate) fn run(package: &str, arguments: &[String]) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", package, "--"]);
    run_command(command.args(arguments))
}
