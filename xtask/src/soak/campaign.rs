//! One campaign: writers and watchers at work, strikes in between, the reckoning in the end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::cluster::{Cluster, Strike};
use super::report::Report;
use super::timing::{Life, Successes, now};
use super::worker::{Worker, Workers};
use crate::failure::{Failure, Result};

/// Writing processes.
const WRITERS: usize = 2;

/// Watching processes: of everything, and of the one collection.
const WATCHERS: [Option<&str>; 2] = [None, Some("soak")];

/// A writer or a watcher is killed before a strike with this chance.
const KILL_ONE_IN: u32 = 4;

/// Longest until a writer has succeeded after a strike before the next one comes; what is later has failed anyway.
const SUCCESS_WAIT: Duration = Duration::from_secs(9);

/// A run on one cluster.
pub(super) struct Campaign {
    workers: Workers,
    random: fastrand::Rng,
    hurried: bool,
    writers: Vec<Worker>,
    watchers: Vec<Worker>,
    lives: Vec<Life>,
    strikes: Vec<Strike>,
    kills: usize,
    started: usize,
}

impl Campaign {
    /// Starts nothing yet.
    pub(super) fn new(
        program: &Path,
        folder: &Path,
        configuration: String,
        seed: u64,
    ) -> Result<Self> {
        Ok(Self {
            workers: Workers::new(program, folder, &configuration)?,
            random: fastrand::Rng::with_seed(seed),
            hurried: false,
            writers: Vec::new(),
            watchers: Vec::new(),
            lives: Vec::new(),
            strikes: Vec::new(),
            kills: 0,
            started: 0,
        })
    }

    /// Strikes until the time is over and holds everything against everything.
    ///
    /// # Errors
    ///
    /// When something cannot be started or read, or a process gave up.
    pub(super) fn run(&mut self, cluster: &mut dyn Cluster, lasts: Duration) -> Result<Report> {
        let begun = Instant::now();
        self.hurried = cluster.kills_writers();
        for _ in 0..WRITERS {
            self.start_writer()?;
        }
        for number in 0..self.watchers_wanted(cluster) {
            self.watchers.push(self.start_watcher(number)?);
        }
        while begun.elapsed() < lasts {
            self.calm(cluster);
            if cluster.kills_writers() {
                self.kill_writer()?;
                self.kill_somebody()?;
            } else {
                self.kill_somebody()?;
                self.strike(cluster)?;
            }
        }
        cluster.mend()?;
        self.calm(cluster);
        self.reckon()
    }

    /// Revocations alone have no changes to watch.
    fn watchers_wanted(&self, cluster: &dyn Cluster) -> usize {
        if cluster.configuration().contains("document:") { WATCHERS.len() } else { 0 }
    }

    fn calm(&mut self, cluster: &dyn Cluster) {
        std::thread::sleep(Duration::from_millis(self.random.u64(cluster.calm_ms())));
    }

    fn start_writer(&mut self) -> Result<()> {
        let name = format!("writer-{}", self.started);
        self.started += 1;
        let seed = self.random.u64(..);
        self.writers.push(self.workers.writer(&name, seed, self.hurried)?);
        Ok(())
    }

    fn start_watcher(&self, number: usize) -> Result<Worker> {
        self.workers.watcher(&format!("watcher-{number}"), WATCHERS[number])
    }

    fn kill_somebody(&mut self) -> Result<()> {
        match self.random.u32(..KILL_ONE_IN) {
            0 if !self.watchers.is_empty() => self.kill_watcher(),
            1 => self.kill_writer(),
            _ => Ok(()),
        }
    }

    fn kill_writer(&mut self) -> Result<()> {
        self.kills += 1;
        let writer = self.writers.remove(self.random.usize(..self.writers.len()));
        let (started, ended) = (writer.started, now());
        let journal = writer.kill()?;
        self.lives.push(Life { journal, started, ended });
        self.start_writer()
    }

    fn kill_watcher(&mut self) -> Result<()> {
        self.kills += 1;
        let number = self.random.usize(..self.watchers.len());
        self.watchers.remove(number).kill()?;
        let again = self.start_watcher(number)?;
        self.watchers.insert(number, again);
        Ok(())
    }

    fn strike(&mut self, cluster: &mut dyn Cluster) -> Result<()> {
        let strike = cluster.strike(&mut self.random)?;
        self.writers.iter_mut().chain(&mut self.watchers).try_for_each(Worker::must_run)?;
        // The next one must not come before this one is over for the writers, nor must a writer be killed.
        std::thread::sleep(strike.success_max.min(SUCCESS_WAIT));
        println!(
            "  {}: {:.1} s away",
            strike.what,
            Duration::from_micros(strike.accepted - strike.began).as_secs_f64()
        );
        self.strikes.push(strike);
        Ok(())
    }

    fn reckon(&mut self) -> Result<Report> {
        for writer in std::mem::take(&mut self.writers) {
            let started = writer.started;
            let ended = now();
            let journal = writer.end()?;
            self.lives.push(Life { journal, started, ended });
        }
        self.workers.finish()?;
        let mut watched = Vec::new();
        for watcher in std::mem::take(&mut self.watchers) {
            watched.push(watcher.ended()?);
        }
        let journals: Vec<PathBuf> = self.lives.iter().map(|life| life.journal.clone()).collect();
        let found = self.workers.verify(&journals, &watched)?;
        let successes = self.lives.iter().map(Successes::of).collect::<Result<Vec<_>>>()?;
        let report = Report::new(&found, &self.strikes, &successes, self.kills)?;
        if report.is_empty() {
            return Err(Failure::new("nothing was acknowledged: nothing is proven"));
        }
        Ok(report)
    }
}
