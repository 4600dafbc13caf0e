//! What to open: a YAML text or file, where data lies, and what tests and tools set beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use syntrix_storage_core::backend::{
    BackendFactory, BackendProvider, OpenContext, StoreKind, StoreSet,
};
use syntrix_storage_core::{Clock, Error, ErrorKind, Result, Retention, SettingsNode, SystemClock};
use syntrix_storage_engine::EngineOptions;
use syntrix_storage_registry::{
    ConfiguredBlock, Environment, Factories, ProcessEnvironment, StoragePlan, StorePlan,
};
use syntrix_storage_routing::{ReadRules, ReplicationOptions};

use crate::backends;
use crate::open::{Backends, no_block};
use crate::opening::{Opening, shadow_access};
use crate::stores::Stores;

const EMBEDDED: &str = "
storage:
  document: {backend: sqlite, sqlite: {}}
  user: {backend: sqlite, sqlite: {}}
  revocation: {backend: sqlite, sqlite: {}}
";
const MEMORY: &str = "
storage:
  document: {backend: memory, memory: {}}
  user: {backend: memory, memory: {}}
  revocation: {backend: memory, memory: {}}
";

/// What [`Storage::from_config`](crate::Storage::from_config) opens.
///
/// # Examples
///
/// ```
/// use syntrix_storage::StorageConfig;
///
/// let text = "
/// storage:
///   document:
///     backend: main
///     main: {kind: sqlite, softDeleteRetention: 7d}
/// ";
/// let config = StorageConfig::from_yaml(text, "storage.yaml").with_data_dir("data");
/// assert!(config.check()?.warnings.is_empty());
///
/// let wrong = StorageConfig::from_yaml(text.replace("softDelete", "soft"), "storage.yaml");
/// assert!(wrong.check().unwrap_err().to_string().contains("storage.yaml:5"));
/// # Ok::<(), syntrix_storage::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StorageConfig {
    text: String,
    file_name: String,
    data_dir: PathBuf,
    namespace: Option<String>,
    clock: Arc<dyn Clock>,
    factories: Vec<Arc<dyn BackendFactory>>,
    environment: Arc<dyn Environment>,
    retention: Option<Retention>,
    fast_paths: bool,
    maintenance: bool,
    pub(crate) replication: ReplicationOptions,
    pub(crate) read_rules: ReadRules,
    /// The one store to open; all if `None`.
    only: Option<StoreKind>,
}

/// What [`StorageConfig::check`] has to say about a configuration that is right.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct ConfigReport {
    /// What is allowed but probably not meant, each with file, line and column.
    pub warnings: Vec<String>,
    /// The configuration as YAML with every default filled in and every secret left out.
    pub effective: String,
}

impl StorageConfig {
    /// The three stores in the SQLite file `storage.db` in `data_dir`.
    pub fn embedded(data_dir: impl AsRef<Path>) -> Self {
        Self::from_yaml(EMBEDDED, "embedded").with_data_dir(data_dir.as_ref())
    }

    /// The three stores in memory.
    pub fn memory() -> Self {
        Self::from_yaml(MEMORY, "memory")
    }

    /// A YAML text; `file_name` is what errors call it.
    pub fn from_yaml(text: impl Into<String>, file_name: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            file_name: file_name.into(),
            data_dir: PathBuf::from("."),
            namespace: None,
            clock: Arc::new(SystemClock),
            factories: Vec::new(),
            environment: Arc::new(ProcessEnvironment::new(".")),
            retention: None,
            fast_paths: true,
            maintenance: true,
            replication: ReplicationOptions::default(),
            read_rules: ReadRules::default(),
            only: None,
        }
    }

    /// A YAML file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConfigInvalid`] if it cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::ConfigInvalid, "open")
                .with_message("the configuration file cannot be read")
                .with_fact("file", path.display())
                .with_source(error)
        })?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let environment = ProcessEnvironment::new(directory.unwrap_or(Path::new(".")));
        Ok(Self::from_yaml(text, path.display().to_string())
            .with_environment(Arc::new(environment)))
    }

    /// Sets the folder that relative paths of the configuration start in. Default: the current one.
    #[must_use]
    pub fn with_data_dir(mut self, data_dir: impl Into<PathBuf>) -> Self {
        self.data_dir = data_dir.into();
        self
    }

    /// Keeps the data apart from the configured one, under a name of `[a-z0-9_]`; for tests.
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets the clock of writes and retention; for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Adds a third party's backend under the kind it names.
    #[must_use]
    pub fn with_factory(mut self, factory: Box<dyn BackendFactory>) -> Self {
        self.factories.push(Arc::from(factory));
        self
    }

    /// Replaces the process environment as the source of `${NAME}`; for tests.
    #[must_use]
    pub fn with_environment(mut self, environment: Arc<dyn Environment>) -> Self {
        self.environment = environment;
        self
    }

    /// Replaces the configured retention; for tests.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Switches the backends' fast paths on or off; for tests, since the outcome is the same.
    #[must_use]
    pub fn with_fast_paths(mut self, fast_paths: bool) -> Self {
        self.fast_paths = fast_paths;
        self
    }

    /// Switches the worker off that purges expired tombstones, history and revocations; for tests with a clock of their own.
    #[must_use]
    pub fn with_maintenance(mut self, maintenance: bool) -> Self {
        self.maintenance = maintenance;
        self
    }

    /// Replaces how shadows are kept up to date, but for what the configuration says itself; for tests and tools.
    #[must_use]
    pub fn with_replication(mut self, replication: ReplicationOptions) -> Self {
        self.replication = replication;
        self
    }

    /// Replaces how routes read from their shadow; for tests and tools.
    #[must_use]
    pub fn with_read_rules(mut self, rules: ReadRules) -> Self {
        self.read_rules = rules;
        self
    }

    /// Leaves the other stores of the configuration closed; for tools that need one alone.
    #[must_use]
    pub fn with_store_only(mut self, store: StoreKind) -> Self {
        self.only = Some(store);
        self
    }

    pub(crate) fn wants(&self, store: StoreKind) -> bool {
        self.only.is_none_or(|only| only == store)
    }

    /// Checks everything that can be checked without opening anything.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConfigInvalid`] with all faults found, each with file, line, column, excerpt and remedy.
    pub fn check(&self) -> Result<ConfigReport> {
        let plan = self.plan()?;
        let warnings = plan.warnings.iter().map(ToString::to_string).collect();
        Ok(ConfigReport { warnings, effective: plan.effective })
    }

    /// JSON Schema of the file, from the types that parse it and every registered backend's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConfigInvalid`] if two backends have one kind.
    pub fn schema(&self) -> Result<serde_json::Value> {
        Ok(syntrix_storage_registry::schema(&self.all_factories()?))
    }

    /// A commented configuration to start from.
    pub fn example() -> &'static str {
        syntrix_storage_registry::EXAMPLE
    }

    /// Removes a namespace with everything in it.
    ///
    /// # Errors
    ///
    /// As opening it; [`ErrorKind::InvalidArgument`] without a namespace: configured data is never removed.
    pub async fn remove_namespace(&self) -> Result<()> {
        if self.namespace.is_none() {
            return Err(Error::new(ErrorKind::InvalidArgument, "remove_namespace")
                .with_message("only a namespace can be removed, never the configured data"));
        }
        let (plan, context) = (self.plan()?, self.context()?);
        let stores = StoreKind::ALL.into_iter().filter(|store| self.wants(*store));
        for store in stores.filter_map(|store| plan.store(store)) {
            primary(store)?.provider.remove_namespace(&context).await?;
            if let Some(shadow) = store.shadow() {
                let context = context.clone().with_access(shadow_access(store.route.strategy));
                shadow.provider.remove_namespace(&context).await?;
            }
        }
        Ok(())
    }

    /// The kind of a store's primary; `None` without a section for the store.
    #[cfg(feature = "conformance")]
    pub(crate) fn primary_kind(&self, store: StoreKind) -> Result<Option<&'static str>> {
        self.plan()?.store(store).map(|store| Ok(primary(store)?.kind)).transpose()
    }

    #[cfg(feature = "conformance")]
    pub(crate) fn with_text(mut self, text: &str) -> Self {
        self.text = text.to_owned();
        self
    }

    /// The block of a store's primary as a flow mapping, without what a case sets itself. It may hold secrets.
    #[cfg(feature = "conformance")]
    pub(crate) fn primary_block(&self, store: StoreKind) -> Result<Option<String>> {
        let plan = self.plan()?;
        plan.store(store).map(|store| Ok(crate::flow::block(primary(store)?))).transpose()
    }

    /// The shadow's block, and the routing section's lines as a flow mapping; `None` without a shadow.
    #[cfg(feature = "conformance")]
    pub(crate) fn document_route_text(&self) -> Result<Option<(String, String)>> {
        let plan = self.plan()?;
        let Some(section) = plan.documents.as_ref() else { return Ok(None) };
        let Some(shadow) = section.shadow() else { return Ok(None) };
        Ok(Some((crate::flow::block(shadow), crate::flow::route(&section.route))))
    }

    /// Whether the shadow answers reads of documents.
    #[cfg(feature = "conformance")]
    pub(crate) fn documents_read_shadow(&self) -> Result<bool> {
        use syntrix_storage_registry::Reads;

        let plan = self.plan()?;
        let section = plan.documents.as_ref();
        Ok(section.is_some_and(|section| section.route.reads == Reads::Shadow))
    }

    pub(crate) async fn open(&self) -> Result<(Stores, Arc<Backends>)> {
        let plan = Arc::new(self.plan()?);
        for warning in &plan.warnings {
            tracing::warn!("{warning}");
        }
        let backends = Arc::new(Backends::default());
        let opening = Opening::new(self, plan, self.context()?, Arc::clone(&backends));
        match opening.stores().await {
            Ok(stores) => Ok((stores, backends)),
            Err(error) => {
                // The first error is the one to tell; what was opened before it must not stay open.
                let _ = backends.close().await;
                Err(error.in_operation("open"))
            }
        }
    }

    fn plan(&self) -> Result<StoragePlan> {
        let factories = self.all_factories()?;
        syntrix_storage_registry::check(&self.text, &self.file_name, &factories, &*self.environment)
            .map_err(Error::from)
    }

    fn all_factories(&self) -> Result<Factories> {
        let mut factories = Factories::default();
        for factory in backends::factories() {
            factories.register(factory)?;
        }
        for factory in &self.factories {
            factories.register(Box::new(Shared(Arc::clone(factory))))?;
        }
        Ok(factories)
    }

    fn context(&self) -> Result<OpenContext> {
        let context = OpenContext::new(&self.data_dir).with_clock(Arc::clone(&self.clock));
        match &self.namespace {
            Some(namespace) => context.with_namespace(namespace),
            None => Ok(context),
        }
    }

    pub(crate) fn engine_options(&self) -> EngineOptions {
        let mut options = EngineOptions {
            clock: Arc::clone(&self.clock),
            retention: self.retention,
            fast_paths: self.fast_paths,
            ..EngineOptions::default()
        };
        if !self.maintenance {
            options.maintenance_interval = None;
        }
        options
    }
}

pub(crate) fn primary(store: &StorePlan) -> Result<&ConfiguredBlock> {
    store.primary().ok_or_else(no_block)
}

/// A factory that several configurations share.
#[derive(Debug)]
struct Shared(Arc<dyn BackendFactory>);

impl BackendFactory for Shared {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn stores(&self) -> StoreSet {
        self.0.stores()
    }

    fn settings_schema(&self) -> serde_json::Value {
        self.0.settings_schema()
    }

    fn configure(&self, block: &SettingsNode) -> Result<Box<dyn BackendProvider>> {
        self.0.configure(block)
    }
}
