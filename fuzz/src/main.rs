//! Runs the fuzz targets for a while.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use syntrix_storage_fuzz::{Limit, run, targets};

/// Feeds mutated texts to everything that reads text from outside
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds per target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only targets whose name contains this text
    #[arg(long)]
    only: Option<String>,
    /// Repeats a run [default: a new one]
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let wanted = |name: &str| arguments.only.as_ref().is_none_or(|only| name.contains(only));
    let mut code = ExitCode::SUCCESS;
    for target in targets().into_iter().filter(|target| wanted(target.name())) {
        match run(&*target, seed, Limit::Time(Duration::from_secs(arguments.seconds))) {
            Ok(inputs) => println!("{}: {inputs} inputs, no panic (seed {seed})", target.name()),
            Err(failure) => {
                println!("{failure}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
