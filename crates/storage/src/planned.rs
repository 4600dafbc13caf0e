//! Backends whose configuration is checked already, and that say so when they are opened.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use syntrix_storage_core::backend::{
    Backend, BackendFactory, BackendProvider, OpenContext, StoreSet,
};
use syntrix_storage_core::{Error, ErrorKind, HumanDuration, Result, Secret, SettingsNode};

const WITHOUT_REVOCATIONS: StoreSet = StoreSet { documents: true, users: true, revocations: false };
const REVOCATIONS: StoreSet = StoreSet { documents: false, users: false, revocations: true };

pub(crate) fn mongodb() -> Box<dyn BackendFactory> {
    Box::new(Planned::<MongoSettings>::new("mongo", WITHOUT_REVOCATIONS))
}

pub(crate) fn redis() -> Box<dyn BackendFactory> {
    Box::new(Planned::<RedisSettings>::new("redis", REVOCATIONS))
}

/// One `mongo` block.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the backend that reads them is not in this build")]
struct MongoSettings {
    /// Connection URI.
    uri: Secret,
    /// Database.
    db: String,
    /// Collection of the documents. Default: documents.
    data_collection: Option<String>,
    /// Collection of the documents under `sys`. Default: sys.
    sys_collection: Option<String>,
    /// How long tombstones stay. Default: 30d.
    soft_delete_retention: Option<HumanDuration>,
    /// How long changes can be watched. Default: 72h.
    watch_retention: Option<HumanDuration>,
}

/// One `redis` block.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the backend that reads them is not in this build")]
struct RedisSettings {
    /// `host:port` or a URL.
    addr: Secret,
    /// Database number. Default: 0.
    db: Option<u16>,
    /// Prefix of all keys. Default: syntrix:rev.
    prefix: Option<String>,
}

#[derive(Debug)]
struct Planned<S> {
    kind: &'static str,
    stores: StoreSet,
    settings: std::marker::PhantomData<fn() -> S>,
}

impl<S> Planned<S> {
    fn new(kind: &'static str, stores: StoreSet) -> Self {
        Self { kind, stores, settings: std::marker::PhantomData }
    }
}

impl<S: DeserializeOwned + JsonSchema + std::fmt::Debug> BackendFactory for Planned<S> {
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
        block.decode::<S>()?;
        Ok(Box::new(Missing { kind: self.kind }))
    }
}

/// Stands for a backend that is not in this build.
#[derive(Debug)]
struct Missing {
    kind: &'static str,
}

#[async_trait]
impl BackendProvider for Missing {
    fn connection_key(&self) -> String {
        self.kind.to_owned()
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Backend>> {
        Err(self.error())
    }

    async fn remove_namespace(&self, _: &OpenContext) -> Result<()> {
        Err(self.error())
    }
}

impl Missing {
    fn error(&self) -> Error {
        Error::new(ErrorKind::Unsupported, "open")
            .with_message("this build lacks the backend; its configuration was checked only. Use sqlite or memory")
            .with_fact("backend", self.kind)
    }
}
