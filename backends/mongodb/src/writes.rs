//! Writes of documents. Each one replaces the whole record under a condition, so that its change is told by the record alone.

use mongodb::bson::{Document as Filter, RawDocumentBuf, doc};
use syntrix_storage_core::backend::{Applied, Write};
use syntrix_storage_core::{Document, Error, ErrorKind, EventType, Result, Timestamp, Version};

use crate::calls::Patience;
use crate::error::{from_driver, timed_out};
use crate::reads;
use crate::record;
use crate::store::{Store, Table};

/// A record may vanish and come back between two steps, but not for long.
const ATTEMPTS_MAX: usize = 10;

/// Runs writes in order, as long as somebody waits. Creates that follow each other go in one statement.
pub(crate) async fn apply_all(
    store: &Store,
    writes: Vec<Write>,
    patience: &Patience,
) -> Vec<Result<Applied>> {
    let mut outcomes = Vec::with_capacity(writes.len());
    let mut creates = Vec::new();
    for write in writes {
        match write {
            Write::Insert(document) if continues(&creates, &document) => creates.push(document),
            Write::Insert(document) => {
                insert_all(store, std::mem::take(&mut creates), patience, &mut outcomes).await;
                creates.push(document);
            }
            write => {
                insert_all(store, std::mem::take(&mut creates), patience, &mut outcomes).await;
                outcomes.push(apply(store, write, patience).await);
            }
        }
    }
    insert_all(store, creates, patience, &mut outcomes).await;
    outcomes
}

/// A statement holds a key once and concerns one collection of the server.
fn continues(creates: &[Document], next: &Document) -> bool {
    let table = |document: &Document| Table::of(document.path().collection_text());
    creates.last().is_none_or(|last| table(last) == table(next))
        && creates.len() < 500
        && !creates.iter().any(|other| other.path() == next.path())
}

async fn insert_all(
    store: &Store,
    documents: Vec<Document>,
    patience: &Patience,
    outcomes: &mut Vec<Result<Applied>>,
) {
    let Some(first) = documents.first() else { return };
    let table = Table::of(first.path().collection_text());
    let at = store.clock.now();
    let records: Result<Vec<_>> = documents
        .iter()
        .map(|document| record::encode(document, event_type(document, false), at))
        .collect();
    let Ok(records) = records else {
        for document in documents {
            outcomes.push(insert(store, document, patience).await);
        }
        return;
    };
    let created = store.creates(table).insert(records, patience).await;
    for (document, created) in documents.into_iter().zip(created) {
        outcomes.push(match created {
            Ok(true) => Ok(Applied::Yes(document)),
            Ok(false) => taken(store, document, patience).await,
            Err(error) => Err(error),
        });
    }
}

/// What is there instead; if it is gone already, the create is tried again.
async fn taken(store: &Store, document: Document, patience: &Patience) -> Result<Applied> {
    match reads::current(store, document.path()).await? {
        Some(current) => Ok(Applied::No(Some(current))),
        None => insert(store, document, patience).await,
    }
}

async fn insert(store: &Store, document: Document, patience: &Patience) -> Result<Applied> {
    let table = Table::of(document.path().collection_text());
    for _ in 0..ATTEMPTS_MAX {
        let event = event_type(&document, false);
        let record = record::encode(&document, event, store.clock.now())?;
        let created = store.creates(table).insert(vec![record], patience).await;
        if created.into_iter().next().unwrap_or_else(|| Err(crate::error::lost()))? {
            return Ok(Applied::Yes(document));
        }
        if let Some(current) = reads::current(store, document.path()).await? {
            return Ok(Applied::No(Some(current)));
        }
    }
    Err(contended())
}

async fn apply(store: &Store, write: Write, patience: &Patience) -> Result<Applied> {
    if patience.is_over() {
        return Err(timed_out());
    }
    match write {
        Write::Insert(document) => insert(store, document, patience).await,
        Write::Replace { expected, document } => replace(store, expected, document).await,
        Write::ApplyIfNewer(document) => apply_if_newer(store, document, patience).await,
        // Its outcome needs the stored times, and a change in place would be told without the record.
        Write::ReplaceLive { .. } => Err(Error::new(ErrorKind::Unsupported, "write")
            .with_message("this backend does not declare the fast path")),
    }
}

async fn replace(store: &Store, expected: Version, document: Document) -> Result<Applied> {
    let version = doc! { "version": { "$eq": expected.get() } };
    if store_over(store, &version, &document).await? {
        return Ok(Applied::Yes(document));
    }
    Ok(Applied::No(reads::current(store, document.path()).await?))
}

async fn apply_if_newer(store: &Store, document: Document, patience: &Patience) -> Result<Applied> {
    let older = doc! { "version": { "$lt": document.version().get() } };
    for _ in 0..ATTEMPTS_MAX {
        if store_over(store, &older, &document).await? {
            return Ok(Applied::Yes(document));
        }
        let current = match reads::current(store, document.path()).await? {
            Some(current) => current,
            None => match insert(store, document.clone(), patience).await? {
                Applied::No(Some(current)) => current,
                applied => return Ok(applied),
            },
        };
        if current.version() >= document.version() {
            return Ok(Applied::No(Some(current)));
        }
    }
    Err(contended())
}

/// Replaces the record if it fulfils `condition`. What the change is depends on whether a tombstone is there, and the record has
/// to say it: so both cases are tried, each under its own condition, the likelier one first.
async fn store_over(store: &Store, condition: &Filter, document: &Document) -> Result<bool> {
    let revival = document.created_at() == document.updated_at() && !document.is_deleted();
    let at = store.clock.now();
    for over_tombstone in [revival, !revival] {
        if store_over_one(store, condition, document, over_tombstone, at).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn store_over_one(
    store: &Store,
    condition: &Filter,
    document: &Document,
    tombstone: bool,
    at: Timestamp,
) -> Result<bool> {
    let path = document.path();
    let record: RawDocumentBuf = record::encode(document, event_type(document, !tombstone), at)?;
    let mut filter = doc! {
        "_id": record::key(path),
        "collection": { "$eq": path.collection_text() },
        "fullpath": { "$eq": path.as_str() },
        "deleted": tombstone,
    };
    filter.extend(condition.clone());
    let replaced =
        store.records(Table::of(path.collection_text())).replace_one(filter, record).await;
    Ok(replaced.map_err(|error| from_driver(&error))?.matched_count == 1)
}

fn event_type(next: &Document, over_live: bool) -> EventType {
    match (next.is_deleted(), over_live) {
        (true, _) => EventType::Delete,
        (false, true) => EventType::Update,
        (false, false) => EventType::Create,
    }
}

fn contended() -> Error {
    Error::new(ErrorKind::Conflict, "")
        .with_message("the record came and went under every attempt; try again")
}
