//! A private PostgreSQL.

use std::fs;
use std::path::Path;
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
    let user = User::unprivileged()?;
    if let Some(user) = user {
        user.own(folder)?;
    }
    initialise(program, folder, password, user)?;
    let command = |port: u16| {
        let mut command = as_user(program, user);
        command.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string()]);
        command.arg("-k").arg(folder);
        SETTINGS.iter().for_each(|setting| _ = command.args(["-c", setting]));
        command
    };
    let launched = Launched::start(folder, command, probe::postgres_serves)?;
    let url = format!("postgres://postgres:{password}@127.0.0.1:{}/postgres", launched.port);
    Ok((launched, url))
}

fn initialise(program: &Path, folder: &Path, password: &str, user: Option<User>) -> Result<()> {
    let file = folder.join("password");
    fs::write(&file, password).context(|| "writing the password file".into())?;
    if let Some(user) = user {
        user.own(&file)?;
    }
    let mut command = as_user(&program.with_file_name("initdb"), user);
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

fn as_user(program: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = user {
        user.run(&mut command);
    }
    command
}
