//! Every case of the conformance suite on the memory backend.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod logs;

use syntrix_storage::backend::StoreKind;
use syntrix_storage::conformance::{Harness as _, Setup, conformance_suite};
use syntrix_storage::{StorageConfig, StorageHarness};

async fn harness() -> StorageHarness {
    logs::keep();
    StorageHarness::open(StorageConfig::memory()).await.unwrap()
}

conformance_suite!(harness().await);

/// Without it the cases about what routes use would not apply anywhere, and nobody would notice.
#[tokio::test]
async fn the_backend_under_a_store_is_shown_to_the_suite() {
    let harness = harness().await;
    for store in StoreKind::ALL {
        let handle = harness.open("shown", &Setup::new(store)).await.unwrap();
        handle.backend().unwrap().ledger().unwrap();
        handle.close().await.unwrap();
    }
    harness.remove("shown").await.unwrap();
}
