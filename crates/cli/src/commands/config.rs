//! `config`: what a configuration file may say, and whether one is right.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Map, Value};
use syntrix_storage::StorageConfig;

use crate::args::Format;
use crate::failure::Failure;
use crate::report;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration file without opening anything
    Check {
        /// The file, if --config does not name it
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of configuration files
    Schema,
    /// Print a commented configuration to start from
    Example,
}

pub(crate) fn run(command: ConfigCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file } => check(file, session),
        ConfigCommand::Schema => schema(session),
        ConfigCommand::Example => session.output.raw(StorageConfig::example().as_bytes()),
    }
}

fn check(file: Option<PathBuf>, session: &mut Session) -> Result<(), Failure> {
    let Some(file) = file.or_else(|| session.global.config.clone()) else {
        return Err(Failure::Usage("config check needs a file: --config FILE".into()));
    };
    let found = StorageConfig::from_file(&file)
        .and_then(|config| config.with_data_dir(session.global.data_dir()).check())
        .map_err(|error| error.in_operation("config check"))?;
    for warning in &found.warnings {
        report::line(format_args!("warning: {warning}"));
    }
    let mut result = Map::new();
    result.insert("file".into(), file.display().to_string().into());
    result.insert("ok".into(), true.into());
    result.insert("warnings".into(), found.warnings.into());
    result.insert("effective".into(), found.effective.as_str().into());
    match session.output.format() {
        Format::Json => session.output.json(&Value::Object(result)),
        Format::Table => {
            session.output.line(format_args!("# {}: ok; with every default:", file.display()))?;
            session.output.line(format_args!("{}", found.effective.trim_end()))
        }
    }
}

fn schema(session: &mut Session) -> Result<(), Failure> {
    let schema = StorageConfig::memory().schema()?;
    match session.output.format() {
        Format::Json => session.output.json(&schema),
        Format::Table => session.output.line(format_args!("{schema:#}")),
    }
}
