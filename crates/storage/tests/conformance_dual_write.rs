//! Every document case of the conformance suite on a route with `strategy: dual-write`, memory -> SQLite, as if it were one store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod logs;

use syntrix_storage::conformance::conformance_suite;
use syntrix_storage::{StorageConfig, StorageHarness};

const ROUTE: &str = "
storage:
  document:
    backend: main
    main: {kind: memory}
    other: {kind: sqlite, path: shadow.db}
  routing:
    document: {strategy: dual-write, shadow: other}
";

async fn harness() -> StorageHarness {
    logs::keep();
    let config = StorageConfig::from_yaml(ROUTE, "route.yaml");
    StorageHarness::open_in_fresh_folder(config).await.unwrap()
}

conformance_suite!(harness().await);
