//! Redis backend of syntrix-storage: revoked tokens, and nothing else.
//!
//! One public item: [`factory`]. Everything else is private, so no driver type can reach a caller.
//!
//! A check is one round trip that brings the record, the mark beside it and the server's time; a revocation is one script,
//! hence one atomic step. Keys lie in 256 buckets that a Redis Cluster may spread over its nodes, each with a mark of its
//! own: a bucket that lost its data lost its mark, and says so instead of "not revoked".
//!
//! A server that may evict keys or that keeps nothing on disk is refused, unless the block says that this is meant.

mod address;
mod changes;
mod checks;
mod confirm;
mod connect;
mod error;
mod facts;
mod gather;
mod keys;
mod ledger;
mod listing;
mod marks;
mod namespace;
mod outlook;
mod promotion;
mod provider;
mod record;
mod revocations;
mod route;
mod script;
mod sentinels;
mod settings;
mod store;

use syntrix_storage_core::backend::BackendFactory;

/// The kind in the configuration.
pub(crate) const KIND: &str = "redis";

/// The factory to hand to the registry, under the kind `"redis"`.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::backend::StoreKind;
///
/// let factory = syntrix_storage_redis::factory();
/// assert_eq!(factory.kind(), "redis");
/// assert!(factory.stores().contains(StoreKind::Revocations));
/// assert!(!factory.stores().contains(StoreKind::Documents));
/// ```
pub fn factory() -> Box<dyn BackendFactory> {
    Box::new(provider::RedisFactory)
}
