//! The processes of `cargo xtask soak`.
//!
//! `write` changes documents and revokes tokens, `watch` follows the changes; both note in a
//! journal of their own what they were told, and go on until they are killed or their standard input
//! ends. `finish` writes the last change, at which watchers end. `verify` then holds journals,
//! feed and stored documents against each other. They take a configuration and know no server:
//! whoever starts them makes the servers die.

mod data;
// The very file of the gate's tool.
#[path = "../../xtask/src/failure.rs"]
mod failure;
mod findings;
mod fingerprint;
mod history;
mod journal;
mod ledger;
mod revoker;
mod store;
mod verify;
mod watcher;
mod writer;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Result;

/// A process of the fault suite.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes and revokes until it is killed or its input ends
    Write(writer::Options),
    /// Follows the changes until the last one
    Watch(watcher::Options),
    /// Writes the last change
    Finish(store::Config),
    /// Prints, as JSON, what was promised and what was found
    Verify(verify::Options),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    let runtime = store::runtime()?;
    let done = runtime.block_on(async {
        match command {
            Command::Write(options) => writer::run(options).await,
            Command::Watch(options) => watcher::run(options).await,
            Command::Finish(options) => verify::finish(options).await,
            Command::Verify(options) => verify::run(options).await,
        }
    });
    // Waiting for our input is a thread that cannot be stopped.
    runtime.shutdown_background();
    done
}
