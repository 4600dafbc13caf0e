//! `cargo xtask bench`: the measurements of `benches/`, built as they are meant to be.

use crate::failure::Result;
use crate::process::{cargo, run as run_command};

/// Runs the bench program in release with `arguments`.
///
/// # Errors
///
/// When it does not build, or ends with a failure: a gate it holds was missed.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--release", "--package", "syntrix-storage-benches", "--"]);
    run_command(command.args(arguments))
}
