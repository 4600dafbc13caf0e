//! The revoked tokens of one file.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use syntrix_storage_core::backend::{
    CallContext, Canary, Insertion, RevocationBackend, RevocationChange, RevocationRequest,
    Witnessed,
};
use syntrix_storage_core::{
    Capabilities, Clock, HealthReport, PurgeReport, Result, Revocation, RevokeOutcome, Timestamp,
    TokenId,
};

use crate::error::{damaged, from_sqlite};
use crate::group::{Change, Group, Outcome};
use crate::readers::Snapshot;
use crate::store::Lease;
use crate::{KIND, catalogue, maintenance};

/// Kept short: the statement cache hashes the text on every read.
const GET: &str = "SELECT revoked_at,immediate,expires_at,keep_until,reason,subject,family,successor \
    FROM revocations WHERE token=?1";
const SCAN: &str = "SELECT revoked_at,immediate,expires_at,keep_until,reason,subject,family,successor,token \
    FROM revocations WHERE token > ?1 ORDER BY token LIMIT ?2";
const INSERT: &str = "INSERT INTO revocations \
    (token,revoked_at,immediate,expires_at,keep_until,reason,subject,family,successor) \
    VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)";
const UPDATE: &str = "UPDATE revocations SET revoked_at=?2,immediate=?3,expires_at=?4,keep_until=?5,\
    reason=?6,subject=?7,family=?8,successor=?9 WHERE token=?1";
const REMOVE: &str = "DELETE FROM revocations WHERE token=?1";
const PURGE: &str = "DELETE FROM revocations WHERE token IN \
    (SELECT token FROM revocations WHERE keep_until <= ?1 ORDER BY keep_until LIMIT ?2)";
const MORE: &str = "SELECT EXISTS (SELECT 1 FROM revocations WHERE keep_until <= ?1)";

/// One handle on the revoked tokens.
#[derive(Debug)]
pub(crate) struct Revocations {
    lease: Lease,
    canary: Canary,
    clock: Arc<dyn Clock>,
}

impl Revocations {
    pub(crate) fn new(lease: Lease, canary: Canary, clock: Arc<dyn Clock>) -> Self {
        Self { lease, canary, clock }
    }

    /// A file that is open cannot lose its rows, so the mark is the one it was opened with.
    fn witnessed<T>(&self, value: T, now: Timestamp) -> Witnessed<T> {
        Witnessed { value, now, canary: Some(self.canary) }
    }

    async fn change<T: Send + 'static>(
        &self,
        change: RevocationChange<T>,
        context: &CallContext,
    ) -> Result<Witnessed<T>> {
        let writer = &self.lease.store()?.writer;
        let (value, now) = writer.write_one(change, context.deadline).await?;
        Ok(self.witnessed(value, now))
    }
}

impl<T: Send + 'static> Change for RevocationChange<T> {
    type Answer = (T, Timestamp);

    fn apply(&self, group: &mut Group<'_>) -> Outcome<Self::Answer> {
        let (connection, now) = (group.connection(), group.now());
        let stored = match find(connection, self.token())? {
            Ok(stored) => stored,
            Err(error) => return Ok(Err(error)),
        };
        let (value, next) = self.decide(stored.as_deref(), now);
        if let Some(next) = next {
            store(connection, stored.as_deref(), &next, now)?;
        }
        Ok(Ok((value, now)))
    }
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
        self.canary
    }

    async fn get(
        &self,
        token: &TokenId,
        _: &CallContext,
    ) -> Result<Witnessed<Option<Box<Revocation>>>> {
        let store = self.lease.store()?;
        if let Some(reader) = store.readers.try_lock() {
            let found = get(reader.connection()?, token)?;
            return Ok(self.witnessed(found, self.clock.now()));
        }
        // Not `Readers::read`: the usual way needs no copy of the token.
        let token = token.clone();
        // Boxed, so that the future of the usual way is small.
        let found = Box::pin(store.readers.short(move |connection| get(connection, &token)));
        Ok(self.witnessed(found.await?, self.clock.now()))
    }

    async fn get_many(
        &self,
        tokens: &[TokenId],
        _: &CallContext,
    ) -> Result<Witnessed<Vec<Option<Revocation>>>> {
        let (store, tokens) = (self.lease.store()?, tokens.to_vec());
        let find_all = move |connection: &Connection| {
            let _snapshot = Snapshot::begin(connection)?;
            tokens.iter().map(|token| Ok(get(connection, token)?.map(|record| *record))).collect()
        };
        let found = store.readers.read(find_all).await?;
        Ok(self.witnessed(found, self.clock.now()))
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
        let store = self.lease.store()?;
        let after = after.map_or_else(String::new, |after| after.as_str().to_owned());
        let read = move |connection: &Connection| scan(connection, &after, limit);
        store.readers.long(context.deadline, read).await
    }

    async fn purge(&self, limit: usize) -> Result<PurgeReport> {
        let (store, now) = (self.lease.store()?, self.clock.now());
        let purge = move |connection: &mut Connection| {
            maintenance::purge_batch(connection, PURGE, MORE, now, limit)
                .map_err(|error| from_sqlite(&error))
        };
        store.writer.run(purge).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        self.lease.store()?.writer.run(catalogue::ensure_revocations).await
    }

    async fn health(&self) -> Result<HealthReport> {
        let store = self.lease.store()?;
        let (synchronous, now) = (store.synchronous, self.clock.now().as_milliseconds());
        let facts =
            format!("SELECT count(*), coalesce(sum(keep_until <= {now}), 0) FROM revocations");
        let names = ["revocations", "expired"];
        let read =
            move |connection: &_| maintenance::counted(connection, synchronous, &facts, names);
        store.readers.long(None, read).await
    }

    async fn close(&self) -> Result<()> {
        self.lease.release().await
    }
}

/// A record whose time is over is removed before it is stored anew: the table itself refuses to loosen a record.
fn store(
    connection: &Connection,
    stored: Option<&Revocation>,
    next: &Revocation,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let sql = match stored {
        Some(stored) if stored.is_kept(now) => UPDATE,
        Some(_) => {
            connection.prepare_cached(REMOVE)?.execute([next.token.as_str()])?;
            INSERT
        }
        None => INSERT,
    };
    connection.prepare_cached(sql)?.execute(params![
        next.token.as_str(),
        next.revoked_at.as_milliseconds(),
        next.immediate,
        next.expires_at.as_milliseconds(),
        next.keep_until.as_milliseconds(),
        next.reason,
        next.subject,
        next.family,
        next.successor.as_ref().map(TokenId::as_str),
    ])?;
    Ok(())
}

/// The hot path: no allocation if there is nothing.
fn get(connection: &Connection, token: &TokenId) -> Result<Option<Box<Revocation>>> {
    find(connection, token).map_err(|error| from_sqlite(&error))?
}

fn find(connection: &Connection, token: &TokenId) -> Outcome<Option<Box<Revocation>>> {
    let mut statement = connection.prepare_cached(GET)?;
    let mut rows = statement.query([token.as_str()])?;
    Ok(rows.next()?.map(|row| record(row, token)).transpose())
}

fn scan(connection: &Connection, after: &str, limit: usize) -> Result<Vec<Revocation>> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let mut statement = connection.prepare_cached(SCAN).map_err(failed)?;
    let mut rows = statement.query(params![after, limit as i64]).map_err(failed)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let token: String = row.get(8).map_err(failed)?;
        records.push(*record(row, &TokenId::parse(&token).map_err(|_| damaged())?)?);
    }
    Ok(records)
}

fn record(row: &Row<'_>, token: &TokenId) -> Result<Box<Revocation>> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let time = |column| row.get(column).map(Timestamp::from_milliseconds).map_err(failed);
    let text = |column| row.get::<_, Option<String>>(column).map_err(failed);
    let successor = text(7)?.map(|text| TokenId::parse(&text).map_err(|_| damaged()));
    Ok(Box::new(Revocation {
        token: token.clone(),
        revoked_at: time(0)?,
        immediate: row.get(1).map_err(failed)?,
        expires_at: time(2)?,
        keep_until: time(3)?,
        reason: text(4)?,
        subject: text(5)?,
        family: text(6)?,
        successor: successor.transpose()?,
    }))
}
