//! Every test vector on every embedded backend.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use syntrix_storage::conformance::{Verdict, vectors};
use syntrix_storage::{StorageConfig, StorageHarness};

const VECTORS: &str = include_str!("../../../tests/vectors/semantics.jsonl");

async fn expect_all_pass(config: StorageConfig) {
    let harness = StorageHarness::open(config).await.unwrap();
    let report = vectors::run(Arc::new(harness), VECTORS).await;
    let failed: Vec<_> =
        report.cases.iter().filter(|case| case.verdict != Verdict::Passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(report.passed, VECTORS.lines().count());
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_gives_the_answer_of_every_vector() {
    expect_all_pass(StorageConfig::memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_gives_the_answer_of_every_vector() {
    let folder = tempfile::tempdir().unwrap();
    expect_all_pass(StorageConfig::embedded(folder.path())).await;
}
