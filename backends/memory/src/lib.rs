//! In-memory backend: for tests, and the oracle the other backends are compared with.
//!
//! One public item: [`factory`]. Data lives as long as somebody holds it open and is gone afterwards. Queries walk the whole
//! collection and use the reference functions of the core crate, so that as little as possible can be wrong twice.

mod connect;
mod documents;
mod journal;
mod ledger;
mod revocations;
mod settings;
mod table;
mod users;
mod watch;

use syntrix_storage_core::backend::{BackendFactory, BackendProvider, StoreSet};
use syntrix_storage_core::{Result, SettingsNode};

use connect::MemoryProvider;
use settings::Settings;

/// The kind in the configuration, in errors and in health reports.
const KIND: &str = "memory";

/// The factory to hand to the registry, under the kind `memory`.
///
/// # Examples
///
/// ```
/// let factory = syntrix_storage_memory::factory();
/// assert_eq!(factory.kind(), "memory");
/// assert!(factory.stores().documents);
/// ```
pub fn factory() -> Box<dyn BackendFactory> {
    Box::new(MemoryFactory)
}

#[derive(Debug)]
struct MemoryFactory;

impl BackendFactory for MemoryFactory {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn stores(&self) -> StoreSet {
        StoreSet { documents: true, users: true, revocations: true }
    }

    fn settings_schema(&self) -> serde_json::Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn configure(&self, block: &SettingsNode) -> Result<Box<dyn BackendProvider>> {
        Ok(Box::new(MemoryProvider::new(settings::retention(block)?)))
    }
}
