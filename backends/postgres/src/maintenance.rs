//! Purge of tombstones, and what an operator wants to know.

use std::time::Instant;

use syntrix_storage_core::{HealthReport, PurgeReport, Result, Timestamp};
use tokio_postgres::types::Type;

use crate::KIND;
use crate::error::damaged;
use crate::row::value;
use crate::schema;
use crate::session::Parameter;
use crate::sql::in_schema;
use crate::store::Store;

/// A document that is revived at this moment is looked at again under its lock, or left to the next round.
pub(crate) const PURGE: &str = "WITH old AS MATERIALIZED (SELECT id FROM {schema}.documents \
      WHERE deleted AND updated_at < $1 ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED), \
    gone AS (DELETE FROM {schema}.documents AS d USING old WHERE d.id = old.id RETURNING 1) \
    SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM \
      (SELECT FROM {schema}.documents WHERE deleted AND updated_at < $1 LIMIT $2 + 1) AS all_old)";
/// Counts end at a number that says enough: exact ones would read whole tables.
const DOCUMENT_FACTS: &str = "SELECT \
    (SELECT count(*) FROM (SELECT FROM {schema}.documents WHERE deleted LIMIT 100000) AS counted), \
    coalesce((SELECT max(seq) FROM {schema}.changes), m.floor_seq) - m.floor_seq, \
    pg_is_in_recovery(), current_setting('synchronous_commit'), m.schema_version FROM {schema}.metadata AS m";

/// Removes at most `limit` tombstones last written before `before`. Deletion was announced; this is silent.
pub(crate) async fn purge(store: &Store, before: Timestamp, limit: usize) -> Result<PurgeReport> {
    purge_batch(store, &store.texts.purge, Some(before), limit).await
}

/// Runs a purge that answers with how many records went and how many there had been, at most one more than the limit.
pub(crate) async fn purge_batch(
    store: &Store,
    text: &str,
    before: Option<Timestamp>,
    limit: usize,
) -> Result<PurgeReport> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX - 1);
    let before = before.map(Timestamp::as_milliseconds);
    let values: [Parameter<'_>; 2] = [(&before, Type::INT8), (&limit, Type::INT8)];
    let mut session = store.pool.session().await?;
    let rows = session.query(text, &values).await?;
    let row = rows.first().ok_or_else(damaged)?;
    let (purged, old): (i64, i64) = (value(row, 0)?, value(row, 1)?);
    Ok(PurgeReport { purged: usize::try_from(purged).unwrap_or_default(), more: old > purged })
}

/// Whether the server answers, and facts about it that name no host.
pub(crate) async fn health(store: &Store) -> Result<HealthReport> {
    probe(store, DOCUMENT_FACTS, ["tombstones", "changes"]).await
}

/// Runs `facts`, which answers two counts, whether the server is a standby, when a commit counts, and the schema's version.
pub(crate) async fn probe(
    store: &Store,
    facts: &str,
    names: [&'static str; 2],
) -> Result<HealthReport> {
    let start = Instant::now();
    let mut session = store.pool.session().await?;
    let rows = session.query_once(&in_schema(facts, &store.schema), &[]).await?;
    let row = rows.first().ok_or_else(damaged)?;
    let standby: bool = value(row, 2)?;
    let synchronous: String = value(row, 3)?;
    let version: i32 = value(row, 4)?;
    let mut report = HealthReport::new(KIND, !standby)
        .with_fact("role", if standby { "standby" } else { "primary" })
        .with_fact("serverVersion", &store.server_version)
        .with_fact("durability", durability(&synchronous))
        .with_fact("synchronousCommit", synchronous)
        .with_fact("schemaVersion", version)
        .with_fact("schemaVersionMax", schema::version_current())
        .with_fact("poolConnections", store.pool.size())
        .with_fact(names[0], value::<i64>(row, 0)?)
        .with_fact(names[1], value::<i64>(row, 1)?);
    report.latency = start.elapsed();
    Ok(report)
}

fn durability(synchronous: &str) -> &'static str {
    match synchronous {
        "remote_apply" | "remote_write" => {
            "acknowledged writes are with the synchronous standbys too, if the server has any"
        }
        "off" => "the last acknowledged writes may be lost",
        "local" => "every acknowledged write survives a power cut of the primary",
        _ => "every acknowledged write survives a power cut",
    }
}
