//! One entry of the change stream as a change.

use mongodb::bson::{Document, RawDocumentBuf};
use syntrix_storage_core::backend::Change;
use syntrix_storage_core::{
    Body, Document as StoredDocument, DocumentPath, EventType, Result, Timestamp, UserId,
};

use crate::error::{damaged, from_driver};
use crate::position::Place;
use crate::record;
use crate::stream::{Content, Entry, Source};

/// The change of an entry; `None` if it is none of ours. Its commit time is not before `earliest`.
pub(crate) async fn change(
    source: &Source,
    entry: Entry,
    earliest: Timestamp,
) -> Result<Option<Change>> {
    if source.content == Content::Accounts {
        return Ok(account(entry, earliest));
    }
    let written = match entry.event.get_str("operationType") {
        Ok("insert" | "replace") => written(&entry.event),
        Ok("update") => rewritten(source, &entry.event).await?,
        Ok(other) => {
            tracing::error!(
                operation = other,
                "documents were removed around the storage layer; no events tell of each"
            );
            None
        }
        Err(_) => None,
    };
    let Some((event_type, document, at)) = written else { return Ok(None) };
    let commit_time = at.max(earliest);
    Ok(Some(Change {
        event_type,
        before: before(&entry.event),
        document,
        commit_time,
        position: Place::new(entry.token, commit_time).to_position(),
    }))
}

/// Where an account stands in the form of the feed's changes, below which there is nothing but its id.
const ACCOUNTS: &str = "accounts";

/// A write of an account, whichever; the record beside the accounts is none.
fn account(entry: Entry, earliest: Timestamp) -> Option<Change> {
    let id = entry.event.get_document("documentKey").ok()?.get_str("_id").ok()?;
    let path = DocumentPath::parse(&format!("{ACCOUNTS}/{}", UserId::parse(id).ok()?)).ok()?;
    Some(Change {
        event_type: EventType::Update,
        document: StoredDocument::first(path, earliest, Body::empty()),
        before: None,
        commit_time: earliest,
        position: Place::new(entry.token, earliest).to_position(),
    })
}

/// Whose account a change of the accounts' feed is about.
pub(crate) fn account_of(change: &Change) -> Result<UserId> {
    let id = change.document.path().as_str().strip_prefix(ACCOUNTS);
    let id = id.and_then(|id| id.strip_prefix('/')).ok_or_else(damaged)?;
    UserId::parse(id)
}

type Written = (EventType, StoredDocument, Timestamp);

/// Every write of ours carries the whole record.
fn written(event: &Document) -> Option<Written> {
    let record = event.get_document("fullDocument").ok()?;
    let read = decode(record);
    if read.is_err() {
        tracing::error!("somebody else stored a record that is no document; it is left out");
    }
    read.ok()
}

fn decode(record: &Document) -> Result<Written> {
    let raw = RawDocumentBuf::try_from(record).map_err(|_| damaged())?;
    let (event_type, at) = record::change(&raw)?;
    Ok((event_type, record::decode(&raw)?, at))
}

/// An update in place comes from outside and brings no record. The present one is the best there is: it may be a later one.
async fn rewritten(source: &Source, event: &Document) -> Result<Option<Written>> {
    tracing::warn!(
        "a record was updated around the storage layer; its event may show a later state"
    );
    let (Ok(namespace), Ok(key)) = (event.get_document("ns"), event.get_document("documentKey"))
    else {
        return Ok(None);
    };
    let Ok(collection) = namespace.get_str("coll") else { return Ok(None) };
    let collection = source.database.collection::<RawDocumentBuf>(collection);
    let found = collection.find_one(filter(event, key)).await;
    let found = found.map_err(|error| from_driver(&error))?;
    let Some(found) = found else { return Ok(None) };
    let document = record::decode(&found);
    let (Ok(document), Ok((event_type, at))) = (document, record::change(&found)) else {
        return Ok(None);
    };
    let event_type = if event_type == EventType::Create { EventType::Update } else { event_type };
    Ok(Some((event_type, document, at)))
}

/// Where the record of an event lies. On a sharded cluster the key has the collection; else what was there before may tell it.
fn filter(event: &Document, key: &Document) -> Document {
    let mut filter = key.clone();
    let before = event.get_document("fullDocumentBeforeChange");
    if let Ok(collection) = before.and_then(|record| record.get_str("collection")) {
        filter.insert("collection", collection);
    }
    filter
}

/// What was there before, live documents only; the server may have dropped it already.
fn before(event: &Document) -> Option<StoredDocument> {
    let record = event.get_document("fullDocumentBeforeChange").ok()?;
    let raw = RawDocumentBuf::try_from(record).ok()?;
    record::decode(&raw).ok().filter(|document| !document.is_deleted())
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn of_an_account_the_id_is_told_and_of_the_record_beside_them_nothing() {
        let entry = |id: &str| Entry {
            token: "8200".into(),
            event: doc! { "operationType": "update", "documentKey": { "_id": id } },
        };
        let change = account(entry("Ada-1_b"), Timestamp::default()).unwrap();
        assert_eq!(account_of(&change).unwrap().as_str(), "Ada-1_b");
        assert!(account(entry(crate::schema::WITNESS), Timestamp::default()).is_none());
    }

    #[test]
    fn a_record_is_looked_up_by_its_collection_too() {
        let whole = doc! { "_id": "k", "collection": "c" };
        let before = doc! { "fullDocumentBeforeChange": { "_id": "k", "collection": "c", "n": 1 } };
        assert_eq!(filter(&doc! {}, &whole), whole, "a sharded cluster tells it");
        assert_eq!(filter(&before, &doc! { "_id": "k" }), whole);
        assert_eq!(filter(&doc! {}, &doc! { "_id": "k" }), doc! { "_id": "k" });
    }
}
