//! The ready indexes of a store, remembered for a while.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::DocumentBackend;
use syntrix_storage_core::{IndexDefinition, Result};

/// How long another process's index may go unnoticed, unless a query misses it.
const AGE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct IndexCache(RwLock<Option<Known>>);

#[derive(Clone, Debug)]
struct Known {
    since: Instant,
    ready: Arc<[IndexDefinition]>,
}

impl IndexCache {
    pub(crate) async fn ready(
        &self,
        backend: &dyn DocumentBackend,
    ) -> Result<Arc<[IndexDefinition]>> {
        let known = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        match known {
            Some(known) if known.since.elapsed() < AGE_MAX => Ok(known.ready),
            _ => self.refresh(backend).await,
        }
    }

    pub(crate) async fn refresh(
        &self,
        backend: &dyn DocumentBackend,
    ) -> Result<Arc<[IndexDefinition]>> {
        let since = Instant::now();
        let all = backend.list_indexes().await?;
        let ready: Arc<[_]> =
            all.into_iter().filter(|index| index.ready).map(|index| index.definition).collect();
        *self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) =
            Some(Known { since, ready: Arc::clone(&ready) });
        Ok(ready)
    }

    pub(crate) fn forget(&self) {
        *self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    }
}
