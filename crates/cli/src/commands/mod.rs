//! One file per command.

pub(crate) mod config;
pub(crate) mod conformance;
pub(crate) mod doc;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod import;
pub(crate) mod index;
pub(crate) mod query;
pub(crate) mod routing;
mod stoppable;
pub(crate) mod token;
pub(crate) mod user;
mod user_row;
pub(crate) mod verify;
pub(crate) mod watch;

use crate::args::Command;
use crate::demo;
use crate::failure::Failure;
use crate::session::Session;

/// Runs the command that was typed.
pub(crate) async fn run(command: Command, session: &mut Session) -> Result<(), Failure> {
    match command {
        Command::Doc(command) => doc::run(command, session).await,
        Command::User(command) => user::run(command, session).await,
        Command::Token(command) => token::run(command, session).await,
        Command::Watch(args) => watch::run(args, session).await,
        Command::Index(command) => index::run(command, session).await,
        Command::Config(command) => config::run(command, session),
        Command::Routing(command) => routing::run(command, session).await,
        Command::Verify(args) => verify::run(args, session).await,
        Command::Doctor => doctor::run(session).await,
        Command::Conformance(args) => conformance::run(args, session).await,
        Command::Demo => demo::run(session).await,
        Command::Completions(args) => generate::completions(&args, session),
        Command::Man(args) => generate::man(&args, session),
    }
}
