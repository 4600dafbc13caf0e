//! Every case of the conformance suite on the SQLite backend, each on a file of its own.

use syntrix_storage::conformance::conformance_suite;
use syntrix_storage::{StorageConfig, StorageHarness};

conformance_suite!(
    StorageHarness::open_in_fresh_folder(StorageConfig::embedded(".")).await.unwrap()
);
