//! One of the two backends: its stores, opened when they are first needed, and what a script has left of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{
    Capabilities, Clock as _, LoginTicket, ManualClock, ResumeToken, SystemClock, Timestamp,
};

use super::answer::Times;
use super::script::Step;
use super::{documents, revocations, users};
use crate::check::{CaseResult, Failure};
use crate::context::within_limit;
use crate::harness::{Handle, Harness, Setup};
use crate::watching::Watcher;

/// `close` waits up to 5 s for calls in flight; a script has none.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// What both sides can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) documents: bool,
    pub(super) users: bool,
    pub(super) revocations: bool,
    pub(super) watch: bool,
    pub(super) before: bool,
    /// Whether the clock of accounts is the script's. That of documents always is.
    pub(super) moves_users: bool,
    /// Whether that of revoked tokens is.
    pub(super) moves_revocations: bool,
}

impl Scope {
    /// Everything, for tests of scripts.
    #[cfg(test)]
    pub(super) const WHOLE: Self = Self {
        documents: true,
        users: true,
        revocations: true,
        watch: true,
        before: true,
        moves_users: true,
        moves_revocations: true,
    };

    pub(super) fn of(subject: &dyn Harness, reference: &dyn Harness) -> Self {
        let both = |store| Some((subject.capabilities(store)?, reference.capabilities(store)?));
        let all = |wanted: fn(&Capabilities) -> bool, store| {
            both(store).is_some_and(|(left, right)| wanted(&left) && wanted(&right))
        };
        Self {
            documents: both(StoreKind::Documents).is_some(),
            users: both(StoreKind::Users).is_some(),
            revocations: both(StoreKind::Revocations).is_some(),
            watch: all(|offered| offered.watch, StoreKind::Documents),
            before: all(|offered| offered.before, StoreKind::Documents),
            moves_users: all(|offered| offered.injected_clock, StoreKind::Users),
            moves_revocations: all(|offered| offered.injected_clock, StoreKind::Revocations),
        }
    }
}

impl Scope {
    /// Only these stores; all if there are none.
    pub(super) fn narrowed_to(self, stores: &[StoreKind]) -> Self {
        let wanted = |store| stores.is_empty() || stores.contains(&store);
        Self {
            documents: self.documents && wanted(StoreKind::Documents),
            users: self.users && wanted(StoreKind::Users),
            revocations: self.revocations && wanted(StoreKind::Revocations),
            ..self
        }
    }

    /// Whether the clock of `store` is the script's on both sides.
    pub(super) fn moves(&self, store: StoreKind) -> bool {
        match store {
            StoreKind::Users => self.moves_users,
            StoreKind::Revocations => self.moves_revocations,
            StoreKind::Documents => true,
        }
    }
}

/// The clocks that stores get which take one.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    /// Goes as the script says.
    pub(super) moved: ManualClock,
    /// Goes on a little with each step, for the side that takes a clock where the other has one of its own.
    pub(super) steady: ManualClock,
}

impl Clocks {
    pub(super) fn new() -> Self {
        let start = || ManualClock::starting_at(Setup::START_MS);
        Self { moved: start(), steady: start() }
    }

    fn of(&self, scope: &Scope, store: StoreKind) -> &ManualClock {
        if scope.moves(store) { &self.moved } else { &self.steady }
    }
}

/// The store that a step is about. [`Step::Advance`] and [`Step::Reopen`] are about all of them; what they answer is about documents.
pub(super) fn store_of(step: &Step) -> StoreKind {
    match step {
        Step::Advance { .. } | Step::Reopen => StoreKind::Documents,
        step if documents::is_about(step) => StoreKind::Documents,
        step if users::is_about(step) => StoreKind::Users,
        _ => StoreKind::Revocations,
    }
}

/// One backend in the middle of a script.
pub(super) struct Side {
    harness: Arc<dyn Harness>,
    clocks: Clocks,
    scope: Scope,
    fast_paths: bool,
    /// Makes the namespaces of this script, one per store.
    name: String,
    /// When the script began, by the clock of stores that have one of their own.
    own_start: Timestamp,
    open: HashMap<StoreKind, Arc<dyn Handle>>,
    /// Namespaces that came into being, by the store's name.
    namespaces: BTreeMap<&'static str, String>,
    pub(super) watcher: Option<Watcher>,
    /// The place behind the last event that was read.
    pub(super) token: Option<ResumeToken>,
    /// Events that are owed for writes so far.
    pub(super) owed: usize,
    pub(super) tickets: Vec<LoginTicket>,
}

impl Side {
    pub(super) fn new(
        harness: Arc<dyn Harness>,
        clocks: &Clocks,
        scope: Scope,
        fast_paths: bool,
    ) -> Self {
        let random = std::iter::repeat_with(|| fastrand::alphanumeric().to_ascii_lowercase());
        Self {
            harness,
            clocks: clocks.clone(),
            scope,
            fast_paths,
            name: random.take(12).collect(),
            own_start: SystemClock.now(),
            open: HashMap::new(),
            namespaces: BTreeMap::new(),
            watcher: None,
            token: None,
            owed: 0,
            tickets: Vec::new(),
        }
    }

    /// The answer to a step, as text.
    pub(super) async fn run(&mut self, step: &Step) -> CaseResult<String> {
        match step {
            Step::Advance { .. } => Ok(String::new()),
            Step::Reopen => self.reopen().await,
            step => match store_of(step) {
                StoreKind::Documents => documents::run(self, step).await,
                StoreKind::Users => users::run(self, step).await,
                StoreKind::Revocations => revocations::run(self, step).await,
            },
        }
    }

    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    /// Times are promised where the script's clock decides them.
    pub(super) fn times(&self, store: StoreKind) -> Times {
        if self.scope.moves(store) { Times::Promised } else { Times::Ordered }
    }

    /// So many seconds from the start of the script on, by the clock that a store judges by. It is the same whenever it is
    /// asked: a repeated step brings the same time.
    pub(super) fn at(&self, store: StoreKind, seconds: i64) -> Timestamp {
        let start = match self.offers(store).injected_clock {
            true => Setup::START_MS,
            false => self.own_start.as_milliseconds(),
        };
        Timestamp::from_milliseconds(start.saturating_add(seconds.saturating_mul(1000)))
    }

    /// The handle of a store, opened now if it was not needed before.
    pub(super) async fn handle(&mut self, store: StoreKind) -> CaseResult<Arc<dyn Handle>> {
        if let Some(handle) = self.open.get(&store) {
            return Ok(Arc::clone(handle));
        }
        let clock = self.clocks.of(&self.scope, store).clone();
        let setup = Setup { clock, fast_paths: self.fast_paths, ..Setup::new(store) };
        let namespace = format!("model_{}_{}", store.section(), self.name);
        self.namespaces.insert(store.section(), namespace.clone());
        let handle = self.harness.open(&namespace, &setup).await?;
        self.open.insert(store, Arc::clone(&handle));
        Ok(handle)
    }

    pub(super) fn offers(&self, store: StoreKind) -> Capabilities {
        self.harness.capabilities(store).unwrap_or(Capabilities::NONE)
    }

    async fn reopen(&mut self) -> CaseResult<String> {
        let events = documents::drain(self).await?;
        let keeping: Vec<_> =
            self.open.keys().copied().filter(|store| self.offers(*store).durable).collect();
        for store in keeping {
            if store == StoreKind::Documents {
                self.stop_watching();
            }
            self.close(store).await?;
        }
        Ok(events)
    }

    /// The next watch begins behind the last event, or now if a place does not outlive a close; nothing is owed then.
    fn stop_watching(&mut self) {
        self.watcher = None;
        if !self.offers(StoreKind::Documents).durable_watch {
            self.token = None;
        }
    }

    async fn close(&mut self, store: StoreKind) -> CaseResult {
        match self.open.remove(&store) {
            Some(handle) => Ok(within_limit(CLOSE_LIMIT, handle.close()).await??),
            None => Ok(()),
        }
    }

    pub(super) async fn drain_to_the_end(&mut self) -> CaseResult<String> {
        let events = documents::drain(self).await?;
        if let Some(watcher) = &mut self.watcher {
            watcher.bookmark().await?;
        }
        Ok(events)
    }

    /// Closes and removes everything.
    pub(super) async fn clean_up(&mut self) -> CaseResult {
        self.watcher = None;
        let mut result = Ok(());
        for store in StoreKind::ALL {
            result = result.and(self.close(store).await);
        }
        for namespace in std::mem::take(&mut self.namespaces).into_values() {
            result = result.and(self.harness.remove(&namespace).await.map_err(Failure::from));
        }
        result
    }
}
