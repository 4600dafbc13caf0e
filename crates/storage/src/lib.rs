#![doc = include_str!("../../../README.md")]

mod backends;
mod config;
#[cfg(feature = "conformance")]
mod flow;
#[cfg(feature = "conformance")]
mod harness;
mod indexes;
mod open;
mod opening;
mod storage;
mod stores;

pub use config::{ConfigReport, StorageConfig};
#[cfg(feature = "conformance")]
pub use harness::StorageHarness;
pub use indexes::Indexes;
pub use storage::Storage;
pub use stores::StoreHealth;
#[cfg(feature = "conformance")]
pub use syntrix_storage_conformance as conformance;
pub use syntrix_storage_core::*;
pub use syntrix_storage_registry::{Environment, ProcessEnvironment};
/// Routes with a shadow, as operators and tools see them.
pub use syntrix_storage_routing as routing;
