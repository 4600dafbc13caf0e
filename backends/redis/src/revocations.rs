//! The revoked tokens of one server.

use async_trait::async_trait;
use redis::{
    ErrorKind as Kind, FromRedisValue, RedisResult, ServerErrorKind, Value, from_redis_value,
};
use syntrix_storage_core::backend::{
    CallContext, Canary, Insertion, RevocationBackend, RevocationRequest, Witnessed,
};
use syntrix_storage_core::{
    Capabilities, HealthReport, PurgeReport, Result, Revocation, RevokeOutcome, Timestamp, TokenId,
};

use crate::checks::Stored;
use crate::error::{damaged, from_redis};
use crate::facts::Facts;
use crate::marks::{self, parse_canary};
use crate::record;
use crate::route::Request;
use crate::script::{Change, Invocation};
use crate::store::{Lease, Store};
use crate::{KIND, keys};

/// One handle on the revoked tokens.
#[derive(Debug)]
pub(crate) struct Revocations {
    lease: Lease,
    canary: Canary,
    durable: bool,
}

/// What a change answers: time, mark, outcome, the record that stays.
type Changed = (i64, Stored, String, Stored);

impl Revocations {
    pub(crate) fn new(lease: Lease) -> Self {
        let (canary, durable) =
            lease.store().map_or((Canary([0; 16]), false), |store| (store.canary, store.durable));
        Self { lease, canary, durable }
    }

    async fn change(
        &self,
        change: Change,
        request: &RevocationRequest,
        context: &CallContext,
    ) -> Result<Changed> {
        let store = self.lease.store()?;
        let keys = store.keys.token(&request.token);
        let confirmed = store.changes.is_some();
        let invocation = store.scripts.change(change, &keys, request, confirmed);
        store.change(&invocation, context).await
    }
}

impl Store {
    /// Runs a script that changes something, and waits for replicas if they are to have it.
    pub(crate) async fn change<T: FromRedisValue>(
        &self,
        invocation: &Invocation<'_>,
        context: &CallContext,
    ) -> Result<T> {
        let Some(changes) = &self.changes else { return self.invoke(invocation, context).await };
        let mut answer = changes.make(invocation.by_digest(), context.deadline).await?;
        if is_unknown(&answer) {
            answer = changes.make(invocation.by_text(), context.deadline).await?;
        }
        parsed(answer)
    }

    /// Runs a script by its digest, and with its text where the server does not know it yet: then nothing was run.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &self,
        invocation: &Invocation<'_>,
        context: &CallContext,
    ) -> Result<T> {
        let by_digest = invocation.by_digest();
        let mut answer = self.link.answer(Request::Command(&by_digest), context.deadline).await?;
        if is_unknown(&answer) {
            let by_text = invocation.by_text();
            answer = self.link.answer(Request::Command(&by_text), context.deadline).await?;
        }
        parsed(answer)
    }
}

/// Whether the server does not know the script.
fn is_unknown(answer: &RedisResult<Value>) -> bool {
    let unknown = Kind::Server(ServerErrorKind::NoScript);
    answer.as_ref().is_err_and(|error| error.kind() == unknown)
}

fn parsed<T: FromRedisValue>(answer: RedisResult<Value>) -> Result<T> {
    answer.and_then(|answer| Ok(from_redis_value(answer)?)).map_err(|error| from_redis(&error))
}

pub(crate) fn decode(token: &TokenId, stored: Option<&[u8]>) -> Result<Option<Revocation>> {
    stored.map(|text| record::decode(token, text).ok_or_else(damaged)).transpose()
}

fn witnessed<T>(value: T, (now, canary, ..): &Changed) -> Witnessed<T> {
    let canary = parse_canary(canary.as_deref());
    Witnessed { value, now: Timestamp::from_milliseconds(*now), canary }
}

fn outcome(changed: &Changed) -> Result<Witnessed<RevokeOutcome>> {
    let outcome = match &*changed.2 {
        "inserted" => RevokeOutcome::Inserted,
        "tightened" => RevokeOutcome::Tightened,
        "unchanged" => RevokeOutcome::Unchanged,
        "expired" => RevokeOutcome::AlreadyExpired,
        _ => return Err(damaged()),
    };
    Ok(witnessed(outcome, changed))
}

#[async_trait]
impl RevocationBackend for Revocations {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::NONE;
        capabilities.durable = self.durable;
        capabilities.shared = true;
        capabilities
    }

    fn canary(&self) -> Canary {
        self.canary
    }

    async fn get(
        &self,
        token: &TokenId,
        context: &CallContext,
    ) -> Result<Witnessed<Option<Box<Revocation>>>> {
        self.lease.store()?.get(token, context).await
    }

    async fn get_many(
        &self,
        tokens: &[TokenId],
        context: &CallContext,
    ) -> Result<Witnessed<Vec<Option<Revocation>>>> {
        self.lease.store()?.get_many(tokens, context).await
    }

    async fn join(
        &self,
        request: RevocationRequest,
        context: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>> {
        outcome(&self.change(Change::Join, &request, context).await?)
    }

    async fn merge(
        &self,
        record: Revocation,
        context: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>> {
        let revoked_at = record.revoked_at;
        let request = RevocationRequest {
            token: record.token,
            immediate: record.immediate,
            expires_at: record.expires_at,
            keep_until: record.keep_until,
            reason: record.reason,
            subject: record.subject,
            family: record.family,
            successor: record.successor,
        };
        outcome(&self.change(Change::Merge(revoked_at), &request, context).await?)
    }

    async fn insert(
        &self,
        request: RevocationRequest,
        context: &CallContext,
    ) -> Result<Witnessed<Insertion>> {
        let changed = self.change(Change::Insert, &request, context).await?;
        let insertion = match &*changed.2 {
            "inserted" => Insertion::Inserted,
            "expired" => Insertion::AlreadyExpired,
            "present" => {
                let stored = decode(&request.token, changed.3.as_deref())?;
                Insertion::Present(stored.ok_or_else(damaged)?)
            }
            _ => return Err(damaged()),
        };
        Ok(witnessed(insertion, &changed))
    }

    async fn scan(
        &self,
        after: Option<&TokenId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<Revocation>> {
        self.lease.store()?.list(after, limit, context).await
    }

    /// The server removes a record itself when its time is over.
    async fn purge(&self, _: usize) -> Result<PurgeReport> {
        self.lease.store().map(|_| PurgeReport::default())
    }

    /// The keys are the index; what there is to verify are the marks.
    async fn ensure_indexes(&self) -> Result<()> {
        let store = self.lease.store()?;
        marks::verify(&store.link, &store.keys, store.canary).await
    }

    async fn health(&self) -> Result<HealthReport> {
        let store = self.lease.store()?;
        let nodes = store.link.facts().await?;
        marks::verify(&store.link, &store.keys, store.canary).await?;
        let fsync = store.fsync_policy().await;
        let nodes: Vec<_> = nodes.into_iter().map(|(_, facts)| facts).collect();
        let needed = store.link.replicas_needed();
        let report = report(&nodes, fsync.as_deref(), needed).with_fact("replicasNeeded", needed);
        Ok(report.with_fact("storeId", marks::hexadecimal(store.canary)))
    }

    async fn close(&self) -> Result<()> {
        self.lease.release();
        Ok(())
    }
}

impl Store {
    /// `always`, `everysec` or `no`, where the user may ask.
    async fn fsync_policy(&self) -> Option<String> {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg("appendfsync");
        let answer: Vec<String> = self.link.command(&ask, None).await.ok()?;
        answer.into_iter().nth(1)
    }
}

fn report(nodes: &[Facts], fsync: Option<&str>, replicas: usize) -> HealthReport {
    let ready = nodes.iter().all(|facts| {
        let writes = !facts.is("aof_last_write_status", "err");
        facts.is_primary() && writes && facts.replicas_in_touch() >= replicas
    });
    let evicted: u64 = nodes.iter().map(Facts::evicted_keys).sum();
    let first = |key| nodes.first().and_then(|facts| facts.get(key)).unwrap_or("unknown");
    let mut report = HealthReport::new(KIND, ready)
        .with_fact("durability", durability(nodes, fsync))
        .with_fact("role", if nodes.iter().all(Facts::is_primary) { "primary" } else { "replica" })
        .with_fact("release", first("redis_version"))
        .with_fact("buckets", keys::BUCKETS)
        .with_fact("evictedKeys", evicted);
    if nodes.len() > 1 {
        return report.with_fact("primaries", nodes.len());
    }
    for (name, key) in [
        ("replicas", "connected_slaves"),
        ("usedMemoryBytes", "used_memory"),
        ("maxMemoryBytes", "maxmemory"),
    ] {
        report = report.with_fact(name, first(key));
    }
    report
}

/// What an acknowledged revocation survives.
fn durability(nodes: &[Facts], fsync: Option<&str>) -> &'static str {
    if nodes.iter().any(Facts::evicts) {
        return "evicting";
    }
    if !nodes.iter().all(Facts::has_append_only_file) {
        return "none";
    }
    match fsync {
        Some("always") => "every write on disk",
        Some("everysec") => "a power cut may undo the last second",
        _ => "a power cut may undo the last writes",
    }
}
