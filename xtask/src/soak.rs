//! `cargo xtask soak`: writing processes on one store are killed with SIGKILL at random moments.
//!
//! A writer (this same program, `__writer`) runs several tasks over a handful of
//! documents, so that writes collide, and notes every acknowledged write in a journal
//! before it counts as told. After the kill the parent opens the store and holds it to
//! its word: whatever was acknowledged is there or superseded, nothing is half applied,
//! and the change feed is exactly the writes, in order, once each, also across the
//! resume token that was taken before the kill.

mod data;
mod fingerprint;
mod journal;
mod ledger;
mod store;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::failure::{Context, Failure, Result};
use ledger::Ledger;
use verify::Verifier;
pub(crate) use writer::{Options as WriterOptions, run as write};

/// Shortest and longest life of a writer. The shortest ones die while they open the store.
const LIFE_MS: std::ops::RangeInclusive<u64> = 20..=400;

/// The store is checked after every kill with this chance, else the next writer opens what the last one left.
const CHECK_ONE_IN: u32 = 3;

/// How much to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often a writer is killed
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// How many processes write at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    processes: u32,
    /// Start no further writer after so many seconds
    #[arg(long)]
    seconds_max: Option<u64>,
}

impl Options {
    /// So many kills of two processes, without a limit of time.
    pub(crate) fn kills(kills: u32) -> Self {
        Self { kills, processes: 2, seconds_max: None }
    }

    fn is_over(&self, started: Instant) -> bool {
        self.seconds_max.is_some_and(|seconds| started.elapsed() >= Duration::from_secs(seconds))
    }
}

/// Kills writers and checks what they leave. `program` is this program's own file.
///
/// # Errors
///
/// The first promise found broken; the store and the journals then stay where the text says.
pub(crate) fn run(program: &Path, options: &Options) -> Result<()> {
    let mut soak = Soak::new(program)?;
    let done = soak.run(options);
    if done.is_err() {
        let Soak { kills, folder, .. } = soak;
        let kept = folder.keep();
        return done.context(|| format!("after kill {kills} (kept in {})", kept.display()));
    }
    done
}

/// The parent's side of a run.
struct Soak<'a> {
    program: &'a Path,
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
    verifier: Verifier,
    ledger: Ledger,
    kills: u32,
    checks: u32,
}

impl<'a> Soak<'a> {
    fn new(program: &'a Path) -> Result<Self> {
        let folder = tempfile::tempdir().context(|| "making a temporary folder".into())?;
        let runtime = store::runtime()?;
        let verifier = Verifier::new(data_folder(&folder));
        let ledger = Ledger::default();
        Ok(Self { program, folder, runtime, verifier, ledger, kills: 0, checks: 0 })
    }

    fn run(&mut self, options: &Options) -> Result<()> {
        let started = Instant::now();
        while self.kills < options.kills && !options.is_over(started) {
            for journal in self.kill_together(options.processes)? {
                self.ledger.acknowledge(journal::read(&journal)?);
            }
            if fastrand::u32(..CHECK_ONE_IN) == 0 {
                self.check()?;
            }
        }
        self.check()?;
        self.check_from_the_beginning()?;
        self.summarise(started.elapsed())
    }

    /// Lets writers live side by side, each for a random time, and returns their journals.
    fn kill_together(&mut self, processes: u32) -> Result<Vec<PathBuf>> {
        let mut writers = Vec::new();
        for _ in 0..processes {
            self.kills += 1;
            let journal = self.folder.path().join(format!("journal-{}.jsonl", self.kills));
            let life = Duration::from_millis(fastrand::u64(LIFE_MS));
            writers.push((life, Writer(self.start(&journal)?), journal));
        }
        writers.sort_by_key(|(life, ..)| *life);
        let started = Instant::now();
        let mut journals = Vec::new();
        for (life, writer, journal) in writers {
            std::thread::sleep(life.saturating_sub(started.elapsed()));
            writer.kill()?;
            journals.push(journal);
        }
        Ok(journals)
    }

    fn start(&self, journal: &Path) -> Result<Child> {
        Command::new(self.program)
            .arg("__writer")
            .arg("--data-dir")
            .arg(data_folder(&self.folder))
            .arg("--journal")
            .arg(journal)
            .arg("--seed")
            .arg(fastrand::u64(..).to_string())
            .spawn()
            .context(|| "starting the writer".into())
    }

    /// Reads on where the last check stopped.
    fn check(&mut self) -> Result<()> {
        self.checks += 1;
        self.runtime.block_on(self.verifier.check(&mut self.ledger))
    }

    /// The whole history once more, as a consumer that starts today would see it.
    fn check_from_the_beginning(&mut self) -> Result<()> {
        let mut afresh = self.ledger.without_events();
        let mut verifier = Verifier::new(data_folder(&self.folder));
        self.runtime.block_on(verifier.check(&mut afresh))
    }

    fn summarise(&self, took: Duration) -> Result<()> {
        println!(
            "{} kills, {} checks, {} acknowledged writes, {} events, {} documents in {:.1} s: \
             nothing lost, doubled, reordered or half applied",
            self.kills,
            self.checks,
            self.ledger.acknowledged(),
            self.ledger.events(),
            self.ledger.documents(),
            took.as_secs_f64()
        );
        if self.kills > 0 && self.ledger.acknowledged() == 0 {
            return Err(Failure::new(
                "no writer lived to see a write acknowledged: nothing is proven",
            ));
        }
        Ok(())
    }
}

fn data_folder(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

/// A writing process, killed at the latest when it is dropped.
struct Writer(Child);

impl Writer {
    /// SIGKILL: no handler runs, nothing is flushed. Waiting makes sure that its locks are gone.
    fn kill(mut self) -> Result<()> {
        self.0.kill().context(|| "killing the writer".into())?;
        let status = self.0.wait().context(|| "waiting for the writer's end".into())?;
        // There is an exit code only if the writer had ended before.
        match status.code() {
            None => Ok(()),
            Some(_) => Err(Failure::new(format!("the writer gave up by itself: {status}"))),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
