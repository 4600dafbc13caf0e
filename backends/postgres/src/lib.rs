//! PostgreSQL backend of syntrix-storage: documents, accounts and revoked tokens in one schema of a PostgreSQL database.
//!
//! One public item: [`factory`]. Everything else is private, so no driver type can reach a caller.
//!
//! Point reads go over a few connections that many calls share, one behind the other without waiting; everything else has a
//! connection of the pool to itself. Writes that arrive together are one statement and one commit. The change log is read by
//! the difference of two snapshots, so it needs no privilege and no lock, and no transaction elsewhere can hold it up.

mod account;
mod apply;
mod catalogue;
mod connect;
mod documents;
mod error;
mod expression;
mod indexes;
mod insert;
mod ledger;
mod maintenance;
mod namespace;
#[cfg(test)]
mod plans;
mod pool;
mod position;
mod provider;
mod readers;
mod reads;
mod revocations;
mod row;
mod schema;
mod session;
mod settings;
mod sql;
mod standby;
mod statement;
mod store;
mod tls;
mod user_changes;
mod users;
mod value;
mod wake;
mod watch;
mod writer;

use syntrix_storage_core::Capabilities;
use syntrix_storage_core::backend::BackendFactory;

/// The kind in the configuration.
pub(crate) const KIND: &str = "pg";

/// The factory to hand to the registry, under the kind `"pg"`.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::backend::StoreKind;
/// use syntrix_storage_core::{Location, SettingsNode, SettingsValue};
///
/// let factory = syntrix_storage_postgres::factory();
/// assert!(factory.stores().contains(StoreKind::Users));
///
/// let dsn = SettingsValue::Text("postgres://app@127.0.0.1/app".into());
/// let entry = ("dsn".into(), Location::new(1, 1), SettingsNode::new(dsn, Location::new(1, 6)));
/// let block = SettingsNode::new(SettingsValue::Map(vec![entry]), Location::new(1, 1));
/// let provider = factory.configure(&block)?;
/// assert!(provider.connection_key().contains("127.0.0.1"));
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
pub fn factory() -> Box<dyn BackendFactory> {
    Box::new(provider::PostgresFactory)
}

/// What accounts and revoked tokens on a server offer. Their time is the server's.
fn identity_capabilities() -> Capabilities {
    let mut capabilities = Capabilities::NONE;
    capabilities.durable = true;
    capabilities.shared = true;
    capabilities
}
