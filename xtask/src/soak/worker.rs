//! The processes that write and watch.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::Cluster;
use super::timing::now;
use crate::canary::Output;
use crate::failure::{Context, Failure, Result};
use crate::process::{line, run_within, start};
use crate::servers::signal;

/// Longest a process may take to end by itself.
const END_MAX: Duration = Duration::from_secs(90);

/// A writer dies by itself at about one write in so many, between the primary and the shadow.
const DIES_ONCE_IN: &str = "400";

/// What a process ends with that dies so.
const SIGABRT: i32 = 6;

/// How to start them.
#[derive(Debug)]
pub(super) struct Workers {
    program: PathBuf,
    config: PathBuf,
    folder: PathBuf,
    /// The configuration of the shadow alone, if there is one.
    shadow: Option<PathBuf>,
}

impl Workers {
    /// Writes the configuration.
    pub(super) fn new(program: &Path, folder: &Path, cluster: &dyn Cluster) -> Result<Self> {
        let folder = folder.join("journals");
        let doing = || format!("making {}", folder.display());
        std::fs::create_dir_all(&folder).context(doing)?;
        let config = folder.join("storage.yaml");
        std::fs::write(&config, cluster.configuration()).context(doing)?;
        let shadow = cluster.shadow_alone().map(|alone| (folder.join("shadow.yaml"), alone));
        if let Some((file, alone)) = &shadow {
            std::fs::write(file, alone).context(doing)?;
        }
        let shadow = shadow.map(|(file, _)| file);
        Ok(Self { program: program.to_owned(), config, folder, shadow })
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(what).arg("--config").arg(&self.config);
        command
    }

    /// Starts a writer with a journal of its own.
    pub(super) fn writer(&self, name: &str, seed: u64, hurried: bool) -> Result<Worker> {
        let mut command = self.command("write");
        command.args(["--seed", &seed.to_string()]);
        if hurried {
            command.arg("--hurried");
        }
        if self.is_routed() {
            command.args(["--dies-once-in", DIES_ONCE_IN]);
        }
        let mut writer = Worker::start(command, self.folder.join(format!("{name}.jsonl")))?;
        writer.may_die = self.is_routed();
        Ok(writer)
    }

    /// Whether documents go to a shadow.
    pub(super) fn is_routed(&self) -> bool {
        self.shadow.is_some()
    }

    /// Starts a watcher, which goes on with its journal if there is one.
    pub(super) fn watcher(&self, name: &str, collection: Option<&str>) -> Result<Worker> {
        let mut command = self.command("watch");
        if let Some(collection) = collection {
            command.args(["--collection", collection]);
        }
        Worker::start(command, self.folder.join(format!("{name}.jsonl")))
    }

    /// Writes the last change.
    pub(super) fn finish(&self) -> Result<()> {
        run_within(&mut self.command("finish"), END_MAX)
    }

    /// What was promised and what was found.
    pub(super) fn verify(&self, writers: &[PathBuf], watchers: &[PathBuf]) -> Result<Value> {
        let mut command = self.command("verify");
        for file in writers {
            command.arg("--writer").arg(file);
        }
        if let Some(shadow) = &self.shadow {
            command.arg("--shadow").arg(shadow);
        }
        for file in watchers {
            command.arg("--watcher").arg(file);
        }
        let output = command.stderr(Stdio::inherit()).output();
        let output = output.context(|| "starting the verification".into())?;
        if !output.status.success() {
            return Err(Failure::new(format!("the verification ended with {}", output.status)));
        }
        serde_json::from_slice(&output.stdout).context(|| "reading the report".into())
    }
}

/// A running process, killed at the latest when it is dropped.
pub(super) struct Worker {
    child: Child,
    /// Until it ends.
    output: Option<Output>,
    line: String,
    may_die: bool,
    pub(super) journal: PathBuf,
    pub(super) started: u64,
}

impl Worker {
    fn start(mut command: Command, journal: PathBuf) -> Result<Self> {
        command.arg("--journal").arg(&journal).stdin(Stdio::piped());
        let (child, output) = start(&mut command)?;
        let line = line(&command);
        let output = Some(output);
        Ok(Self { child, output, line, may_die: false, journal, started: now() })
    }

    /// Whether it died where it was told to. A process that ended otherwise by itself has found something.
    pub(super) fn has_died(&mut self) -> Result<bool> {
        match self.child.try_wait().context(|| "looking after a process".into())? {
            None => Ok(false),
            Some(status) if self.may_die && status.signal() == Some(SIGABRT) => Ok(true),
            Some(status) => Err(Failure::new(format!("`{}` gave up: {status}", self.line))),
        }
    }

    /// Lets it stand still.
    pub(super) fn stop(&self) -> Result<()> {
        signal(self.child.id(), "STOP")
    }

    /// Lets it go on.
    pub(super) fn go_on(&self) -> Result<()> {
        signal(self.child.id(), "CONT")
    }

    /// SIGKILL: no handler runs, nothing is flushed. Waiting makes sure that its locks are gone.
    pub(super) fn kill(mut self) -> Result<PathBuf> {
        if self.has_died()? {
            return Ok(self.journal.clone());
        }
        self.child.kill().context(|| "killing a process".into())?;
        self.child.wait().context(|| "waiting for a process's end".into())?;
        Ok(self.journal.clone())
    }

    /// Lets it finish what it is doing.
    pub(super) fn end(mut self) -> Result<PathBuf> {
        self.has_died()?;
        drop(self.child.stdin.take());
        self.ended()
    }

    /// Waits until it ends by itself.
    pub(super) fn ended(mut self) -> Result<PathBuf> {
        let deadline = Instant::now() + END_MAX;
        loop {
            match self.child.try_wait().context(|| "waiting for a process".into())? {
                Some(status) if status.success() => return Ok(self.journal.clone()),
                Some(_) if self.has_died()? => return Ok(self.journal.clone()),
                Some(status) => {
                    return Err(Failure::new(format!("`{}` ended with {status}", self.line)));
                }
                None if Instant::now() > deadline => {
                    return Err(Failure::new(format!("`{}` does not end", self.line)));
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(output) = self.output.take() {
            output.end(true);
        }
    }
}
