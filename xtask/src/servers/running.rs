//! Servers that end with this process.

use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Kind, Server, launch, mongo, postgres, program, redis};
use crate::failure::{Context, Result};

/// A started server and our hold on its process.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) server: Server,
    child: Child,
}

/// Starts a server of `kind` in a fresh folder.
///
/// # Errors
///
/// When its program cannot be had or does not start.
pub(super) fn start(kind: Kind) -> Result<Started> {
    let program = program::find(kind)?;
    let prefix = format!("syntrix-{}-", kind.name());
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir();
    let folder = folder.context(|| "making a temporary folder".into())?;
    let password = password();
    let started = match kind {
        Kind::Pg => postgres::start(&program, folder.path(), &password),
        Kind::Mongo => mongo::start(&program, folder.path()),
        Kind::Redis => redis::start(&program, folder.path(), &password),
    };
    let (launched, url) = started.context(|| format!("starting {}", program.display()))?;
    let server = Server { kind, pid: launched.child.id(), url, folder: folder.keep() };
    Ok(Started { server, child: launched.child })
}

/// How a server's password begins, so that it can be looked for where it must not be.
pub(crate) const PASSWORD_PREFIX: &str = "canary-";
/// How many hexadecimal digits follow.
pub(crate) const PASSWORD_DIGITS: usize = 32;

/// A new one, fit for a URL.
pub(crate) fn password() -> String {
    let digits = PASSWORD_DIGITS / 2;
    format!("{PASSWORD_PREFIX}{:0digits$x}{:0digits$x}", fastrand::u64(..), fastrand::u64(..))
}

impl Kind {
    /// How it ends soonest without harm to its files.
    pub(super) fn stop_signal(self) -> &'static str {
        match self {
            // A fast shutdown: clients are cut off.
            Self::Pg => "INT",
            Self::Mongo | Self::Redis => "TERM",
        }
    }
}

/// Servers of one run. They end when it does, when this is dropped, and on Ctrl-C.
#[derive(Debug, Default)]
pub(crate) struct Running(Arc<Mutex<Vec<Started>>>);

impl Running {
    /// Starts one server of each of `kinds`.
    ///
    /// # Errors
    ///
    /// When one cannot be started; those that were are stopped.
    pub(crate) fn start(kinds: &[Kind]) -> Result<Self> {
        let running = Self::default();
        if !kinds.is_empty() {
            running.stop_on_signal()?;
        }
        for kind in kinds {
            let started = start(*kind)?;
            println!("{} runs in {}", kind.name(), started.server.folder.display());
            running.lock().push(started);
        }
        Ok(running)
    }

    /// The variables that tell tests where the servers are.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let pair = |one: &Started| (one.server.kind.variable(), one.server.url.clone());
        self.lock().iter().map(pair).collect()
    }

    /// How to reach the server of `kind`, if it was started.
    pub(crate) fn url(&self, kind: Kind) -> Option<String> {
        let started = self.lock();
        let one = started.iter().find(|one| one.server.kind == kind);
        one.map(|one| one.server.url.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Started>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on a signal that asks us to end ends the servers first.
    fn stop_on_signal(&self) -> Result<()> {
        let servers = Arc::clone(&self.0);
        on_signal(move || stop_all(&mut servers.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What has to be done before a signal may end us.
type Last = Box<dyn FnOnce() + Send>;

/// Kept together, so that nobody ends us while another is at it. The thread that waits is there if this is.
static LAST: Mutex<Option<Vec<Last>>> = Mutex::new(None);

/// From here on a signal that asks us to end does `last`, and what others asked for, and then ends us.
///
/// # Errors
///
/// When nobody can wait for signals.
pub(crate) fn on_signal(last: impl FnOnce() + Send + 'static) -> Result<()> {
    let mut all = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *all {
        Some(all) => all.push(Box::new(last)),
        None => {
            wait_for_signals()?;
            *all = Some(vec![Box::new(last)]);
        }
    }
    Ok(())
}

fn wait_for_signals() -> Result<()> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_io().build().context(|| "waiting for signals".into())?;
    // Without a name of its own: it lives as long as the process.
    std::thread::spawn(move || {
        if runtime.block_on(asked_to_end()).is_ok() {
            eprintln!("interrupted: stopping the servers");
            let all = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
            // What was begun last ends first: a server before the folder that its data lie in.
            all.into_iter().flatten().rev().for_each(|last| last());
            // 128 and the number of the signal that Ctrl-C sends, as a shell would say.
            std::process::exit(130);
        }
    });
    Ok(())
}

async fn asked_to_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut terminal_closed = signal(SignalKind::hangup())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
        _ = terminal_closed.recv() => Ok(()),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        stop_all(&mut self.lock());
    }
}

fn stop_all(started: &mut Vec<Started>) {
    for mut one in started.drain(..) {
        if let Err(failure) = launch::stop(&one.server, Some(&mut one.child)) {
            eprintln!("warning: {} could not be stopped: {failure}", one.server.kind.name());
        }
    }
}
