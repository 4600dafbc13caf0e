//! What every test needs: a namespace of its own on the server, and short ways to write and read.

use std::sync::Arc;

use mongodb::Client;
use mongodb::bson::Document as Record;
use serde_json::{Value, json};
use syntrix_storage_core::backend::{
    Applied, Backend, BackendProvider, CallContext, Change, DocumentBackend, Feed, OpenContext,
    Write,
};
use syntrix_storage_core::{
    Body, Document, DocumentPath, Location, ManualClock, Operation, Result, SettingsNode,
    SettingsValue, Timestamp, encode_data, normalize_data,
};

pub const START: i64 = 1_700_000_000_000;
/// Every answer of the server costs a journal write, so there are fewer random cases than where there is no server.
pub const DIFFERENTIAL_CASES: u32 = 24;
const DB: &str = "backend_tests";

/// The URI of the server that the tests share.
pub fn uri() -> String {
    std::env::var("SYNTRIX_STORAGE_TEST_MONGO").expect(
        "this test needs a MongoDB replica set: SYNTRIX_STORAGE_TEST_MONGO must have its URI. \
         `cargo xtask servers up` starts one and prints it",
    )
}

pub fn provider(uri: &str, settings: &Value) -> Box<dyn BackendProvider> {
    let mut block = json!({"uri": uri, "db": DB});
    for (key, value) in settings.as_object().expect("settings") {
        block[key] = value.clone();
    }
    syntrix_storage_mongodb::factory().configure(&node(&block)).expect("configure")
}

pub fn node(value: &Value) -> SettingsNode {
    let value = match value {
        Value::Null => SettingsValue::Null,
        Value::Bool(flag) => SettingsValue::Bool(*flag),
        Value::Number(number) => SettingsValue::Integer(number.as_i64().expect("integer")),
        Value::String(text) => SettingsValue::Text(text.clone()),
        Value::Array(items) => SettingsValue::List(items.iter().map(node).collect()),
        Value::Object(members) => SettingsValue::Map(
            members
                .iter()
                .map(|(key, value)| (key.clone(), Location::default(), node(value)))
                .collect(),
        ),
    };
    SettingsNode::new(value, Location::default())
}

/// An open store in a namespace of its own, with a clock that stands still.
pub struct Fixture {
    pub uri: String,
    pub namespace: String,
    pub clock: ManualClock,
    pub backend: Arc<dyn Backend>,
    pub documents: Arc<dyn DocumentBackend>,
}

impl Fixture {
    pub async fn open() -> Self {
        Self::on(&uri(), &json!({})).await
    }

    pub async fn for_differential() -> Self {
        Self::open().await
    }

    pub async fn on(uri: &str, settings: &Value) -> Self {
        let random: String = std::iter::repeat_with(fastrand::lowercase).take(12).collect();
        Self::at(uri, &format!("t_{random}"), settings).await
    }

    pub async fn at(uri: &str, namespace: &str, settings: &Value) -> Self {
        let clock = ManualClock::starting_at(START);
        let context = open_context(namespace).with_clock(Arc::new(clock.clone()));
        let backend = provider(uri, settings).open(&context).await.expect("open");
        let documents = backend.documents().expect("documents");
        Self { uri: uri.to_owned(), namespace: namespace.to_owned(), clock, backend, documents }
    }

    /// Another handle on the same data, as another process would have it.
    pub async fn again(&self) -> Self {
        Self::at(&self.uri, &self.namespace, &json!({})).await
    }

    /// The database, around the backend.
    pub async fn raw(&self) -> mongodb::Database {
        let client = Client::with_uri_str(&self.uri).await.expect("client");
        client.database(&format!("{DB}_{}", self.namespace))
    }

    pub async fn raw_documents(&self) -> mongodb::Collection<Record> {
        self.raw().await.collection("documents")
    }

    /// Closes the store and removes what it left.
    pub async fn finish(self) {
        self.documents.close().await.expect("close");
        self.backend.close().await.expect("close");
        let provider = provider(&self.uri, &json!({}));
        provider.remove_namespace(&open_context(&self.namespace)).await.expect("remove");
    }

    pub async fn write(&self, write: Write) -> Result<Applied> {
        let mut outcomes = self.documents.write(vec![write], &context(Operation::Write)).await;
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    pub async fn insert(&self, path: &str, data: Value) -> Document {
        applied(self.write(Write::Insert(document(path, data))).await)
    }

    pub async fn update(&self, path: &str, data: Value) -> Document {
        let current = self.get(path).await.expect("present");
        let document = current.replaced(Timestamp::from_milliseconds(START), body(path, data));
        applied(self.write(Write::Replace { expected: current.version(), document }).await)
    }

    pub async fn delete(&self, path: &str) -> Document {
        let current = self.get(path).await.expect("present");
        let document = current.tombstone(Timestamp::from_milliseconds(START));
        applied(self.write(Write::Replace { expected: current.version(), document }).await)
    }

    pub async fn revive(&self, path: &str, data: Value) -> Document {
        let current = self.get(path).await.expect("tombstone");
        let document = current.revived(Timestamp::from_milliseconds(START), body(path, data));
        applied(self.write(Write::Replace { expected: current.version(), document }).await)
    }

    pub async fn get(&self, path: &str) -> Option<Document> {
        self.documents.get(&parse(path), &context(Operation::Read)).await.expect("get")
    }

    /// The whole history as `type path@version`.
    pub async fn log(&self) -> Vec<String> {
        self.changes().await.iter().map(brief).collect()
    }

    /// The whole history, page by page.
    pub async fn changes(&self) -> Vec<Change> {
        let (mut from, mut changes) = (Feed::Oldest, Vec::new());
        loop {
            let page = self.documents.feed(&from, None, 500).await.expect("feed");
            changes.extend(page.changes);
            if !page.more {
                return changes;
            }
            from = Feed::After(page.end);
        }
    }
}

pub fn open_context(namespace: &str) -> OpenContext {
    OpenContext::new("unused").with_namespace(namespace).expect("namespace")
}

pub fn brief(change: &Change) -> String {
    let document = &change.document;
    format!("{} {}@{}", change.event_type.as_str(), document.path(), document.version())
}

pub fn applied(outcome: Result<Applied>) -> Document {
    match outcome.expect("write") {
        Applied::Yes(document) => document,
        other => panic!("not applied: {other:?}"),
    }
}

pub fn context(operation: Operation) -> CallContext {
    CallContext::new(operation)
}

pub fn parse(path: &str) -> DocumentPath {
    DocumentPath::parse(path).expect("path")
}

pub fn document(path: &str, data: Value) -> Document {
    Document::first(parse(path), Timestamp::from_milliseconds(START), body(path, data))
}

fn body(path: &str, data: Value) -> Body {
    encode_data(normalize_data(&parse(path), data).expect("data")).expect("body")
}
