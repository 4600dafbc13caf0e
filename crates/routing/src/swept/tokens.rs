//! Revoked tokens: records only grow stricter, so bringing one is merging it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::backend::{Backend, CallContext, RevocationBackend, StoreKind};
use syntrix_storage_core::{
    Error, ErrorKind, Operation, Position, Result, Revocation, RevokeOutcome, Timestamp, TokenId,
};

use crate::swept::{Brought, Swept, Written};

const CALL: CallContext = CallContext::new(Operation::Migrate);

/// Revoked tokens.
#[derive(Debug)]
pub struct Tokens;

#[async_trait]
impl Swept for Tokens {
    type Store = dyn RevocationBackend;
    type Key = TokenId;
    type Record = Revocation;
    const STORE: StoreKind = StoreKind::Revocations;
    const LEASE: &'static str = "revocations/lease";
    const PASSES: &'static str = "revocations/checkpoint";
    const ASKED: &'static str = "revocations/asked";

    fn take(backend: &dyn Backend) -> Result<Arc<dyn RevocationBackend>> {
        backend.revocations()
    }

    async fn ensure(store: &dyn RevocationBackend) -> Result<()> {
        store.ensure_indexes().await
    }

    async fn close(store: &dyn RevocationBackend) -> Result<()> {
        store.close().await
    }

    const MARKS: &'static str = "revocations/mark/";
    /// A token is nothing to be shown.
    const DEAD: Option<&'static str> = None;

    fn shown(_: &TokenId) -> Option<&str> {
        None
    }

    fn parse(shown: &str) -> Result<TokenId> {
        TokenId::parse(shown)
    }

    fn version(_: &Revocation) -> Option<i64> {
        None
    }

    fn written_at(_: &Revocation) -> Option<Timestamp> {
        None
    }

    fn key(record: &Revocation) -> TokenId {
        record.token.clone()
    }

    async fn page(
        store: &dyn RevocationBackend,
        after: Option<&TokenId>,
        limit: usize,
    ) -> Result<Vec<Revocation>> {
        store.scan(after, limit, &CALL).await
    }

    async fn fetch(store: &dyn RevocationBackend, key: &TokenId) -> Result<Option<Revocation>> {
        Ok(store.get(key, &CALL).await?.value.map(|record| *record))
    }

    /// The set only grows, so repeated passes are all it needs.
    async fn feed_end(_: &dyn RevocationBackend) -> Result<Option<Position>> {
        Ok(None)
    }

    async fn feed(
        _: &dyn RevocationBackend,
        _: &Position,
        _: usize,
    ) -> Result<Written<Revocation>> {
        Err(no_feed())
    }

    async fn wait(_: &dyn RevocationBackend, _: &Position, _: Duration) -> Result<()> {
        Err(no_feed())
    }

    async fn bring(
        _: &dyn RevocationBackend,
        shadow: &dyn RevocationBackend,
        record: Revocation,
    ) -> Result<Brought> {
        Ok(match shadow.merge(record, &CALL).await?.value {
            RevokeOutcome::Inserted | RevokeOutcome::Tightened => Brought::New,
            _ => Brought::Known,
        })
    }
}

fn no_feed() -> Error {
    Error::new(ErrorKind::Unsupported, "replicate")
        .with_message("revoked tokens have no feed, as repeated passes are all they need")
}
