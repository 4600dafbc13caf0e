//! SQLite backend of syntrix-storage: documents, accounts and revoked tokens in one local file, no server.
//!
//! One public item: [`factory`]. Everything else is private, so no driver type can reach a caller.
//!
//! Writes go through one thread that commits what queued up in one go; reads run on a few connections beside it, short ones
//! on the calling task. Several processes on one machine may use the file at once; a network file system may not hold it.
//!
//! The file is private to its owner and ours by its header: a foreign, newer or damaged one is refused and left alone.

mod anchor;
mod apply;
mod catalogue;
mod committer;
mod conditions;
mod connect;
mod documents;
mod error;
mod expression;
mod group;
mod indexes;
mod ledger;
mod maintenance;
#[cfg(test)]
mod plans;
mod probe;
mod provider;
mod readers;
mod reads;
mod revocations;
mod row;
mod schema;
mod self_test;
mod settings;
mod statement;
mod store;
mod user_apply;
mod user_changes;
mod user_row;
mod users;
mod wake;
mod watch;
mod writer;

use syntrix_storage_core::Capabilities;
use syntrix_storage_core::backend::BackendFactory;

/// The kind in the configuration.
pub(crate) const KIND: &str = "sqlite";

/// The factory to hand to the registry, under the kind `"sqlite"`.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::backend::{OpenContext, StoreKind};
/// use syntrix_storage_core::{Location, SettingsNode, SettingsValue};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let factory = syntrix_storage_sqlite::factory();
/// assert!(factory.stores().contains(StoreKind::Documents));
///
/// let block = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
/// let backend = factory.configure(&block)?.open(&OpenContext::new(folder.path())).await?;
/// assert!(backend.documents()?.health().await?.ready);
/// backend.close().await?;
/// # Ok(())
/// # }
/// ```
pub fn factory() -> Box<dyn BackendFactory> {
    Box::new(provider::SqliteFactory)
}

/// What accounts and revoked tokens in a file offer.
fn identity_capabilities() -> Capabilities {
    let mut capabilities = Capabilities::NONE;
    capabilities.durable = true;
    capabilities.shared = true;
    capabilities.injected_clock = true;
    capabilities
}
