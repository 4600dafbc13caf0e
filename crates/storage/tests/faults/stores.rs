//! The three stores on one backend that fails on purpose.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage::backend::{Backend, BackendFactory, OpenContext};
use syntrix_storage::conformance::faults::{FaultRule, Faults, FaultyFactory};
use syntrix_storage::{Location, SettingsNode, SettingsValue};
use syntrix_storage_engine::{DocumentEngine, EngineOptions, RevocationEngine, UserEngine};
use tempfile::TempDir;

use crate::logs;

/// Short, so that a test of a close which has to wait does not wait long.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);
/// Far beyond what any of these calls may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct Stores {
    pub(crate) faults: Faults,
    pub(crate) documents: Arc<DocumentEngine>,
    pub(crate) users: Arc<UserEngine>,
    pub(crate) revocations: Arc<RevocationEngine>,
    _folder: TempDir,
}

impl Stores {
    pub(crate) fn fail(&self, rule: FaultRule) {
        self.faults.add(rule);
    }

    async fn open(factory: Box<dyn BackendFactory>, fast_paths: bool) -> Self {
        logs::keep();
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::seeded(7);
        let backend = backend(factory, faults.clone(), &folder).await;
        let options = EngineOptions {
            close_timeout: CLOSE_TIMEOUT,
            maintenance_interval: None,
            fast_paths,
            ..EngineOptions::default()
        };
        let documents = DocumentEngine::start(backend.documents().unwrap(), options.clone());
        let users = UserEngine::start(backend.users().unwrap(), &options);
        let revocations = RevocationEngine::start(backend.revocations().unwrap(), &options);
        let (documents, users) = (Arc::new(documents), Arc::new(users));
        Self { faults, documents, users, revocations: Arc::new(revocations), _folder: folder }
    }
}

async fn backend(
    factory: Box<dyn BackendFactory>,
    faults: Faults,
    folder: &TempDir,
) -> Arc<dyn Backend> {
    let settings = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
    let factory = FaultyFactory::new("faulty", factory, faults);
    let provider = factory.configure(&settings).unwrap();
    provider.open(&OpenContext::new(folder.path())).await.unwrap()
}

/// Runs `check` on both backends, with fast paths and without.
pub(crate) async fn everywhere(check: impl AsyncFn(Stores)) {
    for fast_paths in [true, false] {
        check(Stores::open(syntrix_storage_memory::factory(), fast_paths).await).await;
        check(Stores::open(syntrix_storage_sqlite::factory(), fast_paths).await).await;
    }
}

/// Fails if `call` takes longer than [`LIMIT`].
pub(crate) async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, call).await.expect("it hangs")
}
