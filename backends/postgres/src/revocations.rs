//! The revoked tokens of one schema.

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    CallContext, Canary, Insertion, RevocationBackend, RevocationChange, RevocationRequest,
    Witnessed,
};
use syntrix_storage_core::{
    Capabilities, Error, ErrorKind, HealthReport, PurgeReport, Result, Revocation, RevokeOutcome,
    Timestamp, TokenId,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::damaged;
use crate::row::{timestamp, value};
use crate::session::{Parameter, Session};
use crate::store::{Lease, Store, Texts};
use crate::{KIND, catalogue, maintenance};

/// The server's own time, mark and record of one moment. A token without record is one row of NULLs.
macro_rules! select {
    ($tokens:literal) => {
        concat!(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, c.canary, ",
            "r.token,r.revoked_at,r.immediate,r.expires_at,r.keep_until,r.reason,r.subject,r.family,r.successor ",
            "FROM (SELECT) AS one LEFT JOIN {schema}.revocations_canary AS c ON c.one = 1 ",
            "LEFT JOIN {schema}.revocations AS r ON r.token = ",
            $tokens
        )
    };
}
pub(crate) const GET: &str = select!("$1");
pub(crate) const GET_MANY: &str = select!("ANY ($1)");
/// As [`GET`], without time and mark.
pub(crate) const SCAN: &str = "SELECT NULL::bigint,NULL::bytea,token,revoked_at,immediate,expires_at,keep_until,reason,\
    subject,family,successor FROM {schema}.revocations WHERE token > $1 ORDER BY token LIMIT $2";
/// Stores a record in place of the one that was read, or where none was: $2 tells whether there was one, $3 to $10 what it
/// was, $11 whether its time was over, $12 to $19 what is to be there. No row comes back if it was another one by now.
///
/// A record whose time is over is removed first: the table itself refuses to loosen one.
pub(crate) const WRITE: &str = "WITH gone AS (DELETE FROM {schema}.revocations AS r WHERE $2 AND $11 AND r.token = $1 \
      AND (r.revoked_at, r.immediate, r.expires_at, r.keep_until) = ($3, $4, $5, $6) RETURNING 1), \
    tighter AS (UPDATE {schema}.revocations AS r SET revoked_at = $12, immediate = $13, expires_at = $14, keep_until = $15, \
      reason = $16, subject = $17, family = $18, successor = $19 WHERE $2 AND NOT $11 AND r.token = $1 \
      AND (r.revoked_at, r.immediate, r.expires_at, r.keep_until) = ($3, $4, $5, $6) \
      AND (r.reason, r.subject, r.family, r.successor) IS NOT DISTINCT FROM ($7, $8, $9, $10) RETURNING 1), \
    fresh AS (INSERT INTO {schema}.revocations (token,revoked_at,immediate,expires_at,keep_until,reason,subject,family,successor) \
      SELECT $1, $12, $13, $14, $15, $16, $17, $18, $19 WHERE NOT $2 OR EXISTS (SELECT FROM gone) \
      ON CONFLICT (token) DO NOTHING RETURNING 1) \
    SELECT (SELECT count(*) FROM tighter) + (SELECT count(*) FROM fresh)";
/// $1 is not used: the time is the server's.
pub(crate) const PURGE: &str = "WITH now AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS at \
      WHERE $1::bigint IS NULL), \
    old AS MATERIALIZED (SELECT r.token FROM {schema}.revocations AS r, now WHERE r.keep_until <= now.at \
      ORDER BY r.keep_until LIMIT $2 FOR UPDATE OF r SKIP LOCKED), \
    gone AS (DELETE FROM {schema}.revocations AS r USING old WHERE r.token = old.token RETURNING 1) \
    SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM \
      (SELECT FROM {schema}.revocations AS r, now WHERE r.keep_until <= now.at LIMIT $2 + 1) AS all_old)";
const FACTS: &str = "SELECT \
    (SELECT count(*) FROM (SELECT FROM {schema}.revocations LIMIT 100000) AS counted), \
    (SELECT count(*) FROM (SELECT FROM {schema}.revocations \
      WHERE keep_until <= (extract(epoch FROM clock_timestamp()) * 1000)::bigint LIMIT 100000) AS counted), \
    pg_is_in_recovery(), current_setting('synchronous_commit'), m.schema_version FROM {schema}.metadata AS m";
/// Each attempt that fails means that somebody else's succeeded, and records only grow stricter.
const ATTEMPTS_MAX: usize = 1000;

/// One handle on the revoked tokens.
#[derive(Debug)]
pub(crate) struct Revocations {
    lease: Lease,
    canary: Canary,
}

impl Revocations {
    pub(crate) fn new(lease: Lease, canary: Canary) -> Self {
        Self { lease, canary }
    }

    /// Reads, decides, and stores if nothing changed since: the rule is the core's, the atom the server's.
    async fn change<T: Send>(&self, change: RevocationChange<T>) -> Result<Witnessed<T>> {
        let store = self.lease.store()?;
        let mut session = store.pool.session().await?;
        for _ in 0..ATTEMPTS_MAX {
            let read = read_for_write(&mut session, &store.texts, change.token()).await?;
            let Witnessed { value: stored, now, canary } = read;
            let (value, next) = change.decide(stored.as_deref(), now);
            let done = match next {
                None => true,
                Some(next) => {
                    write(&mut session, &store.texts, stored.as_deref(), &next, now).await?
                }
            };
            if done {
                return Ok(Witnessed { value, now, canary });
            }
        }
        Err(Error::new(ErrorKind::Conflict, "")
            .with_message("the record changed too often; nothing was written"))
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
        let text = token.as_str();
        let rows = store.readers.query(&store.texts.revocation_get, &[(&text, Type::TEXT)]).await?;
        one(&rows)
    }

    async fn get_many(
        &self,
        tokens: &[TokenId],
        _: &CallContext,
    ) -> Result<Witnessed<Vec<Option<Revocation>>>> {
        let store = self.lease.store()?;
        let texts: Vec<&str> = tokens.iter().map(TokenId::as_str).collect();
        let mut session = store.pool.session().await?;
        let values: [Parameter<'_>; 1] = [(&texts, Type::TEXT_ARRAY)];
        let rows = session.query(&store.texts.revocation_get_many, &values).await?;
        let (now, canary) = witness(rows.first().ok_or_else(damaged)?)?;
        let found = rows.iter().map(record).collect::<Result<Vec<_>>>()?;
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        found.sort_unstable_by(|left, right| left.token.as_str().cmp(right.token.as_str()));
        let find = |token: &TokenId| {
            let place = found.binary_search_by(|record| record.token.as_str().cmp(token.as_str()));
            place.ok().map(|place| found[place].clone())
        };
        Ok(Witnessed { value: tokens.iter().map(find).collect(), now, canary })
    }

    async fn join(
        &self,
        request: RevocationRequest,
        _: &CallContext,
    ) -> Result<Witnessed<RevokeOutcome>> {
        self.change(RevocationChange::join(request)).await
    }

    async fn insert(
        &self,
        request: RevocationRequest,
        _: &CallContext,
    ) -> Result<Witnessed<Insertion>> {
        self.change(RevocationChange::insert(request)).await
    }

    async fn merge(&self, record: Revocation, _: &CallContext) -> Result<Witnessed<RevokeOutcome>> {
        self.change(RevocationChange::merge(record)).await
    }

    async fn scan(
        &self,
        after: Option<&TokenId>,
        limit: usize,
        _: &CallContext,
    ) -> Result<Vec<Revocation>> {
        let store = self.lease.store()?;
        let (after, limit) = (after.map_or("", TokenId::as_str), limit as i64);
        let values: [Parameter<'_>; 2] = [(&after, Type::TEXT), (&limit, Type::INT8)];
        let mut session = store.pool.session().await?;
        let rows = session.query(&store.texts.revocation_scan, &values).await?;
        rows.iter().map(|row| record(row)?.ok_or_else(damaged)).collect()
    }

    async fn purge(&self, limit: usize) -> Result<PurgeReport> {
        let store = self.lease.store()?;
        maintenance::purge_batch(store, &store.texts.revocation_purge, None, limit).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        let store: &Store = self.lease.store()?;
        catalogue::ensure_revocations(&mut store.pool.session().await?, &store.schema).await
    }

    async fn health(&self) -> Result<HealthReport> {
        maintenance::probe(self.lease.store()?, FACTS, ["revocations", "expired"]).await
    }

    async fn close(&self) -> Result<()> {
        self.lease.release().await
    }
}

async fn read_for_write(
    session: &mut Session,
    texts: &Texts,
    token: &TokenId,
) -> Result<Witnessed<Option<Box<Revocation>>>> {
    let token = token.as_str();
    one(&session.query(&texts.revocation_get, &[(&token, Type::TEXT)]).await?)
}

/// `false` if the stored record is not `stored` any more.
async fn write(
    session: &mut Session,
    texts: &Texts,
    stored: Option<&Revocation>,
    next: &Revocation,
    now: Timestamp,
) -> Result<bool> {
    let (token, found) = (next.token.as_str(), stored.is_some());
    let over = stored.is_some_and(|stored| !stored.is_kept(now));
    // Without a stored record its values are not looked at.
    let (old, new) = (Values::of(stored.unwrap_or(next)), Values::of(next));
    let mut values: Vec<Parameter<'_>> = vec![(&token, Type::TEXT), (&found, Type::BOOL)];
    old.push(&mut values);
    values.push((&over, Type::BOOL));
    new.push(&mut values);
    let rows = session.query(&texts.revocation_write, &values).await?;
    Ok(value::<i64>(rows.first().ok_or_else(damaged)?, 0)? == 1)
}

/// A record in the form of its columns.
struct Values<'record> {
    times: [i64; 3],
    immediate: bool,
    texts: [Option<&'record str>; 4],
}

impl<'record> Values<'record> {
    fn of(record: &'record Revocation) -> Self {
        let times = [record.revoked_at, record.expires_at, record.keep_until];
        Self {
            times: times.map(Timestamp::as_milliseconds),
            immediate: record.immediate,
            texts: [
                record.reason.as_deref(),
                record.subject.as_deref(),
                record.family.as_deref(),
                record.successor.as_ref().map(TokenId::as_str),
            ],
        }
    }

    fn push<'values>(&'values self, values: &mut Vec<Parameter<'values>>) {
        values.push((&self.times[0], Type::INT8));
        values.push((&self.immediate, Type::BOOL));
        values.push((&self.times[1], Type::INT8));
        values.push((&self.times[2], Type::INT8));
        values.extend(self.texts.iter().map(|text| (text as _, Type::TEXT)));
    }
}

fn one(rows: &[Row]) -> Result<Witnessed<Option<Box<Revocation>>>> {
    let row = rows.first().ok_or_else(damaged)?;
    let (now, canary) = witness(row)?;
    Ok(Witnessed { value: record(row)?.map(Box::new), now, canary })
}

fn witness(row: &Row) -> Result<(Timestamp, Option<Canary>)> {
    let canary: Option<&[u8]> = value(row, 1)?;
    let canary = canary.and_then(|canary| canary.try_into().ok()).map(Canary);
    Ok((timestamp(row, 0)?, canary))
}

fn record(row: &Row) -> Result<Option<Revocation>> {
    let Some(token) = value::<Option<&str>>(row, 2)? else { return Ok(None) };
    let parse = |text: &str| TokenId::parse(text).map_err(|_| damaged());
    let successor: Option<&str> = value(row, 10)?;
    Ok(Some(Revocation {
        token: parse(token)?,
        revoked_at: timestamp(row, 3)?,
        immediate: value(row, 4)?,
        expires_at: timestamp(row, 5)?,
        keep_until: timestamp(row, 6)?,
        reason: value(row, 7)?,
        subject: value(row, 8)?,
        family: value(row, 9)?,
        successor: successor.map(parse).transpose()?,
    }))
}
