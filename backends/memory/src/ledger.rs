//! The routes' own records beside the data of a namespace: one map under one lock.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use syntrix_storage_core::Result;
use syntrix_storage_core::backend::{Ledger, LedgerKey, LedgerRecord, StoreId, check_ledger_body};

use crate::connect::{Handle, lock};

/// The records, and whose they are.
#[derive(Debug)]
pub(crate) struct LedgerTable {
    store_id: StoreId,
    records: Mutex<BTreeMap<LedgerKey, LedgerRecord>>,
}

impl LedgerTable {
    pub(crate) fn new(store_id: StoreId) -> Self {
        Self { store_id, records: Mutex::default() }
    }
}

/// An open ledger. Holds the data no longer than the backend that handed it out.
#[derive(Debug)]
pub(crate) struct MemoryLedger {
    store_id: StoreId,
    data: Arc<Handle>,
}

impl MemoryLedger {
    pub(crate) fn new(data: &Arc<Handle>) -> Result<Self> {
        let store_id = data.get()?.ledger.store_id;
        Ok(Self { store_id, data: Arc::clone(data) })
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    fn store_id(&self) -> StoreId {
        self.store_id
    }

    async fn read(&self, key: &LedgerKey) -> Result<Option<LedgerRecord>> {
        let data = self.data.get()?;
        let records = lock(&data.ledger.records);
        Ok(records.get(key).cloned())
    }

    async fn write(
        &self,
        key: &LedgerKey,
        expected: Option<u64>,
        body: Vec<u8>,
    ) -> Result<Option<u64>> {
        check_ledger_body(&body)?;
        let data = self.data.get()?;
        let mut records = lock(&data.ledger.records);
        if records.get(key).map(|record| record.revision) != expected {
            return Ok(None);
        }
        let revision = expected.unwrap_or_default() + 1;
        records.insert(key.clone(), LedgerRecord { revision, body });
        Ok(Some(revision))
    }

    async fn remove(&self, key: &LedgerKey, expected: u64) -> Result<bool> {
        let data = self.data.get()?;
        let mut records = lock(&data.ledger.records);
        let found = records.get(key).is_some_and(|record| record.revision == expected);
        Ok(found && records.remove(key).is_some())
    }

    async fn list(
        &self,
        prefix: &LedgerKey,
        after: Option<&LedgerKey>,
        limit: usize,
    ) -> Result<Vec<(LedgerKey, LedgerRecord)>> {
        let data = self.data.get()?;
        let records = lock(&data.ledger.records);
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let behind = records.range((start, Bound::Unbounded));
        let named = behind.skip_while(|(key, _)| *key < prefix);
        let named = named.take_while(|(key, _)| key.as_str().starts_with(prefix.as_str()));
        Ok(named.take(limit).map(|(key, record)| (key.clone(), record.clone())).collect())
    }
}
