//! Purge of tombstones, and what an operator wants to know.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::TryStreamExt as _;
use mongodb::Database;
use mongodb::bson::{Document, doc};
use syntrix_storage_core::{HealthReport, PurgeReport, Result, Timestamp};

use crate::error::from_driver;
use crate::server;
use crate::store::{Store, Table};

/// Removes at most `limit` tombstones last written before `before`. Deletion was announced; this is silent.
pub(crate) async fn purge(store: &Store, before: Timestamp, limit: usize) -> Result<PurgeReport> {
    let (mut purged, mut more) = (0, false);
    let expired = doc! { "deleted": true, "updatedAt": { "$lt": before.as_milliseconds() } };
    for table in Table::ALL {
        let left = limit.saturating_sub(purged);
        let report = purge_batch(&store.database, store.name(table), &expired, left).await?;
        purged += report.purged;
        more |= report.more;
    }
    Ok(PurgeReport { purged, more })
}

/// Removes at most `limit` records that fulfil `expired`, and tells whether some are left. Each is tested again as it is removed:
/// it may have come back to life meanwhile.
pub(crate) async fn purge_batch(
    database: &Database,
    name: &str,
    expired: &Document,
    limit: usize,
) -> Result<PurgeReport> {
    let failed = |error: mongodb::error::Error| from_driver(&error);
    let collection = database.collection::<Document>(name);
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let found = collection
        .find(expired.clone())
        .projection(doc! { "_id": 1, "collection": 1 })
        .limit(one_more);
    let found: Vec<Document> = found.await.map_err(failed)?.try_collect().await.map_err(failed)?;
    let more = found.len() > limit;
    if found.is_empty() || limit == 0 {
        return Ok(PurgeReport { purged: 0, more });
    }
    let removed =
        collection.delete_many(batch_filter(expired, &found, limit)).await.map_err(failed)?;
    Ok(PurgeReport { purged: removed.deleted_count as usize, more })
}

/// The first `limit` of `found`, if they still fulfil `expired`. Documents are named by their collections too, by which a
/// sharded cluster knows where they lie.
fn batch_filter(expired: &Document, found: &[Document], limit: usize) -> Document {
    let batch = &found[..found.len().min(limit)];
    let keys: Vec<_> = batch.iter().filter_map(|row| row.get("_id")).collect();
    let collections: BTreeSet<&str> =
        batch.iter().filter_map(|row| row.get_str("collection").ok()).collect();
    let mut filter = expired.clone();
    filter.insert("_id", doc! { "$in": keys });
    if !collections.is_empty() {
        filter.insert("collection", doc! { "$in": collections.into_iter().collect::<Vec<_>>() });
    }
    filter
}

/// Whether the server answers, and facts about it that name no host.
pub(crate) async fn health(store: &Store) -> Result<HealthReport> {
    let start = Instant::now();
    let hello = server::hello(&store.database).await?;
    let latency = start.elapsed();
    let build = store.database.run_command(doc! { "buildInfo": 1 }).await;
    let build = build.map_err(|error| from_driver(&error))?;
    let mut report = HealthReport::new(crate::KIND, true)
        .with_fact("durability", "every acknowledged write is in the journal of a majority")
        .with_fact("serverVersion", build.get_str("version").unwrap_or("unknown"))
        .with_fact("topology", store.topology.as_str())
        .with_fact("role", server::role(&hello))
        .with_fact("beforeImages", store.before)
        .with_fact("format", crate::schema::FORMAT)
        .with_fact("formatMax", crate::schema::FORMAT);
    report.latency = latency;
    Ok(report)
}

/// Adds how many records there are, as the server estimates it.
pub(crate) async fn with_count(
    store: &Store,
    name: &str,
    fact: &'static str,
) -> Result<HealthReport> {
    let report = health(store).await?;
    let collection = store.database.collection::<Document>(name);
    let count = collection.estimated_document_count().await.map_err(|error| from_driver(&error))?;
    // The record that every read brings along is none of the application's.
    Ok(report.with_fact(fact, count.saturating_sub(1)))
}
