//! What every test needs: a namespace on the server, a store in it, and short ways to write and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use syntrix_storage_core::backend::{
    Applied, Backend, BackendProvider, CallContext, Change, DocumentBackend, Feed, FeedPage,
    OpenContext, Write,
};
use syntrix_storage_core::{
    Body, Document, DocumentPath, ManualClock, Operation, Position, Result, SettingsNode,
    SettingsValue, Timestamp, encode_data, normalize_data,
};
use tokio_postgres::{Client, NoTls};

pub const START: i64 = 1_700_000_000_000;
/// Random stores in the differential test: each builds indexes, which waits for everything else on the server.
pub const DIFFERENTIAL_CASES: u32 = 24;

const VARIABLE: &str = "SYNTRIX_STORAGE_TEST_PG";

/// The server that tests share.
pub fn dsn() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{VARIABLE} names no server; `cargo xtask servers up` starts one and says how to set it"
        )
    })
}

/// A connection that goes around the backend.
pub async fn connect(dsn: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

/// An open store in a namespace of its own, with a clock that stands still.
pub struct Fixture {
    pub clock: ManualClock,
    pub backend: Arc<dyn Backend>,
    pub documents: Arc<dyn DocumentBackend>,
    pub place: Arc<Place>,
}

/// A namespace, dropped with the last handle on it.
pub struct Place {
    pub dsn: String,
    pub namespace: String,
}

impl Place {
    pub fn new(dsn: String) -> Arc<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("test_{}_{number}", std::process::id());
        Arc::new(Self { dsn, namespace })
    }

    pub fn schema(&self) -> String {
        format!("syntrix_storage_{}", self.namespace)
    }

    pub fn context(&self, clock: &ManualClock) -> OpenContext {
        let context = OpenContext::new("unused").with_clock(Arc::new(clock.clone()));
        context.with_namespace(&self.namespace).expect("namespace")
    }

    /// The block of the configuration, with `settings` added.
    pub fn block(&self, settings: &Value) -> Value {
        let mut block = json!({"dsn": self.dsn, "poolConnectionsMax": 4, "readConnections": 2});
        let members = settings.as_object().expect("settings");
        block.as_object_mut().expect("block").extend(members.clone());
        block
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (dsn, schema) = (self.dsn.clone(), self.schema());
        // A test's own runtime may be gone already.
        let remove = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("runtime");
            runtime.block_on(async move {
                let Ok((client, connection)) = tokio_postgres::connect(&dsn, NoTls).await else {
                    return;
                };
                tokio::spawn(connection);
                let drop = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
                let _ = client.batch_execute(&drop).await;
            });
        });
        let _ = remove.join();
    }
}

impl Fixture {
    pub async fn open() -> Self {
        Self::with(&json!({})).await
    }

    /// For tests that need many writes and no power cut.
    pub async fn for_differential() -> Self {
        Self::open().await
    }

    pub async fn with(settings: &Value) -> Self {
        Self::at(Place::new(dsn()), settings).await
    }

    pub async fn at(place: Arc<Place>, settings: &Value) -> Self {
        let clock = ManualClock::starting_at(START);
        let provider = provider(&place.block(settings));
        let backend = provider.open(&place.context(&clock)).await.expect("open");
        let documents = backend.documents().expect("documents");
        Self { clock, backend, documents, place }
    }

    /// Another handle on the same data, as another process would have it.
    pub async fn again(&self) -> Self {
        Self::at(Arc::clone(&self.place), &json!({})).await
    }

    /// A connection that goes around the backend, for statements about the store's tables by their plain names.
    pub async fn raw(&self) -> Client {
        let client = connect(&self.place.dsn).await;
        let set = format!("SET search_path = {}", self.place.schema());
        client.batch_execute(&set).await.expect("search path");
        client
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
        let read = self.documents.get(&parse(path), &context(Operation::Read)).await.expect("get");
        read.map(canonical)
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
    syntrix_storage_postgres::factory().configure(&node(settings)).expect("settings")
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
        Applied::No(there) => there.map(canonical),
        other => panic!("applied: {other:?}"),
    }
}

/// The same document with its members as this program writes them: `jsonb` has blanks and an order of its own.
pub fn canonical(document: Document) -> Document {
    let body = Body::from_canonical(document.value().expect("value").to_string());
    Document::from_parts(document.path().clone(), document.metadata(), body)
}

pub fn brief(change: &Change) -> String {
    let document = &change.document;
    format!("{} {}@{}", change.event_type.as_str(), document.path(), document.version())
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
