//! Configurations with a route, either side of it alone, and what must be equal on both.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::routing::{ReplicationOptions, RouteControl, same_content};
use syntrix_storage::{
    BulkItem, Document, DocumentAdmin, DocumentPath, DocumentStore, ScanRequest, Storage,
    StorageConfig,
};
use tempfile::TempDir;

/// Long enough for whatever must happen at all.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The same after a torment, which leaves thousands of records, each of which may wait for a majority's journal.
pub const PATIENCE_AFTER_TORMENT: Duration = Duration::from_secs(150);

/// Two blocks of one configuration.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub primary: &'static str,
    pub shadow: &'static str,
    /// On servers, data are kept apart from everybody else's by it.
    pub namespace: Option<&'static str>,
}

pub const MEMORY_TO_SQLITE: Pair =
    Pair { primary: "{kind: memory}", shadow: "{kind: sqlite, path: shadow.db}", namespace: None };
pub const SQLITE_TO_SQLITE: Pair = Pair {
    primary: "{kind: sqlite, path: primary.db}",
    shadow: "{kind: sqlite, path: shadow.db}",
    namespace: None,
};

impl Pair {
    /// The route, with keys added to its section.
    pub fn config(self, folder: &Path, keys: &str) -> StorageConfig {
        let Self { primary, shadow, .. } = self;
        let text = format!(
            "storage:\n  document:\n    backend: main\n    main: {primary}\n    other: {shadow}\n  \
             routing:\n    document: {{strategy: dual-write, shadow: other{keys}}}\n"
        );
        self.text(text, folder)
    }

    pub fn primary_alone(self, folder: &Path) -> StorageConfig {
        self.alone(self.primary, folder)
    }

    pub fn shadow_alone(self, folder: &Path) -> StorageConfig {
        self.alone(self.shadow, folder)
    }

    fn alone(self, block: &str, folder: &Path) -> StorageConfig {
        let text = format!("storage:\n  document:\n    backend: main\n    main: {block}\n");
        self.text(text, folder)
    }

    fn text(self, text: String, folder: &Path) -> StorageConfig {
        let config = StorageConfig::from_yaml(text, "route.yaml").with_data_dir(folder);
        let config = config.with_replication(quick());
        match self.namespace {
            Some(namespace) => config.with_namespace(namespace),
            None => config,
        }
    }
}

/// Leases that are taken over before a test gets bored.
pub fn quick() -> ReplicationOptions {
    let mut options = ReplicationOptions::default();
    options.lease_time = Duration::from_secs(1);
    options.standby_interval = Duration::from_millis(50);
    options
}

/// A configuration of one store, `user` or `revocation`, with a route from `primary` to `shadow`.
pub fn route(
    store: &str,
    primary: &str,
    shadow: &str,
    folder: &Path,
    sweep: Duration,
) -> StorageConfig {
    let text = format!(
        "storage:\n  {store}:\n    backend: main\n    main: {primary}\n    other: {shadow}\n  \
         routing:\n    {store}: {{strategy: dual-write, shadow: other, mirror: wait}}\n"
    );
    let mut options: ReplicationOptions = quick();
    options.sweep_interval = sweep;
    options.mirror_budget = PATIENCE;
    StorageConfig::from_yaml(text, "route.yaml").with_data_dir(folder).with_replication(options)
}

/// One block alone.
pub async fn alone(store: &str, block: &str, folder: &Path) -> Storage {
    let text = format!("storage:\n  {store}:\n    backend: main\n    main: {block}\n");
    let config = StorageConfig::from_yaml(text, "alone.yaml").with_data_dir(folder);
    Storage::from_config(config).await.unwrap()
}

/// An hour between passes: what arrives before came by the mirror, or because somebody asked.
pub const RARELY: Duration = Duration::from_secs(3600);

/// An open route, and either side of it.
pub struct Route {
    pub storage: Storage,
    pub documents: Arc<dyn DocumentStore>,
    pub control: Arc<dyn RouteControl>,
    pub folder: TempDir,
    pub pair: Pair,
}

impl Route {
    pub async fn open(pair: Pair) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = pair.config(folder.path(), "");
        Self::open_config(pair, folder, config).await
    }

    pub async fn open_config(pair: Pair, folder: TempDir, config: StorageConfig) -> Self {
        let storage = Storage::from_config(config).await.unwrap();
        let documents = storage.documents().unwrap();
        let control = storage.routing(StoreKind::Documents).unwrap();
        Self { storage, documents, control, folder, pair }
    }

    pub async fn drain(&self) {
        self.control.drain(PATIENCE).await.unwrap();
    }

    /// Drains, and compares every record of both sides, tombstones too.
    pub async fn expect_equal_sides(&self) -> usize {
        self.drain().await;
        let shadow =
            Storage::from_config(self.pair.shadow_alone(self.folder.path())).await.unwrap();
        let sides = (
            everything(&*self.storage.document_admin().unwrap()).await,
            everything(&*shadow.document_admin().unwrap()).await,
        );
        shadow.close().await.unwrap();
        expect_equal(&sides.0, &sides.1);
        sides.0.len()
    }

    pub async fn create(&self, path: &str, n: i64) {
        self.documents.create(&at(path), json!({"n": n}), Default::default()).await.unwrap();
    }

    pub async fn update(&self, path: &str, n: i64) {
        self.documents.update(&at(path), json!({"n": n}), Default::default()).await.unwrap();
    }

    pub async fn delete(&self, path: &str) {
        self.documents.delete(&at(path), Default::default()).await.unwrap();
    }
}

pub fn at(path: &str) -> DocumentPath {
    DocumentPath::parse(path).unwrap()
}

/// Every record by path, tombstones too.
pub async fn everything(admin: &dyn DocumentAdmin) -> Vec<Document> {
    let mut request = ScanRequest::of(None, true);
    request.show_deleted = true;
    let mut all = Vec::new();
    loop {
        let page = admin.scan(request.clone()).await.unwrap();
        all.extend(page.documents);
        request.after = page.next;
        if request.after.is_none() {
            return all;
        }
    }
}

pub fn expect_equal(primary: &[Document], shadow: &[Document]) {
    for (left, right) in primary.iter().zip(shadow) {
        assert!(same_content(left, right), "primary {left:?} and shadow {right:?} differ");
    }
    assert_eq!(primary.len(), shadow.len(), "one side has records that the other lacks");
}

/// A create as part of a call of many.
pub fn creation(path: String, n: i64) -> BulkItem {
    BulkItem::Create { path: at(&path), data: json!({"n": n}) }
}
