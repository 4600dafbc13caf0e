//! The command line as clap sees it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::config::ConfigCommand;
use crate::commands::conformance::ConformanceArgs;
use crate::commands::doc::DocCommand;
use crate::commands::generate::{CompletionsArgs, ManArgs};
use crate::commands::index::IndexCommand;
use crate::commands::routing::RoutingCommand;
use crate::commands::token::TokenCommand;
use crate::commands::user::UserCommand;
use crate::commands::verify::VerifyArgs;
use crate::commands::watch::WatchArgs;
use crate::failure::Failure;

/// Where the store lies when nobody says otherwise.
pub(crate) const DATA_DIR_DEFAULT: &str = "./syntrix-data";

/// One storage layer for JSON documents, accounts and revoked tokens, on any database.
#[derive(Debug, Parser)]
#[command(
    name = "syntrix-storage",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Without --config the store is an SQLite file in the data directory.\n\
                  Exit codes: 0 done, 1 the operation failed, 2 the command line or the configuration is wrong."
)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Parses a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// The exit code of a process that has said all there is to say: help, version, or what is wrong.
    pub fn from_command_line(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, ExitCode> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        Self::try_parse_from(&arguments).map_err(|error| {
            if error.use_stderr() && asks_for_json(&arguments) {
                Failure::Usage(error.render().to_string().trim().to_owned()).print_json();
            } else {
                // With stdout or stderr closed there is nobody to tell.
                let _ = error.print();
            }
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        })
    }
}

/// The arguments could not be parsed, so they are only searched.
fn asks_for_json(arguments: &[OsString]) -> bool {
    let pair = |pair: &[OsString]| pair[0] == "--output" && pair[1] == "json";
    arguments.windows(2).any(pair) || arguments.iter().any(|argument| argument == "--output=json")
}

/// Options before or after the subcommand.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file (YAML) that says which database is behind each store
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Folder of the embedded store [default: ./syntrix-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// How results are printed [default: table on a terminal, json (JSON lines) otherwise]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,

    /// Abort the process at this mirrored write, from 1 on, after the primary's commit and before the shadow's; for tests
    #[arg(long, global = true, hide = true, value_name = "NUMBER")]
    pub(crate) abort_at_mirrored_write: Option<u64>,
}

impl Global {
    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR_DEFAULT))
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON object per line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read, write, query, import and export documents
    #[command(subcommand)]
    Doc(DocCommand),
    /// Create, read, list, change and disable accounts
    #[command(subcommand)]
    User(UserCommand),
    /// Revoke tokens and check them
    #[command(subcommand)]
    Token(TokenCommand),
    /// Follow the changes of one collection, or of all
    Watch(WatchArgs),
    /// List, create, drop and suggest composite indexes
    #[command(subcommand)]
    Index(IndexCommand),
    /// Check a configuration, print its schema or an example
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show and change how stores with a shadow are routed
    #[command(subcommand)]
    Routing(RoutingCommand),
    /// Compare a shadow with its primary, and repair it
    Verify(VerifyArgs),
    /// Show what is open and how it is
    Doctor,
    /// Run the conformance suite against a backend
    Conformance(ConformanceArgs),
    /// See the store do its whole job on 57 025 cities
    #[command(
        after_help = "The data directory must be new, empty, or left by an earlier demo, which is started over."
    )]
    Demo,
    /// Print shell completions
    Completions(CompletionsArgs),
    /// Print the manual page, or write all pages into a folder
    Man(ManArgs),
}
