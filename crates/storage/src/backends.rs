//! The one list of backends. A new backend is a new folder and a new line here.

use syntrix_storage_core::backend::BackendFactory;

/// Every backend of this build.
pub(crate) fn factories() -> Vec<Box<dyn BackendFactory>> {
    vec![
        #[cfg(feature = "memory")]
        syntrix_storage_memory::factory(),
        #[cfg(feature = "sqlite")]
        syntrix_storage_sqlite::factory(),
        #[cfg(feature = "pg")]
        syntrix_storage_postgres::factory(),
        #[cfg(feature = "mongo")]
        syntrix_storage_mongodb::factory(),
        #[cfg(feature = "redis")]
        syntrix_storage_redis::factory(),
    ]
}
