//! One campaign: writers and watchers at work, strikes in between, the reckoning in the end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::report::{Report, Suffered};
use super::timing::{Life, Successes, now};
use super::worker::{Worker, Workers};
use crate::failure::{Failure, Result};

/// Writing processes, and how many of them there are with a shadow.
const WRITERS: usize = 2;
const WRITERS_ROUTED: usize = 4;

/// Watching processes: of everything, and of the one collection.
const WATCHERS: [Option<&str>; 2] = [None, Some("soak")];

/// A writer or a watcher is killed before a strike with this chance.
const KILL_ONE_IN: u32 = 4;

/// With a shadow a process is stopped before a strike with this chance, and with this one where strikes are many.
const STOP_ONE_IN: u32 = 3;
const STOP_ONE_IN_MANY: u32 = 10;

/// Longer than a lease.
const STOPPED: Duration = Duration::from_millis(1500);

/// How long the others may still feel what a stopped process held.
const AFTER_STOP: Duration = Duration::from_secs(1);

/// How often we look whether somebody has died.
const LOOK: Duration = Duration::from_millis(50);

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
    suffered: Suffered,
    started: usize,
}

impl Campaign {
    /// Starts nothing yet.
    pub(super) fn new(
        program: &Path,
        folder: &Path,
        cluster: &dyn Cluster,
        seed: u64,
    ) -> Result<Self> {
        Ok(Self {
            workers: Workers::new(program, folder, cluster)?,
            random: fastrand::Rng::with_seed(seed),
            hurried: cluster.hurries_writers(),
            writers: Vec::new(),
            watchers: Vec::new(),
            lives: Vec::new(),
            suffered: Suffered::default(),
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
        let writers = if self.workers.is_routed() { WRITERS_ROUTED } else { WRITERS };
        for _ in 0..writers {
            self.start_writer()?;
        }
        for number in 0..self.watchers_wanted(cluster) {
            self.watchers.push(self.start_watcher(number)?);
        }
        while begun.elapsed() < lasts {
            self.calm(cluster)?;
            self.stop_somebody(cluster)?;
            if cluster.kills_writers() {
                self.kill_writer()?;
                self.kill_somebody()?;
            } else {
                self.kill_somebody()?;
                self.strike(cluster)?;
            }
        }
        cluster.mend()?;
        self.suffered.shadow = cluster.end_shadow_torment()?;
        self.calm(cluster)?;
        self.reckon()
    }

    /// Revocations alone have no changes to watch.
    fn watchers_wanted(&self, cluster: &dyn Cluster) -> usize {
        if cluster.configuration().contains("document:") { WATCHERS.len() } else { 0 }
    }

    fn calm(&mut self, cluster: &dyn Cluster) -> Result<()> {
        let calm = Duration::from_millis(self.random.u64(cluster.calm_ms()));
        self.rest(calm)
    }

    /// Waits, and replaces who dies meanwhile.
    fn rest(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            self.replace_dead()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// Writers die between the two writes; a watcher has no reason to.
    fn replace_dead(&mut self) -> Result<()> {
        for watcher in &mut self.watchers {
            watcher.has_died()?;
        }
        for number in (0..self.writers.len()).rev() {
            if self.writers[number].has_died()? {
                let died = self.writers.remove(number);
                self.suffered.died += 1;
                self.lives.push(Life::until_last_line(&died.journal, died.started));
                self.start_writer()?;
            }
        }
        Ok(())
    }

    /// One of those who may hold the replicator's lease.
    fn stop_somebody(&mut self, cluster: &dyn Cluster) -> Result<()> {
        let one_in = if cluster.kills_writers() { STOP_ONE_IN_MANY } else { STOP_ONE_IN };
        if !self.workers.is_routed() || self.random.u32(..one_in) > 0 {
            return Ok(());
        }
        let all: Vec<_> = self.writers.iter().chain(&self.watchers).collect();
        let one = all[self.random.usize(..all.len())];
        let began = now();
        one.stop()?;
        std::thread::sleep(STOPPED);
        one.go_on()?;
        self.suffered.stops.push((began, now() + AFTER_STOP.as_micros() as u64));
        Ok(())
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
        self.replace_dead()?;
        self.suffered.kills += 1;
        let writer = self.writers.remove(self.random.usize(..self.writers.len()));
        let (started, ended) = (writer.started, now());
        let journal = writer.kill()?;
        self.lives.push(Life { journal, started, ended });
        self.start_writer()
    }

    fn kill_watcher(&mut self) -> Result<()> {
        self.suffered.kills += 1;
        let number = self.random.usize(..self.watchers.len());
        self.watchers.remove(number).kill()?;
        let again = self.start_watcher(number)?;
        self.watchers.insert(number, again);
        Ok(())
    }

    fn strike(&mut self, cluster: &mut dyn Cluster) -> Result<()> {
        let strike = cluster.strike(&mut self.random)?;
        // The next one must not come before this one is over for the writers, nor must a writer be killed.
        self.rest(strike.success_max.min(SUCCESS_WAIT))?;
        println!(
            "  {}: {:.1} s away",
            strike.what,
            Duration::from_micros(strike.accepted - strike.began).as_secs_f64()
        );
        self.suffered.strikes.push(strike);
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
        let report = Report::new(&found, &self.suffered, &successes)?;
        if report.is_empty() {
            return Err(Failure::new("nothing was acknowledged: nothing is proven"));
        }
        Ok(report)
    }
}
