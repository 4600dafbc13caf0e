//! The public suite, on a backend that syntrix-storage does not know.

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
