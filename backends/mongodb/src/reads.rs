//! Reads of documents: from the primary, of what a majority has confirmed.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use mongodb::bson::{Document as Filter, RawDocumentBuf, Timestamp as ClusterTime, doc};
use mongodb::options::ReadConcern;
use syntrix_storage_core::backend::CallContext;
use syntrix_storage_core::{
    CollectionPath, Consistency, Document, DocumentId, DocumentPath, QueryPlan, Result,
    ScanRequest, check_stored_path,
};

use crate::calls::Limit;
use crate::error::{code_of, damaged, from_driver};
use crate::secondaries::Need;
use crate::store::{Store, Table};
use crate::{expression, record};

/// Documents in a scan when the request names no limit.
const SCAN_MAX: usize = 1000;
/// So many documents are read within the moment that a member may wait for what a read must see.
const FEW: usize = 16;
/// The server cannot read the past of a collection that has just been made.
const SNAPSHOT_UNAVAILABLE: i32 = 246;
const SNAPSHOT_ATTEMPTS: u32 = 20;

/// Reads one record.
pub(crate) async fn get(
    store: &Store,
    path: &DocumentPath,
    context: &CallContext,
    limit: Limit,
) -> Result<Option<Document>> {
    let records = store.records(Table::of(path.collection_text()));
    if context.not_before.is_some() {
        let need = Need::of(store, context).await?;
        let find = records.find(filter(path)).limit(1).batch_size(2).max_time(need.short(limit));
        let found = need.rows(find).await?.pop();
        return match found {
            Some(found) => check_stored_path(path, found.path().as_str()).map(|()| Some(found)),
            None => Ok(None),
        };
    }
    let mut find = records.find_one(filter(path)).max_time(limit.left());
    if context.consistency == Consistency::Strong {
        // Asks a majority whether this is still the primary.
        find = find.read_concern(ReadConcern::linearizable());
    }
    let found = find.await.map_err(|error| from_driver(&error))?;
    found.map(|record| checked(path, &record)).transpose()
}

/// What lies at a path now that a write did not find what it expected.
pub(crate) async fn current(store: &Store, path: &DocumentPath) -> Result<Option<Document>> {
    let records = store.records(Table::of(path.collection_text()));
    let found = records.find_one(filter(path)).await.map_err(|error| from_driver(&error))?;
    found.map(|record| checked(path, &record)).transpose()
}

fn filter(path: &DocumentPath) -> Filter {
    doc! { "_id": record::key(path), "collection": { "$eq": path.collection_text() } }
}

fn checked(path: &DocumentPath, record: &RawDocumentBuf) -> Result<Document> {
    let document = record::decode(record)?;
    check_stored_path(path, document.path().as_str())?;
    Ok(document)
}

/// Reads records in the order of `paths`, which may repeat.
pub(crate) async fn get_many(
    store: &Store,
    paths: &[DocumentPath],
    context: &CallContext,
    limit: Limit,
) -> Result<Vec<Option<Document>>> {
    if paths.is_empty() {
        // Asked to learn whether the member is one of the primary's.
        Need::of(store, context).await?.check(store, limit).await?;
    }
    let mut found: HashMap<DocumentId, Document> = HashMap::new();
    for table in Table::ALL {
        let asked: Vec<&DocumentPath> =
            paths.iter().filter(|path| Table::of(path.collection_text()) == table).collect();
        if asked.is_empty() {
            continue;
        }
        let keys: Vec<_> = asked.iter().map(|path| record::key(path)).collect();
        let mut collections: Vec<_> = asked.iter().map(|path| path.collection_text()).collect();
        collections.sort_unstable();
        collections.dedup();
        let filter = doc! { "_id": { "$in": keys }, "collection": { "$in": collections } };
        let mut need = Need::of(store, context).await?;
        if asked.len() > FEW {
            need = need.met(store, limit).await?;
        }
        let find = store.records(table).find(filter).batch_size(1001).max_time(need.short(limit));
        let documents = need.rows(find).await?;
        found.extend(documents.into_iter().map(|document| (*document.path().key(), document)));
    }
    let pick = |path: &DocumentPath| {
        let document = found.get(path.key());
        let checked = document.map(|document| {
            check_stored_path(path, document.path().as_str()).map(|()| document.clone())
        });
        checked.transpose()
    };
    paths.iter().map(pick).collect()
}

/// Answers a plan.
pub(crate) async fn query(
    store: &Store,
    plan: &QueryPlan,
    context: &CallContext,
    limit: Limit,
) -> Result<Vec<Document>> {
    let rows = i64::try_from(plan.rows_max()).unwrap_or(i64::MAX);
    let need = Need::of(store, context).await?.met(store, limit).await?;
    let find = store
        .records(Table::of(plan.collection().as_str()))
        .find(expression::filter(plan))
        .sort(expression::sort(plan))
        .limit(rows)
        // One more than the limit, or the server keeps the cursor open.
        .batch_size(plan.rows_max() as u32 + 1)
        .max_time(limit.left());
    need.rows(find).await
}

/// Answers a plan from a snapshot and tells the cluster time of it.
pub(crate) async fn query_at(
    store: &Store,
    plan: &QueryPlan,
    limit: Limit,
) -> Result<(Vec<Document>, ClusterTime)> {
    let mut attempt = 0;
    loop {
        match query_snapshot(store, plan, limit).await {
            Err(Snapshot::Unavailable) if attempt < SNAPSHOT_ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(std::time::Duration::from_millis(u64::from(attempt) * 5)).await;
            }
            Err(Snapshot::Unavailable) => {
                return Err(crate::error::from_code(SNAPSHOT_UNAVAILABLE));
            }
            Err(Snapshot::Failed(error)) => return Err(error),
            Ok(answer) => return Ok(answer),
        }
    }
}

enum Snapshot {
    Unavailable,
    Failed(syntrix_storage_core::Error),
}

async fn query_snapshot(
    store: &Store,
    plan: &QueryPlan,
    limit: Limit,
) -> Result<(Vec<Document>, ClusterTime), Snapshot> {
    let failed = |error: mongodb::error::Error| match code_of(&error) {
        Some(SNAPSHOT_UNAVAILABLE) => Snapshot::Unavailable,
        _ => Snapshot::Failed(from_driver(&error)),
    };
    let damage = |_| Snapshot::Failed(damaged());
    let rows = plan.rows_max() as i64;
    let command = doc! {
        "find": store.name(Table::of(plan.collection().as_str())),
        "filter": expression::filter(plan),
        "sort": expression::sort(plan),
        "limit": rows,
        "batchSize": rows + 1,
        "maxTimeMS": limit.left().as_millis() as i64,
        "readConcern": { "level": "snapshot" },
    };
    let mut batches = store.database.run_cursor_command(command).batch().await.map_err(failed)?;
    let (mut documents, mut time) = (Vec::new(), None);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(failed)?;
        let cursor = batch.as_raw_document().get_document("cursor").map_err(damage)?;
        time = time.or_else(|| cursor.get_timestamp("atClusterTime").ok());
        for row in batch.doc_slices().map_err(failed)? {
            let row =
                row.map_err(damage)?.as_document().ok_or_else(|| Snapshot::Failed(damaged()))?;
            documents.push(record::decode(row).map_err(Snapshot::Failed)?);
        }
    }
    let time = time.ok_or_else(|| Snapshot::Failed(damaged()))?;
    Ok((documents, time))
}

/// Records by path, at most as many as asked.
pub(crate) async fn scan(
    store: &Store,
    request: &ScanRequest,
    context: &CallContext,
    limit: Limit,
) -> Result<Vec<Document>> {
    let rows = if request.limit == 0 { SCAN_MAX } else { request.limit };
    let tables = match &request.collection {
        Some(collection) => vec![Table::of(collection.as_str())],
        None => Table::ALL.to_vec(),
    };
    let mut documents = Vec::new();
    for table in tables {
        let need = Need::of(store, context).await?.met(store, limit).await?;
        let find = store
            .records(table)
            .find(scan_filter(request))
            .sort(doc! { "fullpath": 1 })
            .limit(i64::try_from(rows).unwrap_or(i64::MAX))
            .max_time(limit.left());
        documents.extend(need.rows(find).await?);
    }
    documents.sort_by(|left, right| left.path().cmp(right.path()));
    documents.truncate(rows);
    Ok(documents)
}

/// Everything below a collection lies between it with a slash and it with the character behind the slash, so whole segments
/// are compared without a pattern.
fn scan_filter(request: &ScanRequest) -> Filter {
    let mut path = doc! {};
    let mut first = request.after.clone().unwrap_or_default();
    if let Some(collection) = &request.collection {
        first = first.max(format!("{collection}/"));
        path.insert("$lt", format!("{collection}0"));
    }
    path.insert("$gt", first);
    let mut filter = doc! { "fullpath": path };
    if let Some(own) = request.collection.as_ref().filter(|_| !request.recursive) {
        filter.insert("collection", doc! { "$eq": CollectionPath::as_str(own) });
    }
    if !request.show_deleted {
        filter.insert("deleted", doc! { "$eq": false });
    }
    filter
}
