//! Every case of the conformance suite on the memory backend.

use syntrix_storage::conformance::conformance_suite;
use syntrix_storage::{StorageConfig, StorageHarness};

conformance_suite!(StorageHarness::open(StorageConfig::memory()).await.unwrap());
