//! The revoked tokens of a namespace: one map under one lock, and an order by the end of their time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    CallContext, Canary, Insertion, RevocationBackend, RevocationChange, RevocationRequest,
    Witnessed,
};
use syntrix_storage_core::{
    Capabilities, Clock, HealthReport, PurgeReport, Result, Revocation, RevokeOutcome, Timestamp,
    TokenId,
};

use crate::connect::{Data, Handle};

/// The records and the mark beside them.
#[derive(Debug)]
pub(crate) struct RevocationTable {
    canary: Canary,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    records: HashMap<TokenId, Revocation>,
    ends: BTreeSet<(Timestamp, TokenId)>,
}

impl RevocationTable {
    pub(crate) fn new(canary: Canary) -> Self {
        Self { canary, state: RwLock::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn store(&mut self, record: Option<Revocation>) {
        let Some(record) = record else { return };
        self.ends.insert((record.keep_until, record.token.clone()));
        let token = record.token.clone();
        let (end, previous) = (record.keep_until, self.records.insert(token.clone(), record));
        if let Some(previous) = previous.filter(|previous| previous.keep_until != end) {
            self.ends.remove(&(previous.keep_until, token));
        }
    }

    fn purge(&mut self, now: Timestamp, limit: usize) -> PurgeReport {
        let mut purged = 0;
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            if purged == limit {
                return PurgeReport { purged, more: true };
            }
            if let Some((_, token)) = self.ends.pop_first() {
                self.records.remove(&token);
                purged += 1;
            }
        }
        PurgeReport { purged, more: false }
    }
}

/// One handle on the revoked tokens.
#[derive(Debug)]
pub(crate) struct MemoryRevocations {
    data: Handle,
    canary: Canary,
    clock: Arc<dyn Clock>,
}

impl MemoryRevocations {
    pub(crate) fn new(data: Arc<Data>, clock: Arc<dyn Clock>) -> Self {
        let canary = data.revocations.canary;
        Self { data: Handle::new(data), canary, clock }
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<Witnessed<T>> {
        let data = self.data.get()?;
        let state = data.revocations.read();
        let canary = Some(data.revocations.canary);
        Ok(Witnessed { value: read(&state), now: self.clock.now(), canary })
    }

    /// Decides and stores under one lock.
    fn change<T>(&self, change: RevocationChange<T>) -> Result<Witnessed<T>> {
        let data = self.data.get()?;
        let mut state = data.revocations.lock();
        let now = self.clock.now();
        let (value, record) = change.decide(state.records.get(change.token()), now);
        state.store(record);
        Ok(Witnessed { value, now, canary: Some(data.revocations.canary) })
    }
}

#[async_trait]
impl RevocationBackend for MemoryRevocations {
    fn kind(&self) -> &'static str {
        crate::KIND
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::NONE;
        capabilities.injected_clock = true;
        capabilities
    }

    fn canary(&self) -> Canary {
        self.canary
    }

    async fn get(
        &self,
        token: &TokenId,
        _: &CallContext,
    ) -> Result<Witnessed<Option<Box<Revocation>>>> {
        self.read(|state| state.records.get(token).cloned().map(Box::new))
    }

    async fn get_many(
        &self,
        tokens: &[TokenId],
        _: &CallContext,
    ) -> Result<Witnessed<Vec<Option<Revocation>>>> {
        self.read(|state| tokens.iter().map(|token| state.records.get(token).cloned()).collect())
    }

    async fn join(
        &self,
        request: RevocationRequest,
        _: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>> {
        self.change(RevocationChange::join(request))
    }

    async fn insert(
        &self,
        request: RevocationRequest,
        _: &CallContext,
    ) -> Result<Witnessed<Insertion>> {
        self.change(RevocationChange::insert(request))
    }

    async fn merge(&self, record: Revocation, _: &CallContext) -> Result<Witnessed<RevokeOutcome>> {
        self.change(RevocationChange::merge(record))
    }

    async fn scan(
        &self,
        after: Option<&TokenId>,
        limit: usize,
        _: &CallContext,
    ) -> Result<Vec<Revocation>> {
        let behind = |record: &&Revocation| after.is_none_or(|after| record.token > *after);
        let select = |state: &State| {
            let mut found: Vec<_> = state.records.values().filter(behind).cloned().collect();
            found.sort_unstable_by(|left, right| left.token.cmp(&right.token));
            found.truncate(limit);
            found
        };
        Ok(self.read(select)?.value)
    }

    async fn purge(&self, limit: usize) -> Result<PurgeReport> {
        let data = self.data.get()?;
        let report = data.revocations.lock().purge(self.clock.now(), limit);
        Ok(report)
    }

    /// The maps are the indexes.
    async fn ensure_indexes(&self) -> Result<()> {
        self.data.get().map(drop)
    }

    async fn health(&self) -> Result<HealthReport> {
        let records = self.read(|state| state.records.len())?.value;
        let report = HealthReport::new(crate::KIND, true);
        Ok(report.with_fact("durability", "none").with_fact("revocations", records))
    }

    async fn close(&self) -> Result<()> {
        self.data.release();
        Ok(())
    }
}
