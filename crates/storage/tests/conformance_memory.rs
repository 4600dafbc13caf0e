//! Every case of the conformance suite on the memory backend.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod logs;

use syntrix_storage::conformance::conformance_suite;
use syntrix_storage::{StorageConfig, StorageHarness};

async fn harness() -> StorageHarness {
    logs::keep();
    StorageHarness::open(StorageConfig::memory()).await.unwrap()
}

conformance_suite!(harness().await);
