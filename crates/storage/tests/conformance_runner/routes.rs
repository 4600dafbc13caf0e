//! A route with defects.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage::backend::DocumentBackend;
use syntrix_storage::conformance::{Difference, Route};
use syntrix_storage::{DocumentPath, Result, StorageConfig, StorageHarness};

use crate::Defect;

/// Documents on two files.
pub async fn open() -> StorageHarness {
    let text = "
storage:
  document:
    backend: main
    main: {kind: sqlite, path: primary.db}
    other: {kind: sqlite, path: shadow.db}
  routing:
    document: {strategy: dual-write, shadow: other}
";
    let config = StorageConfig::from_yaml(text, "route.yaml");
    StorageHarness::open_in_fresh_folder(config).await.unwrap()
}

pub struct BrokenRoute {
    pub inner: Arc<dyn Route>,
    pub defect: Defect,
}

#[async_trait]
impl Route for BrokenRoute {
    fn primary(&self) -> Arc<dyn DocumentBackend> {
        self.inner.primary()
    }

    fn shadow(&self) -> Result<Arc<dyn DocumentBackend>> {
        self.inner.shadow()
    }

    fn reads_shadow(&self) -> bool {
        self.inner.reads_shadow()
    }

    async fn lineage(&self) -> Result<u64> {
        self.inner.lineage().await
    }

    async fn drain(&self) -> Result<()> {
        self.inner.drain().await
    }

    async fn verify(&self) -> Result<Vec<Difference>> {
        match self.defect {
            Defect::VerifiesNothing => Ok(Vec::new()),
            _ => self.inner.verify().await,
        }
    }

    async fn repair(&self, path: &DocumentPath) -> Result<bool> {
        match self.defect {
            Defect::RepairsNothing => Ok(false),
            _ => self.inner.repair(path).await,
        }
    }

    async fn drop_route(&self) -> Result<()> {
        match self.defect {
            Defect::DropsNoRoute => Ok(()),
            _ => self.inner.drop_route().await,
        }
    }
}
