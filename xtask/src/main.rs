//! The repository's own tool, called as `cargo xtask`.
//!
//! `test` is the gate: what it accepts may be merged. The other commands are parts
//! of it that one wants to run alone, longer, or with other numbers.

mod canary;
mod dependencies;
mod failure;
mod gate;
mod metadata;
mod process;
mod released;
mod servers;
mod soak;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Result;
use metadata::Workspace;

/// The repository's one gate and its helpers.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything that has to hold before a change is taken
    Test(gate::Options),
    /// Checks who depends on whom, and the version floors
    Dependencies,
    /// Writes docs/backends.md anew from what `test --record` recorded
    DocsBackends,
    /// Private PostgreSQL, Redis and MongoDB servers for the tests
    #[command(subcommand)]
    Servers(servers::Command),
    /// Kills servers, writers and watchers again and again and checks that nothing anybody was promised is lost
    Soak(soak::Options),
    /// Feeds mutated texts to everything that reads text from outside
    Fuzz {
        /// Passed on to the fuzz program, for example --seconds 60
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures against the raw drivers
    Bench {
        /// Passed on to the bench program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether all is well; an error is one that left nothing more to do.
fn run(command: Command) -> Result<bool> {
    match command {
        Command::Test(options) => test(&options),
        Command::Dependencies => dependencies::run(&Workspace::locate()?).map(|()| true),
        Command::DocsBackends => gate::write_docs(&Workspace::locate()?).map(|()| true),
        Command::Servers(command) => servers::run(&command),
        Command::Soak(options) => soak::run(&Workspace::locate()?, &options),
        Command::Fuzz { arguments } => {
            released::run("syntrix-storage-fuzz", &arguments).map(|()| true)
        }
        Command::Bench { arguments } => {
            released::run("syntrix-storage-benches", &arguments).map(|()| true)
        }
    }
}

fn test(options: &gate::Options) -> Result<bool> {
    let workspace = Workspace::locate()?;
    canary::record(&workspace.target)?;
    let outcome = gate::run(&workspace, options);
    // Also of a run that was given up: what it printed is printed.
    let clean = canary::search()?;
    Ok(outcome?.conclude() && clean)
}
