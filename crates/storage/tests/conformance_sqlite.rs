//! Every case of the conformance suite on the SQLite backend, each on a file of its own.

use syntrix_storage::conformance::conformance_suite;
use syntrix_storage::{StorageConfig, StorageHarness};

conformance_suite!({
    let folder = tempfile::tempdir().unwrap().keep();
    StorageHarness::open(StorageConfig::embedded(folder)).await.unwrap()
});
