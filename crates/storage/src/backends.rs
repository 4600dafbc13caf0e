//! The one list of backends. A new backend is a new folder and a new line here.

use syntrix_storage_core::backend::BackendFactory;

use crate::planned;

/// Every backend this build knows, and those it can only check the configuration of.
pub(crate) fn factories() -> Vec<Box<dyn BackendFactory>> {
    vec![
        #[cfg(feature = "memory")]
        syntrix_storage_memory::factory(),
        #[cfg(feature = "sqlite")]
        syntrix_storage_sqlite::factory(),
        #[cfg(feature = "pg")]
        syntrix_storage_postgres::factory(),
        planned::mongodb(),
        planned::redis(),
    ]
}
