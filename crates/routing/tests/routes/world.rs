//! Two databases, routes between them, and what is said and seen of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_conformance::faults::{Faults, FaultyFactory};
use syntrix_storage_core::backend::{
    Applied, Backend, BackendFactory, CallContext, DocumentBackend, LedgerKey, OpenContext, Write,
};
use syntrix_storage_core::{
    Body, Document, DocumentPath, ErrorKind, Location, Operation, Result, ScanRequest,
    SettingsNode, SettingsValue, Timestamp,
};
use syntrix_storage_routing::{
    DocumentReplication, DocumentRoute, NativeReplica, ReadFrom, ReadRules, ReplicationOptions,
    RouteControl, ShadowOpener, StatusReport, same_content,
};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Hands out what is open already.
#[derive(Debug)]
pub struct Ready(pub Arc<dyn Backend>);

#[async_trait]
impl ShadowOpener for Ready {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::clone(&self.0))
    }
}

pub struct World {
    pub primary: Arc<dyn Backend>,
    pub shadow: Arc<dyn Backend>,
    /// Of the shadow.
    pub faults: Faults,
}

pub struct Route {
    pub route: DocumentRoute,
    pub control: Arc<DocumentReplication>,
}

pub async fn open(factory: Box<dyn BackendFactory>) -> Arc<dyn Backend> {
    let settings = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
    factory.configure(&settings).unwrap().open(&OpenContext::new(".")).await.unwrap()
}

pub fn options() -> ReplicationOptions {
    let mut options = ReplicationOptions::default();
    options.lease_time = Duration::from_millis(600);
    options.standby_interval = Duration::from_millis(20);
    options.apply_timeout = Duration::from_millis(400);
    options.mirror_timeout = Duration::from_millis(200);
    options
}

impl World {
    pub async fn new() -> Self {
        let faults = Faults::seeded(1);
        let faulty =
            FaultyFactory::new("faulty", syntrix_storage_memory::factory(), faults.clone());
        let primary = open(syntrix_storage_memory::factory()).await;
        Self { primary, shadow: open(Box::new(faulty)).await, faults }
    }

    pub fn open_with(&self, opener: Arc<dyn ShadowOpener>, options: ReplicationOptions) -> Route {
        let primary = self.primary.documents().unwrap();
        let ledger = self.primary.ledger().unwrap();
        let control = DocumentReplication::start(
            "dual-write",
            Arc::clone(&primary),
            ledger,
            opener,
            NativeReplica::Refused,
            options,
        );
        let (reads, rules) = (ReadFrom::Primary, ReadRules::default());
        let route = DocumentRoute::dual_write(primary, Arc::clone(&control), reads, rules);
        Route { route, control }
    }

    pub fn open(&self) -> Route {
        self.open_with(Arc::new(Ready(Arc::clone(&self.shadow))), options())
    }

    /// A route that knows of no shadow.
    pub fn single(&self) -> DocumentRoute {
        DocumentRoute::single(self.primary.documents().unwrap(), self.primary.ledger().ok())
    }

    /// Every record of both sides, tombstones too.
    pub async fn expect_equal_sides(&self) -> usize {
        let primary = everything(&*self.primary.documents().unwrap()).await;
        let shadow = everything(&*self.shadow.documents().unwrap()).await;
        for (left, right) in primary.iter().zip(&shadow) {
            assert!(same_content(left, right), "primary {left:?} and shadow {right:?} differ");
        }
        assert_eq!(primary.len(), shadow.len(), "one side has what the other lacks");
        primary.len()
    }

    /// Changes a record in the shadow's ledger by hand.
    pub async fn edit(&self, key: &str, mut change: impl FnMut(&mut serde_json::Value)) {
        let (ledger, key) = (self.shadow.ledger().unwrap(), LedgerKey::parse(key).unwrap());
        loop {
            let record = ledger.read(&key).await.unwrap().unwrap();
            let mut body = serde_json::from_slice(&record.body).unwrap();
            change(&mut body);
            let body = serde_json::to_vec(&body).unwrap();
            if ledger.write(&key, Some(record.revision), body).await.unwrap().is_some() {
                return;
            }
        }
    }

    pub async fn is_pinned(&self) -> bool {
        let key = LedgerKey::parse("documents/pin").unwrap();
        self.primary.ledger().unwrap().read(&key).await.unwrap().is_some()
    }
}

impl Route {
    pub async fn drain(&self) {
        self.control.drain(PATIENCE).await.unwrap();
    }

    /// Drains to the end, which says that something was refused.
    pub async fn expect_refusal(&self) {
        let error = self.control.drain(PATIENCE).await.expect_err("everything is there");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }

    pub async fn status(&self) -> StatusReport {
        self.control.status().await.unwrap()
    }

    pub async fn close(&self) {
        self.route.close().await.unwrap();
    }
}

async fn everything(backend: &dyn DocumentBackend) -> Vec<Document> {
    let mut request = ScanRequest::of(None, true);
    (request.show_deleted, request.limit) = (true, 100_000);
    backend.scan(&request, &CallContext::new(Operation::Scan)).await.unwrap()
}

pub fn at(path: &str) -> DocumentPath {
    DocumentPath::parse(path).unwrap()
}

pub fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(milliseconds)
}

pub fn body(n: i64) -> Body {
    Body::from_canonical(format!(r#"{{"n":{n}}}"#))
}

pub fn first(path: &str, now: i64, n: i64) -> Document {
    Document::first(at(path), time(now), body(n))
}

pub async fn apply(backend: &dyn DocumentBackend, write: Write) -> Document {
    let context = CallContext::new(Operation::Write);
    match backend.write(vec![write], &context).await.pop().unwrap().unwrap() {
        Applied::Yes(document) | Applied::ShadowPending(document) => document,
        Applied::No(current) => panic!("not applied over {current:?}"),
    }
}

pub async fn insert(backend: &dyn DocumentBackend, path: &str, now: i64, n: i64) -> Document {
    apply(backend, Write::Insert(first(path, now, n))).await
}

pub async fn update(backend: &dyn DocumentBackend, old: &Document, n: i64) -> Document {
    let document = old.replaced(old.updated_at(), body(n));
    apply(backend, Write::Replace { expected: old.version(), document }).await
}

pub async fn delete(backend: &dyn DocumentBackend, old: &Document, now: i64) -> Document {
    let document = old.tombstone(time(now));
    apply(backend, Write::Replace { expected: old.version(), document }).await
}

/// Waits until `test` holds.
pub async fn until(what: &str, mut test: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !test().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
