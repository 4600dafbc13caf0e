//! The public suite, on a backend that syntrix-storage does not know.

use std::sync::Arc;

use syntrix_storage::conformance::model::{self, Options};
use syntrix_storage::{StorageConfig, StorageHarness, conformance};

const CONFIG: &str = "
storage:
  document:
    backend: redb
    redb: {}
";

async fn harness() -> StorageHarness {
    let folder = tempfile::tempdir().unwrap();
    let config = StorageConfig::from_yaml(CONFIG, "redb.yaml")
        .with_data_dir(folder.keep())
        .with_factory(syntrix_storage_redb::factory());
    StorageHarness::open(config).await.unwrap()
}

conformance::conformance_suite!(harness().await);

#[tokio::test(flavor = "multi_thread")]
async fn redb_answers_as_memory_does() {
    let memory = StorageHarness::open(StorageConfig::memory()).await.unwrap();
    let (mine, memory) = (Arc::new(harness().await), Arc::new(memory));
    let run = model::run(mine, memory, &Options::from_environment(40)).await;
    run.unwrap_or_else(|disagreement| panic!("{disagreement}"));
}
