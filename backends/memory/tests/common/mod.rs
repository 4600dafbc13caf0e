//! What the tests of this backend share.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use syntrix_storage_core::backend::{
    Applied, Backend, BackendProvider, CallContext, DocumentBackend, OpenContext, Write,
};
use syntrix_storage_core::{
    Body, Document, DocumentPath, Location, ManualClock, Operation, SettingsNode, SettingsValue,
    Timestamp,
};

pub const WRITE: CallContext = CallContext::new(Operation::Write);
pub const READ: CallContext = CallContext::new(Operation::Read);

pub fn block(entries: &[(&str, &str)]) -> SettingsNode {
    let place = Location::new(1, 1);
    let entry = |(key, text): &(&str, &str)| {
        let value = SettingsNode::new(SettingsValue::Text((*text).to_owned()), place);
        ((*key).to_owned(), place, value)
    };
    SettingsNode::new(SettingsValue::Map(entries.iter().map(entry).collect()), place)
}

pub fn provider() -> Box<dyn BackendProvider> {
    syntrix_storage_memory::factory().configure(&block(&[])).unwrap()
}

/// An open store and the clock it reads.
pub struct Opened {
    pub clock: ManualClock,
    pub backend: Arc<dyn Backend>,
    pub documents: Arc<dyn DocumentBackend>,
}

pub async fn open() -> Opened {
    open_in(&*provider(), None).await
}

pub async fn open_in(provider: &dyn BackendProvider, namespace: Option<&str>) -> Opened {
    let clock = ManualClock::starting_at(1000);
    let mut context = OpenContext::new("unused").with_clock(Arc::new(clock.clone()));
    if let Some(namespace) = namespace {
        context = context.with_namespace(namespace).unwrap();
    }
    let backend = provider.open(&context).await.unwrap();
    let documents = backend.documents().unwrap();
    Opened { clock, backend, documents }
}

pub fn path(text: &str) -> DocumentPath {
    DocumentPath::parse(text).unwrap()
}

pub fn body(text: &str) -> Body {
    Body::from_canonical(text)
}

pub fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(milliseconds)
}

pub fn document(text: &str, data: &str) -> Document {
    Document::first(path(text), at(1000), body(data))
}

pub async fn apply(store: &dyn DocumentBackend, write: Write) -> Applied {
    store.write(vec![write], &WRITE).await.pop().unwrap().unwrap()
}

/// The document a write left; fails if its condition did not hold.
pub async fn applied(store: &dyn DocumentBackend, write: Write) -> Document {
    match apply(store, write).await {
        Applied::Yes(document) => document,
        other => panic!("not applied: {other:?}"),
    }
}

/// What was there when a write was not applied.
pub async fn refused(store: &dyn DocumentBackend, write: Write) -> Option<Document> {
    match apply(store, write).await {
        Applied::No(current) => current,
        other => panic!("applied: {other:?}"),
    }
}

pub async fn insert(store: &dyn DocumentBackend, text: &str, data: &str) -> Document {
    applied(store, Write::Insert(document(text, data))).await
}

pub async fn delete(store: &dyn DocumentBackend, current: &Document, now: i64) -> Document {
    let document = current.tombstone(at(now));
    applied(store, Write::Replace { expected: current.version(), document }).await
}
