//! The public suite, on a backend that syntrix-storage does not know.

use syntrix_storage::{StorageConfig, StorageHarness, conformance};

const CONFIG: &str = "
storage:
  document:
    backend: redb
    redb: {}
";

fn harness() -> StorageHarness {
    let config = StorageConfig::from_yaml(CONFIG, "redb.yaml")
        .with_factory(syntrix_storage_redb::factory());
    StorageHarness::new(config)
}

conformance::conformance_suite!(harness());
