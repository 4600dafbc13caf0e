//! Every case about accounts and revoked tokens on routes from memory to SQLite: as if there were one store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod logs;

use syntrix_storage::conformance::conformance_suite;
use syntrix_storage::{StorageConfig, StorageHarness};

const CONFIG: &str = "
storage:
  user: {backend: main, main: {kind: memory}, other: {kind: sqlite, path: users.db}}
  revocation: {backend: main, main: {kind: memory}, other: {kind: sqlite, path: revocations.db}}
  routing:
    user: {strategy: dual-write, shadow: other, mirror: wait}
    revocation: {strategy: dual-write, shadow: other, mirror: wait}
";

async fn harness() -> StorageHarness {
    logs::keep();
    let config = StorageConfig::from_yaml(CONFIG, "route.yaml");
    StorageHarness::open_in_fresh_folder(config).await.unwrap()
}

conformance_suite!(harness().await);
