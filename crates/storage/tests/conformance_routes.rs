//! Every case of the conformance suite on routes from memory to SQLite, as if there were one store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod logs;

use std::sync::Arc;

use syntrix_storage::conformance::{Group, Selection, run};
use syntrix_storage::{StorageConfig, StorageHarness};

/// A harness over documents with these keys of their routing.
async fn documents(keys: &str) -> StorageHarness {
    open(format!(
        "storage:\n  document: {{backend: main, main: {{kind: memory}}, other: {{kind: sqlite, path: shadow.db}}}}\n  \
         routing:\n    document: {{shadow: other, {keys}}}\n"
    ))
    .await
}

async fn open(text: String) -> StorageHarness {
    logs::keep();
    let config = StorageConfig::from_yaml(text, "route.yaml");
    StorageHarness::open_in_fresh_folder(config).await.unwrap()
}

mod dual_write {
    syntrix_storage::conformance::conformance_suite!(
        super::documents("strategy: dual-write").await
    );
}

mod reads_shadow {
    syntrix_storage::conformance::conformance_suite!(
        super::documents("strategy: dual-write, reads: shadow").await
    );
}

mod reads_both {
    syntrix_storage::conformance::conformance_suite!(
        super::documents("strategy: dual-write, reads: both").await
    );
}

mod read_replica {
    syntrix_storage::conformance::conformance_suite!(
        super::documents("strategy: read-replica").await
    );
}

mod identity {
    const CONFIG: &str = "
storage:
  user: {backend: main, main: {kind: memory}, other: {kind: sqlite, path: users.db}}
  revocation: {backend: main, main: {kind: memory}, other: {kind: sqlite, path: revocations.db}}
  routing:
    user: {strategy: dual-write, shadow: other, mirror: wait}
    revocation: {strategy: dual-write, shadow: other, mirror: wait}
";

    syntrix_storage::conformance::conformance_suite!(super::open(CONFIG.to_owned()).await);
}

/// A case about both databases passes as a test where there is one, so nobody would notice if there always were.
#[tokio::test(flavor = "multi_thread")]
async fn the_cases_about_both_databases_apply() {
    let harness = Arc::new(documents("strategy: dual-write").await);
    let report = run(harness, &Selection::all().with_groups([Group::Rte]), |_| {}).await;
    let counts = (report.passed, report.failed, report.not_applicable);
    // Memory is neither shared nor durable, which two of them need.
    assert_eq!(counts, (10, 0, 2), "{}", report.failures());
}
