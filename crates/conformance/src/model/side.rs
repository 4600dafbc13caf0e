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
    /// Whether the clock of every store is the script's. That of documents always is.
    pub(super) moves_time: bool,
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
        moves_time: true,
    };

    pub(super) fn of(subject: &dyn Harness, reference: &dyn Harness) -> Self {
        let both = |store| Some((subject.capabilities(store)?, reference.capabilities(store)?));
        let all = |wanted: fn(&Capabilities) -> bool, store| {
            both(store).is_some_and(|(left, right)| wanted(&left) && wanted(&right))
        };
        let moves = |store| both(store).is_none() || all(|offered| offered.injected_clock, store);
        Self {
            documents: both(StoreKind::Documents).is_some(),
            users: both(StoreKind::Users).is_some(),
            revocations: both(StoreKind::Revocations).is_some(),
            watch: all(|offered| offered.watch, StoreKind::Documents),
            before: all(|offered| offered.before, StoreKind::Documents),
            moves_time: moves(StoreKind::Users) && moves(StoreKind::Revocations),
        }
    }
}

/// One backend in the middle of a script.
pub(super) struct Side {
    harness: Arc<dyn Harness>,
    clock: ManualClock,
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
        clock: &ManualClock,
        scope: Scope,
        fast_paths: bool,
    ) -> Self {
        let random = std::iter::repeat_with(|| fastrand::alphanumeric().to_ascii_lowercase());
        Self {
            harness,
            clock: clock.clone(),
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
            step if documents::is_about(step) => documents::run(self, step).await,
            step if users::is_about(step) => users::run(self, step).await,
            step => revocations::run(self, step).await,
        }
    }

    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    /// Times of documents are always the script's; those of other stores where it moves them.
    pub(super) fn times(&self, store: StoreKind) -> Times {
        Times(store == StoreKind::Documents || self.scope.moves_time)
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
        let setup =
            Setup { clock: self.clock.clone(), fast_paths: self.fast_paths, ..Setup::new(store) };
        let namespace = format!("model_{}_{}", store.section(), self.name);
        self.namespaces.insert(store.section(), namespace.clone());
        let handle = self.harness.open(&namespace, &setup).await?;
        self.open.insert(store, Arc::clone(&handle));
        Ok(handle)
    }

    fn offers(&self, store: StoreKind) -> Capabilities {
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
