//! What every test needs: a folder, a store in it, and short ways to write and read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use syntrix_storage_core::backend::{
    Applied, Backend, BackendProvider, CallContext, Change, DocumentBackend, Feed, FeedPage,
    OpenContext, Write,
};
use syntrix_storage_core::{
    Body, Document, DocumentPath, HealthReport, ManualClock, Operation, Position, Result,
    SettingsNode, SettingsValue, Timestamp, Version, encode_data, normalize_data,
};
use tempfile::TempDir;

pub const START: i64 = 1_700_000_000_000;
pub const DIFFERENTIAL_CASES: u32 = 256;

/// An open store in a folder of its own, with a clock that stands still.
pub struct Fixture {
    pub folder: Arc<TempDir>,
    pub clock: ManualClock,
    pub backend: Arc<dyn Backend>,
    pub documents: Arc<dyn DocumentBackend>,
}

impl Fixture {
    pub async fn open() -> Self {
        Self::with(&json!({})).await
    }

    pub async fn with(settings: &Value) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("folder"));
        Self::in_folder(folder, settings).await
    }

    /// The power is not cut while random queries run.
    pub async fn for_differential() -> Self {
        Self::with(&json!({"synchronous": "normal"})).await
    }

    pub async fn in_folder(folder: Arc<TempDir>, settings: &Value) -> Self {
        let clock = ManualClock::starting_at(START);
        let context = OpenContext::new(folder.path()).with_clock(Arc::new(clock.clone()));
        let backend = provider(settings).open(&context).await.expect("open");
        let documents = backend.documents().expect("documents");
        Self { folder, clock, backend, documents }
    }

    /// Another handle on the same file, as another process would have it.
    pub async fn again(&self) -> Self {
        Self::in_folder(Arc::clone(&self.folder), &json!({})).await
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("storage.db")
    }

    /// A connection that goes around the backend.
    pub fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.file()).expect("raw connection")
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
        applied(self.write(replace_live(path, Some(data))).await)
    }

    pub async fn delete(&self, path: &str) -> Document {
        applied(self.write(replace_live(path, None)).await)
    }

    pub async fn get(&self, path: &str) -> Option<Document> {
        self.documents.get(&parse(path), &context(Operation::Read)).await.expect("get")
    }

    pub async fn feed(&self, from: Feed) -> FeedPage {
        self.documents.feed(&from, None, 1000).await.expect("feed")
    }

    /// The whole log as `type path@version`.
    pub async fn log(&self) -> Vec<String> {
        self.feed(Feed::Oldest).await.changes.iter().map(brief).collect()
    }

    pub async fn end(&self) -> Position {
        self.documents.feed_end().await.expect("end").0
    }

    pub async fn wait(&self, position: &Position) {
        let patience = Duration::from_secs(60);
        self.documents.wait_for_change(position, patience).await.expect("wait");
    }
}

pub fn provider(settings: &Value) -> Box<dyn BackendProvider> {
    syntrix_storage_sqlite::factory().configure(&node(settings)).expect("settings")
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
                .map(|(key, value)| (key.clone(), Default::default(), node(value)))
                .collect(),
        ),
    };
    SettingsNode::new(value, Default::default())
}

pub fn context(operation: Operation) -> CallContext {
    CallContext::new(operation)
}

pub fn parse(path: &str) -> DocumentPath {
    DocumentPath::parse(path).expect("path")
}

pub fn body(path: &DocumentPath, data: Value) -> Body {
    encode_data(normalize_data(path, data).expect("data")).expect("size")
}

/// Version 1, created at [`START`].
pub fn document(path: &str, data: Value) -> Document {
    let path = parse(path);
    let body = body(&path, data);
    Document::first(path, Timestamp::from_milliseconds(START), body)
}

pub fn replace_live(path: &str, data: Option<Value>) -> Write {
    let path = parse(path);
    let body = data.map(|data| body(&path, data));
    let now = Timestamp::from_milliseconds(START + 1);
    Write::ReplaceLive { path, expected: None, body, now }
}

pub fn applied(outcome: Result<Applied>) -> Document {
    match outcome.expect("write") {
        Applied::Yes(document) => document,
        other => panic!("not applied: {other:?}"),
    }
}

pub fn refused(outcome: Result<Applied>) -> Option<Document> {
    match outcome.expect("write") {
        Applied::No(there) => there,
        other => panic!("applied: {other:?}"),
    }
}

pub fn version(number: i64) -> Version {
    Version::new(number)
}

pub fn brief(change: &Change) -> String {
    let document = &change.document;
    format!("{} {}@{}", change.event_type.as_str(), document.path(), document.version())
}

pub fn fact<'report>(report: &'report HealthReport, name: &str) -> Option<&'report str> {
    report.facts.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// What 32 tasks answer that run at once, each with its number.
pub async fn race<Task>(start: impl Fn(usize) -> Task) -> Vec<Task::Output>
where
    Task: Future<Output: Send> + Send + 'static,
{
    let tasks: Vec<_> = (0..32).map(|number| tokio::spawn(start(number))).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.expect("task"));
    }
    answers
}
