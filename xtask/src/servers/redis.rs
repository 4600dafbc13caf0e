//! A private Redis.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use super::launch::Launched;
use super::probe;
use crate::failure::{Context, Result};

/// Starts it as revoked tokens need it: every write on disk before it is acknowledged, nothing evicted.
///
/// # Errors
///
/// When it does not start.
pub(super) fn start(program: &Path, folder: &Path, password: &str) -> Result<(Launched, String)> {
    let file = folder.join("redis.conf");
    write_private(&file, &settings(folder, password))?;
    let command = |port: u16| {
        let mut command = Command::new(program);
        command.arg(&file).args(["--port", &port.to_string()]);
        command
    };
    let launched = Launched::start(folder, command, |port| probe::redis_serves(port, password))?;
    let url = format!("redis://:{password}@127.0.0.1:{}", launched.port);
    Ok((launched, url))
}

/// The password is in the file because everybody can read a command line.
pub(crate) fn settings(folder: &Path, password: &str) -> String {
    format!(
        "bind 127.0.0.1\n\
         dir \"{}\"\n\
         requirepass {password}\n\
         appendonly yes\n\
         appendfsync always\n\
         save \"\"\n\
         maxmemory-policy noeviction\n\
         enable-debug-command local\n\
         daemonize no\n\
         # The folder stays in the command line, by which `servers down` knows the process.\n\
         set-proc-title no\n",
        folder.display()
    )
}

/// Writes a file that only we can read.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn write_private(file: &Path, text: &str) -> Result<()> {
    let doing = || format!("writing {}", file.display());
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut opened = options.open(file).context(doing)?;
    std::io::Write::write_all(&mut opened, text.as_bytes()).context(doing)
}
