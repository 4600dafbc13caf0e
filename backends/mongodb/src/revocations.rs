//! The revoked tokens of one database.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::{Bson, DateTime, Document, doc};
use syntrix_storage_core::backend::{
    CallContext, Canary, Insertion, RevocationBackend, RevocationChange, RevocationRequest,
    Witnessed,
};
use syntrix_storage_core::{
    Capabilities, Consistency, Error, ErrorKind, HealthReport, PurgeReport, Result, Revocation,
    RevokeOutcome, Timestamp, TokenId,
};

use crate::account::{integer, optional_text};
use crate::calls::Limit;
use crate::error::{damaged, from_driver, is_duplicate};
use crate::schema::WITNESS;
use crate::settings::REVOCATIONS;
use crate::store::{Lease, Store};
use crate::witness::Read;
use crate::{KIND, catalogue, maintenance, witness};

/// Two that write one token at once meet again; the one that loses reads and decides anew.
const ATTEMPTS_MAX: usize = 100;

/// One handle on the revoked tokens.
#[derive(Debug)]
pub(crate) struct Revocations {
    lease: Lease,
    mark: Canary,
}

impl Revocations {
    pub(crate) fn new(lease: Lease, mark: Canary) -> Self {
        Self { lease, mark }
    }

    fn limit(&self, context: &CallContext) -> Limit {
        Limit::new(context, self.lease.known().operation_timeout)
    }

    async fn change<T: Send + 'static>(
        &self,
        change: RevocationChange<T>,
        context: &CallContext,
    ) -> Result<Witnessed<T>> {
        let (store, limit) = (Arc::clone(self.lease.store()?), self.limit(context));
        limit.run(async move { apply(&store, &change, limit).await }).await
    }
}

fn revocations(store: &Store) -> Collection<Document> {
    store.database.collection(REVOCATIONS)
}

fn witnessed<T>(store: &Store, read: &Read, value: T) -> Witnessed<T> {
    Witnessed { value, now: read.now(&*store.clock), canary: read.canary() }
}

#[async_trait]
impl RevocationBackend for Revocations {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn capabilities(&self) -> Capabilities {
        crate::identity_capabilities()
    }

    fn canary(&self) -> Canary {
        self.mark
    }

    async fn get(
        &self,
        token: &TokenId,
        context: &CallContext,
    ) -> Result<Witnessed<Option<Box<Revocation>>>> {
        let (store, limit) = (self.lease.store()?, self.limit(context));
        let read = limit.wait(find(store, &[token], limit)).await?;
        let value = read.records.first().map(record).transpose()?;
        Ok(witnessed(store, &read, value.map(Box::new)))
    }

    async fn get_many(
        &self,
        tokens: &[TokenId],
        context: &CallContext,
    ) -> Result<Witnessed<Vec<Option<Revocation>>>> {
        let (store, limit) = (self.lease.store()?, self.limit(context));
        let asked: Vec<&TokenId> = tokens.iter().collect();
        let read = limit.wait(find(store, &asked, limit)).await?;
        let found = read.records.iter().map(record).collect::<Result<Vec<_>>>()?;
        let found: std::collections::HashMap<_, _> =
            found.into_iter().map(|record| (record.token.clone(), record)).collect();
        let value = tokens.iter().map(|token| found.get(token).cloned()).collect();
        Ok(witnessed(store, &read, value))
    }

    async fn join(
        &self,
        request: RevocationRequest,
        context: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>> {
        self.change(RevocationChange::join(request), context).await
    }

    async fn insert(
        &self,
        request: RevocationRequest,
        context: &CallContext,
    ) -> Result<Witnessed<Insertion>> {
        self.change(RevocationChange::insert(request), context).await
    }

    async fn merge(
        &self,
        record: Revocation,
        context: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>> {
        self.change(RevocationChange::merge(record), context).await
    }

    async fn scan(
        &self,
        after: Option<&TokenId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<Revocation>> {
        let (store, time) = (self.lease.store()?, self.limit(context));
        // Every token stands behind the record with the mark: it has no control character.
        let behind = doc! { "_id": { "$gt": after.map_or(WITNESS, TokenId::as_str) } };
        let records = revocations(store);
        let find = records.find(behind).sort(doc! { "_id": 1 }).limit(limit as i64);
        let find = find.max_time(time.left());
        let read = async { find.await?.try_collect::<Vec<Document>>().await };
        let found = time.wait(async { read.await.map_err(|error| from_driver(&error)) }).await?;
        found.iter().map(record).collect()
    }

    /// The server removes expired records by itself once a minute; this does it at once.
    async fn purge(&self, limit: usize) -> Result<PurgeReport> {
        let store = Arc::clone(self.lease.store()?);
        let time = Limit::within(store.operation_timeout);
        let purge = async move {
            let now = find(&store, &[], time).await?.now(&*store.clock);
            let expired = doc! { "keepUntil": { "$lte": now.as_milliseconds() } };
            maintenance::purge_batch(&store.database, REVOCATIONS, &expired, limit).await
        };
        time.run(purge).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        catalogue::ensure_revocations(&self.lease.store()?.database).await
    }

    async fn health(&self) -> Result<HealthReport> {
        let store = self.lease.store()?;
        let limit = Limit::within(store.operation_timeout);
        limit.wait(maintenance::with_count(store, REVOCATIONS, "revocations")).await
    }

    async fn close(&self) -> Result<()> {
        self.lease.release().await
    }
}

async fn find(store: &Store, tokens: &[&TokenId], limit: Limit) -> Result<Read> {
    let ids: Vec<&str> = tokens.iter().map(|token| token.as_str()).collect();
    let filter = doc! { "_id": { "$in": ids } };
    witness::read(&revocations(store), filter, Consistency::default(), limit).await
}

/// Reads, decides, and stores under the condition that nothing was stored meanwhile.
async fn apply<T>(
    store: &Store,
    change: &RevocationChange<T>,
    limit: Limit,
) -> Result<Witnessed<T>> {
    for _ in 0..ATTEMPTS_MAX {
        let read = find(store, &[change.token()], limit).await?;
        let stored = read.records.first();
        let current = stored.map(record).transpose()?;
        let (value, next) = change.decide(current.as_ref(), read.now(&*store.clock));
        let Some(next) = next else { return Ok(witnessed(store, &read, value)) };
        if put(store, stored, &next).await? {
            return Ok(witnessed(store, &read, value));
        }
    }
    Err(Error::new(ErrorKind::Conflict, "")
        .with_message("the record changed under every attempt; try again"))
}

async fn put(store: &Store, stored: Option<&Document>, next: &Revocation) -> Result<bool> {
    let collection = revocations(store);
    let Some(stored) = stored else {
        return match collection.insert_one(encode(next, 1)).await {
            Ok(_) => Ok(true),
            Err(error) if is_duplicate(&error) => Ok(false),
            Err(error) => Err(from_driver(&error)),
        };
    };
    let writes = integer(stored, "writes")?;
    let filter = doc! { "_id": next.token.as_str(), "writes": { "$eq": writes } };
    let replaced = collection.replace_one(filter, encode(next, writes + 1)).await;
    Ok(replaced.map_err(|error| from_driver(&error))?.matched_count == 1)
}

fn encode(record: &Revocation, writes: i64) -> Document {
    let keep_until = record.keep_until.as_milliseconds();
    doc! {
        "_id": record.token.as_str(),
        "revokedAt": record.revoked_at.as_milliseconds(),
        "immediate": record.immediate,
        "expiresAt": record.expires_at.as_milliseconds(),
        "keepUntil": keep_until,
        // Rows whose time is no date are never removed by the server.
        "purgeAt": DateTime::from_millis(keep_until),
        "reason": record.reason.as_deref(),
        "subject": record.subject.as_deref(),
        "family": record.family.as_deref(),
        "successor": record.successor.as_ref().map(TokenId::as_str),
        "writes": writes,
    }
}

fn record(stored: &Document) -> Result<Revocation> {
    let time = |field| integer(stored, field).map(Timestamp::from_milliseconds);
    let token = |field: &str| match stored.get(field) {
        Some(Bson::String(text)) => TokenId::parse(text).map(Some).map_err(|_| damaged()),
        Some(Bson::Null) => Ok(None),
        _ => Err(damaged()),
    };
    Ok(Revocation {
        token: token("_id")?.ok_or_else(damaged)?,
        revoked_at: time("revokedAt")?,
        immediate: stored.get_bool("immediate").map_err(|_| damaged())?,
        expires_at: time("expiresAt")?,
        keep_until: time("keepUntil")?,
        reason: optional_text(stored, "reason"),
        subject: optional_text(stored, "subject"),
        family: optional_text(stored, "family"),
        successor: token("successor")?,
    })
}
