//! Starting a server's process, waiting until it serves, and ending it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Server;
use crate::failure::{Context, Failure, Result};

/// Longest a server may take until it serves. A busy machine makes PostgreSQL's first start slow.
const START_LIMIT: Duration = Duration::from_secs(90);

/// Longest a server may take to end before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How often a port may be snatched away between asking for it and using it.
const ATTEMPTS: usize = 3;

/// The user that servers run as which refuse to be run by root.
const UNPRIVILEGED: &str = "postgres";

/// Whether this process has the rights of root.
pub(super) fn is_root() -> bool {
    let own = fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own));
    own.is_ok_and(|user| user == 0)
}

/// Another user to run a server as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    id: u32,
    group: u32,
}

impl User {
    /// Whom to run PostgreSQL as: nobody else unless we are root, which it refuses.
    ///
    /// # Errors
    ///
    /// When we are root and there is no such user.
    pub(super) fn unprivileged() -> Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context(|| "reading /etc/passwd".into())?;
        Self::named(&users, UNPRIVILEGED).map(Some).ok_or_else(|| {
            Failure::new(format!(
                "PostgreSQL refuses to run as root and there is no user `{UNPRIVILEGED}`; \
                 add it (useradd --system {UNPRIVILEGED}) or run this as another user"
            ))
        })
    }

    fn named(users: &str, name: &str) -> Option<Self> {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some(Self { id: numbers.next()?.ok()?, group: numbers.next()?.ok()? })
    }

    /// Makes `command` run as this user.
    pub(super) fn run(self, command: &mut Command) {
        command.uid(self.id).gid(self.group);
    }

    /// Gives `path` to this user.
    pub(super) fn own(self, path: &Path) -> Result<()> {
        let given = std::os::unix::fs::chown(path, Some(self.id), Some(self.group));
        given.context(|| format!("giving away {}", path.display()))
    }
}

/// A process of ours that may not serve yet.
#[derive(Debug)]
pub(super) struct Launched {
    /// Our child.
    pub(super) child: Child,
    /// Where it should listen.
    pub(super) port: u16,
    log: PathBuf,
}

impl Launched {
    /// Starts what `command` makes for a free port and waits until `serves` says yes.
    ///
    /// # Errors
    ///
    /// When it ends or is not ready in time, with the end of its log.
    pub(super) fn start(
        folder: &Path,
        command: impl Fn(u16) -> Command,
        serves: impl Fn(u16) -> bool,
    ) -> Result<Self> {
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            let launched = Self::spawn(folder, command(port), port)?;
            match launched.until(&serves) {
                Err(Unready::Ended(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(Unready::Ended(failure) | Unready::Late(failure)) => return Err(failure),
                Ok(launched) => return Ok(launched),
            }
        }
    }

    fn spawn(folder: &Path, mut command: Command, port: u16) -> Result<Self> {
        let log = folder.join("log");
        let out = File::create(&log).context(|| format!("creating {}", log.display()))?;
        let both = out.try_clone().context(|| "the log file".into())?;
        // A group of its own: a Ctrl-C at the terminal is ours to pass on.
        command.stdin(Stdio::null()).stdout(out).stderr(both).process_group(0);
        let started = command.current_dir(folder).spawn();
        let child = started.context(|| format!("{:?} did not start", command.get_program()))?;
        Ok(Self { child, port, log })
    }

    fn until(mut self, serves: &impl Fn(u16) -> bool) -> std::result::Result<Self, Unready> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Unready::Ended(self.complain(&format!("it ended with {status}"))));
            }
            if serves(self.port) {
                return Ok(self);
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(Unready::Late(self.complain("it does not serve")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn complain(&self, what: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(15)..].join("\n  ");
        Failure::new(format!("{what}; its log ends:\n  {last}"))
    }
}

/// Why a process is not ready.
enum Unready {
    /// It ended, perhaps because somebody took its port.
    Ended(Failure),
    /// It did not come to serve in time.
    Late(Failure),
}

/// A port of loopback on which nobody listens at the moment.
///
/// # Errors
///
/// When there is none.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context(|| "looking for a free port".into())?;
    Ok(listener.local_addr().context(|| "looking for a free port".into())?.port())
}

/// Whether the process is still the server that was started, and not another one with its number.
pub(super) fn is_alive(server: &Server) -> bool {
    is_running_in(server.pid, &server.folder)
}

/// Whether the process `pid` has `folder` in its command line. One that has ended and was not waited for has none.
fn is_running_in(pid: u32, folder: &Path) -> bool {
    let folder = folder.to_string_lossy();
    let line = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) => line,
        Err(_) if Path::new("/proc/self").exists() => return false,
        Err(_) => {
            let listed = Command::new("ps").args(["-o", "args=", "-p", &pid.to_string()]).output();
            listed.map(|output| output.stdout).unwrap_or_default()
        }
    };
    String::from_utf8_lossy(&line).contains(&*folder)
}

/// Ends `server`, kindly first, and removes its folder. One that is gone already is no failure.
///
/// # Errors
///
/// When it cannot be ended or its folder not be removed.
pub(super) fn stop(server: &Server, child: Option<&mut Child>) -> Result<()> {
    if is_alive(server) {
        signal(server.pid, server.kind.stop_signal())?;
    }
    wait_until_gone(server, child)?;
    match fs::remove_dir_all(&server.folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(|| format!("removing {}", server.folder.display()))
        }
        _ => Ok(()),
    }
}

fn wait_until_gone(server: &Server, mut child: Option<&mut Child>) -> Result<()> {
    let mut deadline = Instant::now() + STOP_LIMIT;
    let mut killed = false;
    loop {
        // Our own child is a zombie until it is waited for.
        let ended = child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
        if ended && !is_alive(server) {
            return Ok(());
        }
        if Instant::now() > deadline {
            if killed {
                return Err(Failure::new(format!("process {} does not end", server.pid)));
            }
            signal(server.pid, "KILL")?;
            (killed, deadline) = (true, Instant::now() + STOP_LIMIT);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The shell's `kill`: every system has it, and the library's can only kill hard.
///
/// # Errors
///
/// When there is no shell. A process that is gone is none.
pub(crate) fn signal(pid: u32, name: &str) -> Result<()> {
    let kill = format!("kill -{name} {pid}");
    let done = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
    // It may have ended meanwhile: whoever waits for that sees it.
    done.map(drop).context(|| format!("`{kill}`"))
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn a_user_is_read_from_the_list_of_users() {
        let users = "root:x:0:0:root:/root:/bin/bash\npostgres:x:104:110:PG,,,:/var:/bin/bash\n";
        assert_eq!(User::named(users, "postgres"), Some(User { id: 104, group: 110 }));
        assert_eq!(User::named(users, "post"), None);
    }

    #[test]
    fn a_process_that_ends_at_once_is_told_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let command = |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no such option >&2; exit 3"]);
            command
        };
        let failure = Launched::start(folder.path(), command, |_| false).unwrap_err().to_string();
        assert!(failure.contains("no such option") && failure.contains('3'), "{failure}");
    }

    fn sleeping(folder: &Path) -> (Server, Child) {
        // The folder is in the command line, as with the servers.
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do sleep 0.1; done"]).arg(folder).stdin(Stdio::null());
        let child = command.spawn().unwrap();
        let (pid, folder) = (child.id(), folder.to_owned());
        (Server { kind: Kind::Redis, pid, url: String::new(), folder }, child)
    }

    #[test]
    fn a_server_is_ended_and_its_folder_removed() {
        let folder = tempfile::tempdir().unwrap().keep();
        let (server, mut child) = sleeping(&folder);
        let until = Instant::now() + Duration::from_secs(10);
        while !is_alive(&server) && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(is_alive(&server));
        stop(&server, Some(&mut child)).unwrap();
        assert!(!is_alive(&server) && !folder.exists());
        stop(&server, None).unwrap();
    }

    #[test]
    fn a_process_of_somebody_else_with_the_same_number_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (mut server, mut child) = sleeping(folder.path());
        server.folder = "/nowhere/of-ours".into();
        stop(&server, None).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "it was ended");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
