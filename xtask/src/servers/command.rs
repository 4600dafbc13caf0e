//! `cargo xtask servers`: leaves the servers running for a developer.

use super::state::{StateFile, of_kind};
use super::{Kind, Server, launch, print, running};
use crate::failure::Result;

/// What to do with them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Starts those that do not run, leaves them running, and prints how to use them
    Up {
        /// Only these [default: all]
        kinds: Vec<Kind>,
    },
    /// Stops those that `up` started and removes their data
    Down,
    /// Says which of those that `up` started run, and how to use them
    Status,
}

/// Runs one of the commands. Says whether all is well: `status` does not find it well if a server has died.
///
/// # Errors
///
/// When a server cannot be started or stopped, or the list of them not be read or written.
pub(crate) fn run(command: &Command) -> Result<bool> {
    let file = StateFile::of_user()?;
    match command {
        Command::Up { kinds } if kinds.is_empty() => up(&file, &Kind::ALL).map(|()| true),
        Command::Up { kinds } => up(&file, kinds).map(|()| true),
        Command::Down => down(&file).map(|()| true),
        Command::Status => status(&file),
    }
}

fn up(file: &StateFile, kinds: &[Kind]) -> Result<()> {
    let (mut servers, dead): (Vec<_>, Vec<_>) =
        file.read()?.into_iter().partition(launch::is_alive);
    // Their folders are still there.
    dead.iter().try_for_each(|server| launch::stop(server, None))?;
    for kind in kinds {
        if of_kind(&servers, *kind).is_none() {
            // Our hold on the process is let go of: it stays when we end.
            servers.push(running::start(*kind)?.server);
            servers.sort_by_key(|server| server.kind);
            // After each, so that `down` finds those that were started before one that was not.
            file.write(&servers)?;
        }
    }
    usage(&servers);
    Ok(())
}

fn down(file: &StateFile) -> Result<()> {
    let mut servers = file.read()?;
    while let Some(server) = servers.last() {
        launch::stop(server, None)?;
        println!("{} stopped", server.kind.name());
        servers.pop();
        file.write(&servers)?;
    }
    Ok(())
}

fn status(file: &StateFile) -> Result<bool> {
    let servers = file.read()?;
    if servers.is_empty() {
        println!("no servers; `cargo xtask servers up` starts them");
        return Ok(true);
    }
    for server in &servers {
        let state = if launch::is_alive(server) { "runs" } else { "HAS DIED" };
        let (name, folder) = (server.kind.name(), server.folder.display());
        println!("# {name} {state}: process {}, log {folder}/log", server.pid);
    }
    let (running, dead): (Vec<_>, Vec<_>) = servers.into_iter().partition(launch::is_alive);
    usage(&running);
    Ok(dead.is_empty())
}

/// Comments apart, each half can be used as it is printed.
fn usage(servers: &[Server]) {
    println!("\n# for the tests");
    print!("{}", print::exports(servers));
    println!("\n# a configuration: documents, accounts and revocations as in production");
    print!("{}", print::example(servers));
}
