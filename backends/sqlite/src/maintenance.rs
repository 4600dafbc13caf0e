//! Purge of tombstones, and what an operator wants to know.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior, params};
use syntrix_storage_core::{HealthReport, PurgeReport, Result, Timestamp};

use crate::error::from_sqlite;
use crate::schema;
use crate::settings::Synchronous;

pub(crate) const PURGE: &str = "DELETE FROM documents WHERE rowid IN \
    (SELECT rowid FROM documents WHERE deleted = 1 AND updated_at < ?1 ORDER BY updated_at LIMIT ?2)";
const MORE: &str = "SELECT EXISTS (SELECT 1 FROM documents WHERE deleted = 1 AND updated_at < ?1)";
/// Numbers in the log have no gaps, so the log's length needs no count.
const FACTS: &str = "SELECT (SELECT count(*) FROM documents WHERE deleted = 1), \
    coalesce((SELECT max(seq) FROM changes), floor_seq) - floor_seq FROM metadata";

/// Removes at most `limit` tombstones last written before `before`. Deletion was announced; this is silent.
pub(crate) fn purge(
    connection: &mut Connection,
    before: Timestamp,
    limit: usize,
) -> Result<PurgeReport> {
    purge_batch(connection, PURGE, MORE, before, limit).map_err(|error| from_sqlite(&error))
}

/// Runs `purge`, given a time and a limit, and asks by `more`, given the time, whether something is left.
pub(crate) fn purge_batch(
    connection: &mut Connection,
    purge: &str,
    more: &str,
    before: Timestamp,
    limit: usize,
) -> rusqlite::Result<PurgeReport> {
    let before = before.as_milliseconds();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let purged = transaction.prepare_cached(purge)?.execute(params![before, limit])?;
    let more = transaction.prepare_cached(more)?.query_row([before], |row| row.get(0))?;
    transaction.commit()?;
    Ok(PurgeReport { purged, more })
}

/// Whether the file answers, and facts about it that name no path.
pub(crate) fn health(
    connection: &Connection,
    file: &Path,
    synchronous: Synchronous,
) -> Result<HealthReport> {
    let start = Instant::now();
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let (tombstones, changes): (i64, i64) =
        connection.query_row(FACTS, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    let version = schema::version(connection).map_err(failed)?;
    let journal: String =
        connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
    let durability = durability(synchronous);
    let bytes = std::fs::metadata(file).map(|metadata| metadata.len()).unwrap_or_default();
    let mut report = HealthReport::new(crate::KIND, true)
        .with_fact("durability", durability)
        .with_fact("synchronous", synchronous.as_str())
        .with_fact("schemaVersion", version)
        .with_fact("schemaVersionMax", schema::version_current())
        .with_fact("sqliteVersion", rusqlite::version())
        .with_fact("journalMode", journal)
        .with_fact("fileBytes", bytes)
        .with_fact("tombstones", tombstones)
        .with_fact("changes", changes);
    report.latency = start.elapsed();
    Ok(report)
}

/// Whether the file answers, and two counts.
pub(crate) fn counted(
    connection: &Connection,
    synchronous: Synchronous,
    sql: &str,
    names: [&'static str; 2],
) -> Result<HealthReport> {
    let start = Instant::now();
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let counts: (i64, i64) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
    let mut report = HealthReport::new(crate::KIND, true)
        .with_fact("durability", durability(synchronous))
        .with_fact("schemaVersion", schema::version(connection).map_err(failed)?)
        .with_fact("schemaVersionMax", schema::version_current())
        .with_fact(names[0], counts.0)
        .with_fact(names[1], counts.1);
    report.latency = start.elapsed();
    Ok(report)
}

fn durability(synchronous: Synchronous) -> &'static str {
    match synchronous {
        Synchronous::Full => "every acknowledged write survives a power cut",
        Synchronous::Normal => "a power cut may undo the last acknowledged writes",
    }
}
