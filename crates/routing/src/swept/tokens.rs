//! Revoked tokens: records only grow stricter, so bringing one is merging it.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{Backend, CallContext, RevocationBackend, StoreKind};
use syntrix_storage_core::{Operation, Result, Revocation, RevokeOutcome, TokenId};

use crate::swept::{Brought, LetterNames, Swept, WriteFeed};

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
    const MARKS: &'static str = "revocations/mark/";
    /// A token is nothing to be shown.
    const LETTERS: Option<LetterNames<TokenId>> = None;

    fn take(backend: &dyn Backend) -> Result<Arc<dyn RevocationBackend>> {
        backend.revocations()
    }

    async fn ensure(store: &dyn RevocationBackend) -> Result<()> {
        store.ensure_indexes().await
    }

    async fn close(store: &dyn RevocationBackend) -> Result<()> {
        store.close().await
    }

    fn version(_: &Revocation) -> Option<i64> {
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
    fn feed(_: &Arc<dyn RevocationBackend>) -> Option<Box<dyn WriteFeed<Revocation>>> {
        None
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
