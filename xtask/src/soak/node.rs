//! One server process that can be killed and started again on its port and data.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::{Context, Failure, Result};
use crate::servers::{free_port, signal};

/// Longest until a server serves.
const START_MAX: Duration = Duration::from_secs(90);

/// How often we look whether it does.
const LOOK: Duration = Duration::from_millis(5);

/// Makes the command that starts a server on a port with its data in a folder.
type Start = Box<dyn Fn(u16, &Path) -> Result<Command> + Send>;

/// Whether the server on this port serves.
type Serves = Box<dyn Fn(u16) -> bool + Send>;

/// A server, running or dead. Dropped, it is killed with all its children.
pub(super) struct Node {
    folder: PathBuf,
    port: u16,
    start: Start,
    serves: Serves,
    child: Option<Child>,
    stop_signal: &'static str,
}

impl Node {
    /// A node that does not run yet; `folder` is made.
    pub(super) fn new(folder: PathBuf, start: Start, serves: Serves) -> Result<Self> {
        fs::create_dir_all(&folder).context(|| format!("making {}", folder.display()))?;
        let port = free_port()?;
        Ok(Self { folder, port, start, serves, child: None, stop_signal: "KILL" })
    }

    /// Ends it in the end by this signal first.
    pub(super) fn stopped_by(mut self, signal: &'static str) -> Self {
        self.stop_signal = signal;
        self
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it and waits until it serves. One that ends at once is started again: it may wait for what the killed one left.
    ///
    /// # Errors
    ///
    /// When it does not serve in time, with the end of its log.
    pub(super) fn start(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        self.spawn()?;
        while !(self.serves)(self.port) {
            if Instant::now() > deadline {
                return Err(Failure::new(format!("it does not serve: {}", self.log_end())));
            }
            if self.has_ended() {
                std::thread::sleep(Duration::from_millis(50));
                self.spawn()?;
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn spawn(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.folder.join("log"));
        let log = log.context(|| "opening the log".into())?;
        let errors = log.try_clone().context(|| "opening the log".into())?;
        let mut command = (self.start)(self.port, &self.folder)?;
        // A group of its own: a Ctrl-C at the terminal is ours to pass on, and its children end with it.
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let spawned = command.current_dir(&self.folder).spawn();
        let child = spawned.context(|| format!("{:?} did not start", command.get_program()))?;
        LIVING.add(child.id());
        self.child = Some(child);
        Ok(())
    }

    fn has_ended(&mut self) -> bool {
        let ended = self.child.as_mut().is_none_or(|it| !matches!(it.try_wait(), Ok(None)));
        if ended {
            self.forget();
        }
        ended
    }

    fn forget(&mut self) {
        if let Some(child) = self.child.take() {
            LIVING.remove(child.id());
        }
    }

    /// SIGKILL to the server itself, as the system does it when memory is short.
    pub(super) fn kill(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child {
            child.kill().context(|| "killing a server".into())?;
            child.wait().context(|| "waiting for a server's end".into())?;
        }
        self.forget();
        Ok(())
    }

    /// As if the machine died: the server's children first, while it cannot start others nor notice. Of a PostgreSQL server that
    /// dies alone, those that wait for a standby stop waiting, and others see for a moment what no standby has.
    pub(super) fn kill_with_children(&mut self) -> Result<()> {
        if let Some(child) = &self.child {
            let id = child.id();
            signal(id, "STOP")?;
            children(id)?.into_iter().try_for_each(|child| signal(child, "KILL"))?;
        }
        self.kill()
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n  ")
    }
}

/// The processes that `parent` has started.
fn children(parent: u32) -> Result<Vec<u32>> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let listed = listed.context(|| "starting ps".into())?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let pair = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    Ok(text.lines().filter_map(pair).filter(|it| it.1 == parent).map(|it| it.0).collect())
}

impl Drop for Node {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let id = child.id();
        let _ = signal(id, self.stop_signal);
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        LIVING.remove(id);
    }
}

/// Servers that run, for a signal that ends us.
static LIVING: Living = Living(Mutex::new(BTreeSet::new()));

struct Living(Mutex<BTreeSet<u32>>);

impl Living {
    fn add(&self, id: u32) {
        self.lock().insert(id);
    }

    fn remove(&self, id: u32) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From here on a signal that asks us to end ends the servers first.
pub(super) fn stop_on_signal(folder: Arc<Mutex<Option<PathBuf>>>) -> Result<()> {
    crate::servers::on_signal(move || {
        for id in LIVING.lock().iter() {
            let _ = signal(*id, "KILL");
        }
        if let Some(folder) = folder.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = fs::remove_dir_all(folder);
        }
    })
}
