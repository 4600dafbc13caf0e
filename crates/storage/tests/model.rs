//! The model test: random operations of all three stores give the same answers on SQLite as in memory.
//!
//! `SYNTRIX_CONFORMANCE_MODEL_CASES` makes it as long as one wants, `SYNTRIX_CONFORMANCE_SEED` repeats a failure.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod logs;

use std::sync::Arc;

use syntrix_storage::conformance::Harness;
use syntrix_storage::conformance::model::{self, Options};
use syntrix_storage::{StorageConfig, StorageHarness};

async fn memory() -> Arc<dyn Harness> {
    Arc::new(StorageHarness::open(StorageConfig::memory()).await.unwrap())
}

/// Without a flush to disk per commit: what a file answers does not depend on it, and many more cases fit into the time.
const SQLITE: &str = "
storage:
  document: {backend: sqlite, sqlite: {synchronous: normal}}
  user: {backend: sqlite, sqlite: {synchronous: normal}}
  revocation: {backend: sqlite, sqlite: {synchronous: normal}}
";

async fn sqlite() -> Arc<dyn Harness> {
    let config = StorageConfig::from_yaml(SQLITE, "model.yaml");
    Arc::new(StorageHarness::open_in_fresh_folder(config).await.unwrap())
}

async fn agree(subject: Arc<dyn Harness>, cases: u64) {
    logs::keep();
    let options = Options::from_environment(cases);
    match model::run(subject, memory().await, &options).await {
        Ok(summary) => println!("{} cases, {} steps agree", summary.cases, summary.steps),
        Err(disagreement) => panic!("{disagreement}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_answers_as_memory_does() {
    agree(sqlite().await, 100).await;
}

/// Memory against itself: with fast paths and without, and nothing in an answer depends on chance.
#[tokio::test(flavor = "multi_thread")]
async fn memory_answers_as_memory_does() {
    agree(memory().await, 300).await;
}
