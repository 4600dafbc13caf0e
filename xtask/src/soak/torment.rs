//! What a shadow goes through, in a thread of its own: writers die, stop and go on whatever the shadow is doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use syntrix_storage_fault_proxy::Fault;

use super::cluster::{Cluster, Kind, Strike};
use super::timing::now;
use crate::failure::{Failure, Result};

/// How long all is well before the next strike, in milliseconds.
const CALM_MS: std::ops::RangeInclusive<u64> = 1500..=3000;

/// Each so many strikes are followed by one that all of its servers feel.
const STRIKES_OF_ONE: usize = 3;

/// Longer than a mirrored write may take, and than an election.
const ALL_SECONDS: std::ops::RangeInclusive<u64> = 3..=7;

/// How late each piece is when it is slow: several times what a mirrored write takes.
const SLOW: Duration = Duration::from_millis(250);

/// A run of this length has a long cut, from a quarter of it on.
const LONG_RUN: Duration = Duration::from_secs(300);
const LONG_CUT: Duration = Duration::from_secs(120);

/// How often we look whether it is over.
const LOOK: Duration = Duration::from_millis(50);

type Ended = (Box<dyn Cluster>, Vec<Strike>);

/// A cluster that suffers until it is told otherwise. Dropped, it is gone.
pub(super) struct Torment {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Ended>>>,
    mended: Option<Box<dyn Cluster>>,
}

impl Torment {
    pub(super) fn start(cluster: Box<dyn Cluster>, seed: u64, lasts: Duration) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut suffering = Suffering {
            cluster,
            random: fastrand::Rng::with_seed(seed),
            over: Arc::clone(&over),
            begun: Instant::now(),
            cut_after: (lasts >= LONG_RUN).then_some(lasts / 4),
            strikes: Vec::new(),
        };
        let thread = std::thread::spawn(move || {
            suffering.until_over()?;
            Ok((suffering.cluster, suffering.strikes))
        });
        Self { over, thread: Some(thread), mended: None }
    }

    /// Ends it and tells what happened. Afterwards everything is whole.
    ///
    /// # Errors
    ///
    /// When something could not be done.
    pub(super) fn end(&mut self) -> Result<Vec<Strike>> {
        self.over.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(Vec::new()) };
        let ended = thread.join().map_err(|_| Failure::new("the shadow's torment panicked"))?;
        let (cluster, strikes) = ended?;
        self.mended = Some(cluster);
        Ok(strikes)
    }
}

impl Drop for Torment {
    fn drop(&mut self) {
        // Whoever gives it up has an error already.
        let _ = self.end();
    }
}

struct Suffering {
    cluster: Box<dyn Cluster>,
    random: fastrand::Rng,
    over: Arc<AtomicBool>,
    begun: Instant,
    /// When it is cut off for minutes, if that is still to come.
    cut_after: Option<Duration>,
    strikes: Vec<Strike>,
}

impl Suffering {
    fn until_over(&mut self) -> Result<()> {
        loop {
            let calm = Duration::from_millis(self.random.u64(CALM_MS));
            self.rest(calm);
            if self.is_over() {
                return self.cluster.mend();
            }
            let strike = self.strike()?;
            let away = Duration::from_micros(strike.accepted - strike.began).as_secs_f64();
            println!("  the shadow, {}: {away:.1} s away", strike.what);
            self.strikes.push(strike);
        }
    }

    fn strike(&mut self) -> Result<Strike> {
        if self.cut_after.is_some_and(|after| self.begun.elapsed() >= after) {
            self.cut_after = None;
            return Ok(self.all(Fault::BlackHole, LONG_CUT));
        }
        if (self.strikes.len() + 1).is_multiple_of(STRIKES_OF_ONE + 1) {
            let number = (self.strikes.len() + 1) / (STRIKES_OF_ONE + 1);
            let fault = [Fault::Delay(SLOW), Fault::BlackHole, Fault::Cut][number % 3];
            let lasts = Duration::from_secs(self.random.u64(ALL_SECONDS));
            return Ok(self.all(fault, lasts));
        }
        self.cluster.strike(&mut self.random)
    }

    /// All ways to it misbehave.
    fn all(&self, fault: Fault, lasts: Duration) -> Strike {
        let set = |fault| self.cluster.proxies().into_iter().for_each(|proxy| proxy.set(fault));
        let began = now();
        set(fault);
        self.rest(lasts);
        set(Fault::None);
        Strike {
            what: format!("{} on all ways", fault.name()),
            kind: Kind::Fault,
            began,
            accepted: now(),
            success_max: Duration::ZERO,
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// At most so long.
    fn rest(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.is_over() && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
    }
}
