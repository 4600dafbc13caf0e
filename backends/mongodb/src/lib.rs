//! MongoDB backend of syntrix-storage: documents, accounts and revoked tokens in one database of a replica set.
//!
//! One public item: [`factory`]. Everything else is private, so no driver type can reach a caller.
//!
//! Every write of a document replaces the whole record, so that the server's change stream tells each change by the record it
//! left, whatever happened since. Acknowledged means in the journal of a majority; reads come from the primary and show what a
//! majority has confirmed.

mod account;
mod beginning;
mod calls;
mod catalogue;
mod connect;
mod creates;
mod decode;
mod documents;
mod encode;
mod error;
mod event;
mod expression;
mod failure;
mod indexes;
mod ledger;

mod maintenance;
mod marks;
mod membership;
mod names;
mod namespace;
mod parking;
mod position;
mod provider;
mod reads;
mod record;
mod revocations;
mod schema;
mod secondaries;
mod server;
mod settings;
mod store;
mod stream;
mod user_changes;
mod users;
mod waiting;
mod watch;
mod witness;
mod writes;

use syntrix_storage_core::Capabilities;
use syntrix_storage_core::backend::BackendFactory;

/// The kind in the configuration.
pub(crate) const KIND: &str = "mongo";

/// The factory to hand to the registry, under the kind `"mongo"`.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::backend::StoreKind;
/// use syntrix_storage_core::{Location, SettingsNode, SettingsValue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let factory = syntrix_storage_mongodb::factory();
/// assert!(factory.stores().contains(StoreKind::Documents));
///
/// let text = |text: &str| SettingsNode::new(SettingsValue::Text(text.into()), Location::default());
/// let entry = |key: &str, value| (key.to_owned(), Location::default(), text(value));
/// let block = SettingsValue::Map(vec![
///     entry("uri", "mongodb://127.0.0.1/?replicaSet=rs0"),
///     entry("db", "app"),
/// ]);
/// // Nothing is opened while it is only configured.
/// let provider = factory.configure(&SettingsNode::new(block, Location::default()))?;
/// assert!(provider.connection_key().starts_with("mongo:"));
/// # Ok(())
/// # }
/// ```
pub fn factory() -> Box<dyn BackendFactory> {
    Box::new(provider::MongoFactory)
}

/// What accounts and revoked tokens offer. Their time is the server's.
fn identity_capabilities() -> Capabilities {
    let mut capabilities = Capabilities::NONE;
    capabilities.durable = true;
    capabilities.shared = true;
    capabilities
}
