//! Command line of syntrix-storage.
//!
//! Results alone go to stdout, one JSON object per line or a table; progress, logs, reports and errors go to stderr. Exit
//! codes: 0 done, 1 the operation failed, 2 the command line or the configuration is wrong.

mod args;
mod commands;
mod condition;
mod demo;
mod failure;
mod json;
mod output;
mod repeats;
mod report;
mod resume_file;
mod session;
mod table;

use std::process::ExitCode;

pub use args::Cli;

use crate::output::Output;
use crate::session::Session;

/// Runs one command line to its end and gives the exit code of the process.
pub async fn run(cli: Cli) -> ExitCode {
    start_logs();
    let Cli { global, command } = cli;
    let output = Output::new(&global);
    let mut session = Session::new(global, output);
    let done = commands::run(command, &mut session).await;
    let done = done.and_then(|()| session.output.flush());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(&session.global);
            failure.exit_code()
        }
    }
}

/// Logs of the library, on stderr; `RUST_LOG` sets what is shown.
fn start_logs() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // Fails only if a log is installed already, which is as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
}
