//! `cargo xtask soak`: a writing process is killed at random moments. Comes with the facade.

use std::path::Path;

use crate::failure::{Failure, Result};

/// How much to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often a writer is killed
    #[arg(long, default_value_t = 200)]
    kills: u32,
}

impl Options {
    /// So many kills.
    pub(crate) fn kills(kills: u32) -> Self {
        Self { kills }
    }
}

/// What the writer needs.
#[derive(Debug, clap::Args)]
pub(crate) struct WriterOptions {}

/// Fails until it is written.
pub(crate) fn run(_program: &Path, options: &Options) -> Result<()> {
    Err(Failure::new(format!("{} kills asked for, none built yet", options.kills)))
}

/// Fails until it is written.
pub(crate) fn write(_options: &WriterOptions) -> Result<()> {
    Err(Failure::new("no writer yet"))
}
