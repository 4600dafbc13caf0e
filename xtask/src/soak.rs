//! stub
use crate::failure::Result;
use std::path::Path;
#[derive(Debug, clap::Args)]
pub(crate) struct Options { #[arg(long, default_value_t = 200)] kills: u32 }
impl Options { pub(crate) fn kills(kills: u32) -> Self { Self { kills } } }
#[derive(Debug, clap::Args)]
pub(crate) struct WriterOptions {}
pub(crate) fn run(_program: &Path, options: &Options) -> Result<()> { let _ = options.kills; Ok(()) }
pub(crate) fn write(_options: &WriterOptions) -> Result<()> { Ok(()) }
