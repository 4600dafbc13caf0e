//! Opening the store under test, the same way in the writer and in the parent.

use std::path::Path;
use std::sync::Arc;

use syntrix_storage::{DocumentStore, Storage};
use tokio::runtime::{Builder, Runtime};

use crate::failure::{Context, Result};

/// The one collection both sides use.
pub(super) const COLLECTION: &str = "soak";

/// Two threads, so that the writer's tasks truly run at once.
pub(super) fn runtime() -> Result<Runtime> {
    let built = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.context(|| "starting the runtime".into())
}

/// SQLite in `data_dir`, as an application without a configuration gets it.
pub(super) async fn open(data_dir: &Path) -> Result<(Storage, Arc<dyn DocumentStore>)> {
    let storage = Storage::open_embedded(data_dir).await.context(|| "opening the store".into())?;
    let documents = storage.documents().context(|| "opening the store".into())?;
    Ok((storage, documents))
}
