//! The rules in force, and what they do to a call.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};

use super::rule::{Call, Fault, FaultRule};

/// The rules that wrapped backends ask. Clones share them, so a test keeps one and changes the rules while calls run.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rules: Vec<FaultRule>,
    rng: Rng,
    injected: u64,
}

/// A fault that a call meets.
#[derive(Clone, Copy)]
pub(super) struct Met {
    pub(super) fault: Fault,
    error: ErrorKind,
}

impl Faults {
    /// No rule yet; chances are drawn from `seed`.
    pub fn seeded(seed: u64) -> Self {
        let rng = Rng::with_seed(seed);
        Self(Arc::new(Mutex::new(State { rules: Vec::new(), rng, injected: 0 })))
    }

    /// Adds a rule behind those that are there. It counts calls from now on.
    pub fn add(&self, rule: FaultRule) {
        self.state().rules.push(rule);
    }

    /// Takes all rules away. Calls that hang already go on hanging.
    pub fn heal(&self) {
        self.state().rules.clear();
    }

    /// How many calls met a fault so far: a test that expects some checks that there were any.
    pub fn injected(&self) -> u64 {
        self.state().injected
    }

    /// What the first fitting rule says about a call.
    pub(super) fn meet(&self, call: &Call<'_>) -> Option<Met> {
        let mut state = self.state();
        let State { rules, rng, injected } = &mut *state;
        let met = rules.iter_mut().find_map(|rule| {
            let fault = rule.judge(call, rng)?;
            Some(Met { fault, error: rule.error() })
        });
        *injected += u64::from(met.is_some());
        met
    }

    /// Does `work`, or what a rule makes of it.
    pub(super) async fn run<T>(
        &self,
        call: Call<'_>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(met) = self.meet(&call) else { return work.await };
        met.delay().await;
        if met.is_before() {
            return Err(met.stop().await);
        }
        let answer = work.await;
        if met.is_after() { Err(met.stop().await) } else { answer }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Met {
    /// Whether the work is not done at all.
    pub(super) fn is_before(&self) -> bool {
        matches!(self.fault, Fault::FailBefore | Fault::Hang)
    }

    /// Whether the work is done and its answer lost.
    pub(super) fn is_after(&self) -> bool {
        matches!(self.fault, Fault::FailAfter | Fault::HangAfter)
    }

    pub(super) async fn delay(&self) {
        if let Fault::Delay(delay) = self.fault {
            tokio::time::sleep(delay).await;
        }
    }

    /// The error instead of an answer, or no end.
    pub(super) async fn stop(&self) -> Error {
        if matches!(self.fault, Fault::Hang | Fault::HangAfter) {
            std::future::pending::<()>().await;
        }
        self.error()
    }

    /// What was not begun is safe to repeat; nobody knows about what was.
    fn error(&self) -> Error {
        let error = Error::new(self.error, "").with_message("a fault that a test asked for");
        match self.is_before() {
            true => error.with_retry(Retry::Safe),
            false => error.with_retry(Retry::IfIdempotent),
        }
    }
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::backend::StoreKind;

    use super::super::Method;
    use super::*;

    fn write<'keys>(keys: &'keys [&'keys str]) -> Call<'keys> {
        Call { store: StoreKind::Documents, method: Method::Write, keys }
    }

    /// Which of `count` calls about `key` meet a fault.
    fn met(faults: &Faults, key: &str, count: usize) -> Vec<bool> {
        (0..count).map(|_| faults.meet(&write(&[key])).is_some()).collect()
    }

    #[test]
    fn a_rule_counts_only_the_calls_that_fit() {
        let faults = Faults::seeded(0);
        faults.add(FaultRule::new(Fault::Hang).at(Method::Write).about("a/1").nth(2));
        assert_eq!(met(&faults, "a/2", 3), [false; 3]);
        assert_eq!(met(&faults, "a/1", 3), [false, true, false]);
        assert_eq!(faults.injected(), 1);
    }

    #[test]
    fn a_rule_of_another_store_or_method_does_not_fit() {
        let faults = Faults::seeded(0);
        faults.add(FaultRule::new(Fault::Hang).of(StoreKind::Users));
        faults.add(FaultRule::new(Fault::Hang).at(Method::Get));
        assert_eq!(met(&faults, "a/1", 2), [false; 2]);
    }

    #[test]
    fn every_and_times_are_counted_together() {
        let faults = Faults::seeded(0);
        faults.add(FaultRule::new(Fault::FailBefore).every(2).times(2));
        assert_eq!(met(&faults, "a/1", 7), [false, true, false, true, false, false, false]);
    }

    #[test]
    fn chances_are_repeated_by_their_seed() {
        let draw = |seed| {
            let faults = Faults::seeded(seed);
            faults.add(FaultRule::new(Fault::FailAfter).with_chance(0.5));
            met(&faults, "a/1", 64)
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn healed_faults_are_over() {
        let faults = Faults::seeded(0);
        faults.add(FaultRule::new(Fault::FailBefore));
        faults.heal();
        assert_eq!(met(&faults, "a/1", 2), [false; 2]);
    }
}
