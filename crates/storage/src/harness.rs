//! Runs the public conformance suite on whatever a configuration names.

mod route;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_conformance::{Handle, Harness, Route, Setup};
use syntrix_storage_core::backend::{Backend, StoreKind};
use syntrix_storage_core::{
    Capabilities, DocumentAdmin, DocumentStore, Error, ErrorKind, Result, StoreAdmin,
    TokenRevocationStore, UserStore,
};
use syntrix_storage_registry::Environment;
use syntrix_storage_routing::ShadowState;
use tempfile::TempDir;

use self::route::OpenRoute;
use crate::config::StorageConfig;
use crate::flow;
use crate::storage::{Storage, absent};

/// Longest wait for a shadow to have what its primary has.
const FILL_WAIT: Duration = Duration::from_secs(30);
/// Between two looks whether a shadow is refused.
const REFUSED_INTERVAL: Duration = Duration::from_millis(100);

/// Configurations of cases that were opened, for a namespace each.
static CONFIGURATIONS: AtomicU64 = AtomicU64::new(0);

/// A [`Harness`] over a configuration, with a namespace per case in the configured servers and never in the configured data.
///
/// # Examples
///
/// One test per case of the suite, for a backend of your own:
///
/// ```no_run
/// use syntrix_storage::{StorageConfig, StorageHarness, conformance};
///
/// conformance::conformance_suite!(StorageHarness::open(StorageConfig::memory()).await.unwrap());
/// # fn main() {}
/// ```
pub struct StorageHarness {
    config: StorageConfig,
    kind: &'static str,
    /// The first store's block, for configurations that a case writes itself.
    block: String,
    /// The shadow's block and the route of documents, likewise.
    route: Option<(String, String)>,
    capabilities: HashMap<StoreKind, Capabilities>,
    namespaces: Mutex<BTreeSet<String>>,
    /// Removed with the harness.
    _folder: Option<TempDir>,
}

impl StorageHarness {
    /// A harness over the stores that `config` has sections for, or the one it is narrowed to.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConfigInvalid`], [`ErrorKind::Unsupported`] without any store, and what opening a backend says.
    pub async fn open(config: StorageConfig) -> Result<Self> {
        // Others may probe the same server at the same time.
        let namespace = format!("capabilities_{}", std::process::id());
        let config = config.with_namespace(namespace).with_maintenance(false);
        let capabilities = probe(&config).await?;
        let first = StoreKind::ALL.into_iter().find(|store| capabilities.contains_key(store));
        let first = first.ok_or_else(|| absent(StoreKind::Documents))?;
        let kind = config.primary_kind(first)?.ok_or_else(|| absent(first))?;
        let block = config.primary_block(first)?.unwrap_or_default();
        let (route, namespaces) = (config.document_route_text()?, Mutex::default());
        Ok(Self { config, kind, block, route, capabilities, namespaces, _folder: None })
    }

    /// As [`StorageHarness::open`], with the data in a fresh folder that is removed with the harness.
    ///
    /// # Errors
    ///
    /// As [`StorageHarness::open`], and [`ErrorKind::Unavailable`] if there can be no such folder.
    pub async fn open_in_fresh_folder(config: StorageConfig) -> Result<Self> {
        let folder = fresh_folder()?;
        let harness = Self::open(config.with_data_dir(folder.path())).await?;
        Ok(Self { _folder: Some(folder), ..harness })
    }

    fn namespaces(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Harness for StorageHarness {
    fn name(&self) -> &str {
        self.kind
    }

    fn capabilities(&self, store: StoreKind) -> Option<Capabilities> {
        self.capabilities.get(&store).copied()
    }

    async fn open(&self, namespace: &str, setup: &Setup) -> Result<Arc<dyn Handle>> {
        self.namespaces().insert(namespace.to_owned());
        let config = self
            .config
            .clone()
            .with_store_only(setup.store)
            .with_namespace(namespace)
            .with_clock(Arc::new(setup.clock.clone()))
            .with_retention(setup.retention)
            .with_fast_paths(setup.fast_paths);
        OpenHandle::open(config).await
    }

    async fn remove(&self, namespace: &str) -> Result<()> {
        self.config.clone().with_namespace(namespace).remove_namespace().await?;
        self.namespaces().remove(namespace);
        Ok(())
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(self.namespaces().iter().cloned().collect())
    }

    fn config_block(&self) -> String {
        self.block.clone()
    }

    async fn check_config(&self, yaml: &str, environment: &[(&str, &str)]) -> Result<Vec<String>> {
        let environment = Arc::new(FixedEnvironment::new(environment));
        let report = self.config.clone().with_text(yaml).with_environment(environment).check()?;
        Ok(report.warnings)
    }

    async fn open_config(&self, yaml: &str) -> Result<Arc<dyn Handle>> {
        let folder = fresh_folder()?;
        // A server keeps its data elsewhere, and the configured data is never touched.
        let number = CONFIGURATIONS.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("config_{}_{number}", std::process::id());
        let yaml = match &self.route {
            Some((shadow, route)) => flow::routed(yaml, shadow, route),
            None => yaml.to_owned(),
        };
        let config = self.config.clone().with_text(&yaml).with_data_dir(folder.path());
        OpenHandle::open_own(config.with_namespace(namespace), folder).await
    }
}

/// What the backend of each wanted store offers, from an open one.
async fn probe(config: &StorageConfig) -> Result<HashMap<StoreKind, Capabilities>> {
    let storage = Storage::from_config(config.clone()).await?;
    let health = storage.health().await?;
    storage.close().await?;
    config.remove_namespace().await?;
    Ok(health.into_iter().map(|health| (health.store, health.capabilities)).collect())
}

fn fresh_folder() -> Result<TempDir> {
    tempfile::tempdir().map_err(|error| {
        Error::new(ErrorKind::Unavailable, "open")
            .with_message("no temporary folder could be made")
            .with_source(error)
    })
}

struct OpenHandle {
    storage: Storage,
    /// Whether the documents' shadow answers reads.
    reads_shadow: bool,
    /// What is removed with the handle: a namespace, and the folder it may lie in.
    own: Option<(StorageConfig, TempDir)>,
}

impl OpenHandle {
    async fn open(config: StorageConfig) -> Result<Arc<dyn Handle>> {
        let reads_shadow = config.documents_read_shadow()?;
        let storage = Storage::from_config(config).await?;
        fill_shadows(&storage).await?;
        Ok(Arc::new(Self { storage, reads_shadow, own: None }))
    }

    async fn open_own(config: StorageConfig, folder: TempDir) -> Result<Arc<dyn Handle>> {
        let reads_shadow = config.documents_read_shadow()?;
        let storage = Storage::from_config(config.clone()).await?;
        Ok(Arc::new(Self { storage, reads_shadow, own: Some((config, folder)) }))
    }
}

/// A shadow that is not filled is not read, so a case would see nothing of it. One that is refused, as after a restart of a
/// primary in memory, is never filled.
async fn fill_shadows(storage: &Storage) -> Result<()> {
    for store in StoreKind::ALL {
        let Ok(route) = storage.routing(store) else { continue };
        let refused = async {
            while !matches!(route.status().await?.shadow, ShadowState::Refused(_)) {
                tokio::time::sleep(REFUSED_INTERVAL).await;
            }
            Ok::<(), Error>(())
        };
        tokio::select! {
            filled = route.drain(FILL_WAIT) => filled?,
            refused = refused => refused?,
        }
    }
    Ok(())
}

#[async_trait]
impl Handle for OpenHandle {
    fn documents(&self) -> Result<Arc<dyn DocumentStore>> {
        self.storage.documents()
    }

    fn admin(&self) -> Result<Arc<dyn DocumentAdmin>> {
        self.storage.document_admin()
    }

    fn users(&self) -> Result<Arc<dyn UserStore>> {
        self.storage.users()
    }

    fn revocations(&self) -> Result<Arc<dyn TokenRevocationStore>> {
        self.storage.revocations()
    }

    fn store_admin(&self, store: StoreKind) -> Result<Arc<dyn StoreAdmin>> {
        self.storage.store_admin(store)
    }

    fn backend(&self) -> Result<Arc<dyn Backend>> {
        self.storage.first_backend()
    }

    fn route(&self) -> Result<Arc<dyn Route>> {
        Ok(Arc::new(OpenRoute::new(self.storage.document_route()?, self.reads_shadow)?))
    }

    async fn close(&self) -> Result<()> {
        self.storage.close().await?;
        match &self.own {
            Some((config, _)) => config.remove_namespace().await,
            None => Ok(()),
        }
    }
}

/// The only variables there are.
#[derive(Debug)]
struct FixedEnvironment(HashMap<String, String>);

impl FixedEnvironment {
    fn new(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self(variables.iter().map(owned).collect())
    }
}

impl Environment for FixedEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn directory(&self) -> &Path {
        Path::new(".")
    }
}
