//! The routes' own records beside the revoked tokens: the fields of one hash, a record's revision and body in each.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::Operation;
use syntrix_storage_core::Result;
use syntrix_storage_core::backend::{
    CallContext, Ledger, LedgerKey, LedgerRecord, StoreId, check_ledger_body,
};

use crate::error::damaged;
use crate::store::Store;

/// The ledger of an open store. Holds no lease: it is used by whoever has a store open, and closed with the last one.
#[derive(Debug)]
pub(crate) struct HashLedger {
    store: Arc<Store>,
    key: String,
}

impl HashLedger {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        let key = store.keys.ledger();
        Self { store, key }
    }
}

impl HashLedger {
    /// Sorted here: a server sorts texts by the language of its machine.
    async fn names(
        &self,
        prefix: &LedgerKey,
        after: Option<&LedgerKey>,
        limit: usize,
    ) -> Result<Vec<LedgerKey>> {
        let all: Vec<String> =
            self.store.link.command(redis::cmd("HKEYS").arg(&self.key), None).await?;
        let listed = all.into_iter().filter(|name| {
            let behind = after.is_none_or(|after| name.as_str() > after.as_str());
            behind && name.starts_with(prefix.as_str())
        });
        let parsed = listed.map(|name| LedgerKey::parse(name).map_err(|_| damaged()));
        let mut names = parsed.collect::<Result<Vec<_>>>()?;
        names.sort_unstable();
        names.truncate(limit);
        Ok(names)
    }
}

/// A ledger's calls are a route's own and have no caller with a deadline.
const CALL: CallContext = CallContext::new(Operation::Admin);

#[async_trait]
impl Ledger for HashLedger {
    /// From the mark, which is made at random once for each store.
    fn store_id(&self) -> StoreId {
        let mut id = [0; 8];
        id.copy_from_slice(&self.store.canary.0[..8]);
        StoreId(id)
    }

    async fn read(&self, key: &LedgerKey) -> Result<Option<LedgerRecord>> {
        let mut read = redis::cmd("HGET");
        read.arg(&self.key).arg(key.as_str());
        let stored: Option<Vec<u8>> = self.store.link.command(&read, None).await?;
        stored.map(|stored| decode(&stored)).transpose()
    }

    async fn write(
        &self,
        key: &LedgerKey,
        expected: Option<u64>,
        body: Vec<u8>,
    ) -> Result<Option<u64>> {
        check_ledger_body(&body)?;
        let expected = expected.unwrap_or_default();
        let write = self.store.scripts.ledger_write(&self.key, key, expected, body);
        let written: bool = self.store.change(&write, &CALL).await?;
        Ok(written.then_some(expected + 1))
    }

    async fn remove(&self, key: &LedgerKey, expected: u64) -> Result<bool> {
        let remove = self.store.scripts.ledger_remove(&self.key, key, expected);
        self.store.change(&remove, &CALL).await
    }

    async fn list(
        &self,
        prefix: &LedgerKey,
        after: Option<&LedgerKey>,
        limit: usize,
    ) -> Result<Vec<(LedgerKey, LedgerRecord)>> {
        let names = self.names(prefix, after, limit).await?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut read = redis::cmd("HMGET");
        read.arg(&self.key);
        names.iter().for_each(|name| _ = read.arg(name.as_str()));
        let stored: Vec<Option<Vec<u8>>> = self.store.link.command(&read, None).await?;
        // One that was removed in between is not listed.
        let found =
            names.into_iter().zip(stored).filter_map(|(name, stored)| Some((name, stored?)));
        found.map(|(name, stored)| Ok((name, decode(&stored)?))).collect()
    }
}

/// `REVISION` and a line feed, then the body.
fn decode(stored: &[u8]) -> Result<LedgerRecord> {
    let end = stored.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
    let revision = std::str::from_utf8(&stored[..end]).ok().and_then(|text| text.parse().ok());
    let revision = revision.filter(|revision| *revision > 0).ok_or_else(damaged)?;
    Ok(LedgerRecord { revision, body: stored[end + 1..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_hold_anything_and_what_no_release_wrote_is_damage() {
        let record = decode(b"12\na\nb\xff").unwrap();
        assert_eq!((record.revision, record.body.as_slice()), (12, &b"a\nb\xff"[..]));
        for stored in [&b""[..], b"12", b"0\nx", b"\nx", b"-1\nx", b"x\n"] {
            assert!(decode(stored).is_err());
        }
    }
}
