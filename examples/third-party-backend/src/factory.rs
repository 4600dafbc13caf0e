//! From a configured block to an open database.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use redb::Database;
use schemars::JsonSchema;
use serde::Deserialize;
use syntrix_storage::backend::{
    Backend, BackendFactory, BackendProvider, DocumentBackend, OpenContext, RevocationBackend,
    StoreKind, StoreSet, UserBackend,
};
use syntrix_storage::{Error, ErrorKind, HumanDuration, Result, Retention, SettingsNode};

use crate::documents::Documents;
use crate::table;

/// The factory to register under the kind `redb`.
pub fn factory() -> Box<dyn BackendFactory> {
    Box::new(Factory)
}

/// One `redb` block.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Settings {
    /// The file, inside the data directory. Default: `documents.redb`.
    path: String,
    /// How long tombstones stay. Default: `30d`.
    soft_delete_retention: HumanDuration,
    /// How long the change history would stay, at most `softDeleteRetention`. Default: `72h`.
    watch_retention: HumanDuration,
}

impl Default for Settings {
    fn default() -> Self {
        let retention = Retention::default();
        Self {
            path: "documents.redb".to_owned(),
            soft_delete_retention: HumanDuration(retention.soft_delete()),
            watch_retention: HumanDuration(retention.watch()),
        }
    }
}

#[derive(Debug)]
struct Factory;

impl BackendFactory for Factory {
    fn kind(&self) -> &'static str {
        "redb"
    }

    fn stores(&self) -> StoreSet {
        StoreSet { documents: true, ..StoreSet::default() }
    }

    fn settings_schema(&self) -> serde_json::Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn configure(&self, block: &SettingsNode) -> Result<Box<dyn BackendProvider>> {
        let settings: Settings = block.decode()?;
        if settings.path.contains(['/', '\\']) {
            return Err(Error::new(ErrorKind::ConfigInvalid, "open")
                .with_message("path is a file name inside the data directory")
                .with_fact("key", "path"));
        }
        let retention =
            Retention::new(settings.soft_delete_retention.0, settings.watch_retention.0).map_err(
                |_| block.invalid("watchRetention", "must not be longer than softDeleteRetention"),
            )?;
        Ok(Box::new(Provider { path: settings.path, retention }))
    }
}

#[derive(Debug)]
struct Provider {
    path: String,
    retention: Retention,
}

impl Provider {
    fn file(&self, context: &OpenContext) -> PathBuf {
        let prefix = context.namespace.as_ref().map(|name| format!("{name}.")).unwrap_or_default();
        context.data_dir.join(format!("{prefix}{}", self.path))
    }
}

#[async_trait]
impl BackendProvider for Provider {
    fn connection_key(&self) -> String {
        format!("redb:{}", self.path)
    }

    async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Backend>> {
        let database = shared_database(&self.file(context))?;
        Ok(Arc::new(Open(Arc::new(Documents::new(database, self.retention)))))
    }

    async fn remove_namespace(&self, context: &OpenContext) -> Result<()> {
        match std::fs::remove_file(self.file(context)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unavailable(error)),
            _ => Ok(()),
        }
    }
}

/// redb locks its file for one opener, so handles within the process share it.
fn shared_database(file: &PathBuf) -> Result<Arc<Database>> {
    static OPEN: Mutex<Option<HashMap<PathBuf, Weak<Database>>>> = Mutex::new(None);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let open = open.get_or_insert_default();
    if let Some(database) = open.get(file).and_then(Weak::upgrade) {
        return Ok(database);
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(unavailable)?;
    }
    let database = Arc::new(Database::create(file).map_err(unavailable)?);
    table::prepare(&database)?;
    open.insert(file.clone(), Arc::downgrade(&database));
    Ok(database)
}

pub(crate) fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "")
        .with_message("the redb file cannot be used")
        .with_source(error)
}

#[derive(Debug)]
struct Open(Arc<Documents>);

#[async_trait]
impl Backend for Open {
    fn documents(&self) -> Result<Arc<dyn DocumentBackend>> {
        Ok(Arc::clone(&self.0) as Arc<dyn DocumentBackend>)
    }

    fn users(&self) -> Result<Arc<dyn UserBackend>> {
        Err(StoreKind::Users.unsupported("redb"))
    }

    fn revocations(&self) -> Result<Arc<dyn RevocationBackend>> {
        Err(StoreKind::Revocations.unsupported("redb"))
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
