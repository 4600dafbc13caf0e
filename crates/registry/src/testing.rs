//! Backends and an environment that exist for tests only.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use syntrix_storage_core::backend::{
    Backend, BackendFactory, BackendProvider, OpenContext, StoreSet,
};
use syntrix_storage_core::{HumanDuration, Result, Secret, SettingsNode};

use crate::environment::Environment;
use crate::factories::Factories;

pub(crate) const CANARY: &str = "canary-hunter2";

const ALL: StoreSet = StoreSet { documents: true, users: true, revocations: true };
const DOCUMENTS: StoreSet = StoreSet { documents: true, users: false, revocations: false };
const REVOCATIONS: StoreSet = StoreSet { documents: false, users: false, revocations: true };

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Memory {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code)]
struct Sqlite {
    #[serde(default = "path")]
    path: String,
    synchronous: Option<Synchronous>,
}

fn path() -> String {
    "storage.db".into()
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Synchronous {
    /// Safe.
    Full,
    /// Fast.
    Normal,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code)]
struct Postgres {
    dsn: Secret,
    pool_connections_max: Option<u32>,
    acquire_timeout: Option<HumanDuration>,
    #[serde(default)]
    tls: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code)]
struct Mongo {
    uri: Secret,
    db: String,
    data_collection: Option<String>,
    sys_collection: Option<String>,
    soft_delete_retention: Option<HumanDuration>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code)]
struct Redis {
    addr: Secret,
    db: Option<u16>,
    prefix: Option<String>,
}

#[derive(Debug)]
struct Fake<S> {
    kind: &'static str,
    stores: StoreSet,
    settings: std::marker::PhantomData<fn() -> S>,
}

#[derive(Debug)]
struct FakeProvider<S>(&'static str, S);

fn fake<S: DeserializeOwned + JsonSchema + Debug + Send + Sync + 'static>(
    kind: &'static str,
    stores: StoreSet,
) -> Box<dyn BackendFactory> {
    Box::new(Fake::<S> { kind, stores, settings: std::marker::PhantomData })
}

pub(crate) fn fake_pg() -> Box<dyn BackendFactory> {
    fake::<Postgres>("pg", ALL)
}

pub(crate) fn factories() -> Factories {
    let mut factories = Factories::new();
    for factory in [
        fake::<Redis>("redis", REVOCATIONS),
        fake::<Memory>("memory", ALL),
        fake::<Sqlite>("sqlite", ALL),
        fake_pg(),
        fake::<Mongo>("mongo", DOCUMENTS),
    ] {
        factories.register(factory).unwrap();
    }
    factories
}

impl<S: DeserializeOwned + JsonSchema + Debug + Send + Sync + 'static> BackendFactory for Fake<S> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn stores(&self) -> StoreSet {
        self.stores
    }

    fn settings_schema(&self) -> serde_json::Value {
        schemars::schema_for!(S).to_value()
    }

    fn configure(&self, block: &SettingsNode) -> Result<Box<dyn BackendProvider>> {
        let settings: S = block.decode()?;
        if block.get("path").and_then(SettingsNode::as_text).is_some_and(|path| path.contains(".."))
        {
            return Err(block.invalid("path", "the path must lie inside the data directory"));
        }
        Ok(Box::new(FakeProvider(self.kind, settings)))
    }
}

#[async_trait::async_trait]
impl<S: Debug + Send + Sync> BackendProvider for FakeProvider<S> {
    fn connection_key(&self) -> String {
        self.0.to_owned()
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Backend>> {
        unreachable!("a check opens nothing")
    }

    async fn remove_namespace(&self, _: &OpenContext) -> Result<()> {
        unreachable!("a check opens nothing")
    }
}

/// Variables of its own, and a directory that vanishes with it.
#[derive(Debug)]
pub(crate) struct TestEnvironment {
    variables: HashMap<String, String>,
    directory: tempfile::TempDir,
}

impl TestEnvironment {
    pub(crate) fn new() -> Self {
        Self { variables: HashMap::new(), directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

impl Environment for TestEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }
}
