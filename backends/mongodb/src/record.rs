//! A document as one record of the server, and back.
//!
//! Beside the fields of the model a record has `s`, the comparable values again; `pat`, the collection with `*` for its
//! document segments, which partial indexes need; `op`, what the write was, and `at`, when: a change stream delivers the whole
//! record, so every event tells all there is to know.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, RawBsonRef, RawDocument, RawDocumentBuf};
use syntrix_storage_core::{
    CollectionPattern, Document, DocumentId, DocumentPath, EventType, Metadata, Result, Timestamp,
    Version,
};

use crate::error::damaged;
use crate::{decode, encode};

/// Bytes of a record beside its data, about.
const FIELDS_BYTES: usize = 256;

/// The key in filters.
pub(crate) fn key(path: &DocumentPath) -> Binary {
    key_of(path.key())
}

pub(crate) fn key_of(key: &DocumentId) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: key.as_bytes().to_vec() }
}

/// The record of `document`, whose write is an event of `event` at `at`.
pub(crate) fn encode(
    document: &Document,
    event: EventType,
    at: Timestamp,
) -> Result<RawDocumentBuf> {
    let path = document.path();
    let mut bytes =
        Vec::with_capacity(FIELDS_BYTES + path.as_str().len() * 3 + document.raw().len() * 3);
    let start = encode::begin_document(&mut bytes);
    encode::push_binary(&mut bytes, "_id", path.key().as_bytes());
    encode::push_text(&mut bytes, "fullpath", path.as_str());
    encode::push_text(&mut bytes, "collection", path.collection_text());
    encode::push_text(&mut bytes, "parent", path.parent());
    encode::push_text(&mut bytes, "pat", CollectionPattern::of(&path.collection()).as_str());
    encode::push_integer(&mut bytes, "createdAt", document.created_at().as_milliseconds());
    encode::push_integer(&mut bytes, "updatedAt", document.updated_at().as_milliseconds());
    encode::push_integer(&mut bytes, "version", document.version().get());
    encode::push_bool(&mut bytes, "deleted", document.is_deleted());
    encode::push_text(&mut bytes, "op", code(event));
    encode::push_integer(&mut bytes, "at", at.as_milliseconds());
    push_data(&mut bytes, document.raw())?;
    encode::end_document(&mut bytes, start);
    RawDocumentBuf::from_bytes(bytes).map_err(|_| damaged())
}

fn push_data(bytes: &mut Vec<u8>, json: &str) -> Result<()> {
    // The type, the name and its end stand before the document.
    let data_at = bytes.len() + "data".len() + 2;
    encode::push_json(bytes, "data", json)?;
    let data = RawDocumentBuf::from_bytes(bytes[data_at..].to_vec()).map_err(|_| damaged())?;
    decode::push_comparable(bytes, "s", &data)
}

/// The document of a record.
pub(crate) fn decode(record: &RawDocument) -> Result<Document> {
    let mut fields = Fields::default();
    for element in record.iter_elements() {
        let element = element.map_err(|_| damaged())?;
        let name = element.key().as_str();
        // The copy is the largest part of what is not needed.
        if name != "s" {
            fields.take(name, element.value().map_err(|_| damaged())?);
        }
    }
    fields.into_document().ok_or_else(damaged)?
}

/// What the write that left this record was, and when.
pub(crate) fn change(record: &RawDocument) -> Result<(EventType, Timestamp)> {
    let event = record.get_str("op").ok().and_then(event_of).ok_or_else(damaged)?;
    let at = record.get_i64("at").map_err(|_| damaged())?;
    Ok((event, Timestamp::from_milliseconds(at)))
}

const fn code(event: EventType) -> &'static str {
    match event {
        EventType::Create => "c",
        EventType::Update => "u",
        EventType::Delete => "d",
    }
}

fn event_of(code: &str) -> Option<EventType> {
    EventType::ALL.into_iter().find(|event| self::code(*event) == code)
}

#[derive(Default)]
struct Fields<'record> {
    key: Option<[u8; 16]>,
    fullpath: Option<&'record str>,
    created_at: Option<i64>,
    updated_at: Option<i64>,
    version: Option<i64>,
    deleted: Option<bool>,
    data: Option<&'record RawDocument>,
}

impl<'record> Fields<'record> {
    fn take(&mut self, name: &str, value: RawBsonRef<'record>) {
        match (name, value) {
            ("_id", RawBsonRef::Binary(binary)) => self.key = binary.bytes.try_into().ok(),
            ("fullpath", RawBsonRef::String(path)) => self.fullpath = Some(path),
            ("createdAt", value) => self.created_at = integer(value),
            ("updatedAt", value) => self.updated_at = integer(value),
            ("version", value) => self.version = integer(value),
            ("deleted", RawBsonRef::Boolean(deleted)) => self.deleted = Some(deleted),
            ("data", RawBsonRef::Document(data)) => self.data = Some(data),
            _ => {}
        }
    }

    /// `None` if a field is missing or of another type.
    fn into_document(self) -> Option<Result<Document>> {
        let metadata = Metadata {
            version: Version::new(self.version?),
            created_at: Timestamp::from_milliseconds(self.created_at?),
            updated_at: Timestamp::from_milliseconds(self.updated_at?),
            deleted: self.deleted?,
        };
        let path = DocumentPath::from_stored(self.fullpath?, DocumentId::from_bytes(self.key?));
        let data = self.data?;
        Some(path.and_then(|path| Ok(Document::from_parts(path, metadata, decode::body(data)?))))
    }
}

/// Somebody who edits a record in a shell may leave a small integer.
pub(crate) fn integer(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::Int64(integer) => Some(integer),
        RawBsonRef::Int32(integer) => Some(i64::from(integer)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::rawdoc;
    use syntrix_storage_core::Body;

    use super::*;

    fn document() -> Document {
        let path = DocumentPath::parse("rooms/lobby/messages/m.1").unwrap();
        let body = Body::from_canonical(r#"{"":[1,2],"a.b":{"$x":1.5},"n":null}"#);
        Document::first(path, Timestamp::from_milliseconds(5), body)
    }

    #[test]
    fn a_document_comes_back_from_its_record() {
        let (document, at) = (document(), Timestamp::from_milliseconds(9));
        let record = encode(&document, EventType::Create, at).unwrap();
        assert_eq!(decode(&record).unwrap(), document);
        assert_eq!(change(&record).unwrap(), (EventType::Create, at));
    }

    #[test]
    fn the_server_sees_the_fields_it_filters_by() {
        let record = encode(&document(), EventType::Create, Timestamp::default()).unwrap();
        assert_eq!(record.get_str("collection").unwrap(), "rooms/lobby/messages");
        assert_eq!(record.get_str("pat").unwrap(), "rooms/*/messages");
        assert_eq!(record.get_str("parent").unwrap(), "rooms/lobby");
        let copy = record.get_document("s").unwrap();
        assert_eq!(copy, &*rawdoc! { "a%2Eb": { "%24x": 1.5 }, "n": null });
    }

    #[test]
    fn a_record_that_lacks_a_field_is_damaged() {
        assert!(decode(&rawdoc! { "_id": 1 }).is_err());
        assert!(change(&rawdoc! { "op": "x", "at": 1_i64 }).is_err());
    }
}
