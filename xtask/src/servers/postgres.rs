//! A private PostgreSQL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::launch::{Launched, User};
use super::probe;
use crate::failure::{Context, Failure, Result};

/// What differs from the defaults: small, on loopback alone, and with what the tests need: cases that run beside each other
/// open several stores each, with a pool each.
/// Commits are as durable as a server in production makes them.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "max_connections=600",
    "max_prepared_transactions=20",
    "shared_buffers=64MB",
    "max_wal_size=512MB",
];

/// Makes a database cluster in `folder` and starts it.
///
/// # Errors
///
/// When it cannot be made or does not start.
pub(super) fn start(program: &Path, folder: &Path, password: &str) -> Result<(Launched, String)> {
    own(folder)?;
    initialise(program, folder, password)?;
    // Asked before, so that nothing can fail between two attempts.
    let user = User::unprivileged()?;
    let command = |port: u16| command_as(program, port, folder, user);
    let launched = Launched::start(folder, command, probe::postgres_serves)?;
    let url = format!("postgres://postgres:{password}@127.0.0.1:{}/postgres", launched.port);
    Ok((launched, url))
}

/// Gives `path` to the user that PostgreSQL runs as.
///
/// # Errors
///
/// When there is no such user.
pub(crate) fn own(path: &Path) -> Result<()> {
    User::unprivileged()?.map_or(Ok(()), |user| user.own(path))
}

/// Makes a command run as that user.
///
/// # Errors
///
/// When there is no such user.
pub(crate) fn run_as_owner(command: &mut Command) -> Result<()> {
    if let Some(user) = User::unprivileged()? {
        user.run(command);
    }
    Ok(())
}

/// What starts a server on the cluster in `folder`.
///
/// # Errors
///
/// When there is no user to run it as.
pub(crate) fn command(program: &Path, port: u16, folder: &Path) -> Result<Command> {
    Ok(command_as(program, port, folder, User::unprivileged()?))
}

fn command_as(program: &Path, port: u16, folder: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = user {
        user.run(&mut command);
    }
    command.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string()]);
    command.arg("-k").arg(folder);
    SETTINGS.iter().for_each(|setting| _ = command.args(["-c", setting]));
    command
}

/// A tool of the same installation; a link to the server alone may lie elsewhere.
pub(crate) fn tool(program: &Path, name: &str) -> PathBuf {
    let beside = |program: &Path| Some(program.with_file_name(name)).filter(|it| it.is_file());
    let real = || fs::canonicalize(program).ok().and_then(|program| beside(&program));
    beside(program).or_else(real).unwrap_or_else(|| name.into())
}

/// Makes an empty cluster in `folder`.
///
/// # Errors
///
/// When initdb fails, with what it says.
pub(crate) fn initialise(program: &Path, folder: &Path, password: &str) -> Result<()> {
    let file = folder.join("password");
    fs::write(&file, password).context(|| "writing the password file".into())?;
    own(&file)?;
    let mut command = Command::new(tool(program, "initdb"));
    run_as_owner(&mut command)?;
    command.arg("-D").arg(folder.join("data")).arg("--pwfile").arg(&file);
    command.args(["--username=postgres", "--encoding=UTF8", "--locale=C", "--no-instructions"]);
    command.args(["--auth=scram-sha-256", "--no-sync"]).stdin(Stdio::null());
    let output = command.current_dir(folder).output().context(|| "starting initdb".into())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("initdb failed: {}", text.trim())));
    }
    fs::remove_file(&file).context(|| "removing the password file".into())
}
