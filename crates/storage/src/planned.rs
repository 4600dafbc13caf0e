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

const ALL: StoreSet = StoreSet { documents: true, users: true, revocations: true };

pub(crate) fn postgres() -> Box<dyn BackendFactory> {
    Box::new(Planned::<PostgresSettings>::new("pg", ALL))
}

/// One `pg` block.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the backend that reads them is not in this build")]
struct PostgresSettings {
    /// Connection URL.
    dsn: Secret,
    /// How long tombstones stay. Default: 30d.
    soft_delete_retention: Option<HumanDuration>,
    /// How long changes can be watched. Default: 72h.
    watch_retention: Option<HumanDuration>,
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
