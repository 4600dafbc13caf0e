//! The routes' own records beside the data of a database.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::{Binary, Document, doc, spec::BinarySubtype};
use mongodb::options::{Acknowledgment, CollectionOptions, ReadConcern, WriteConcern};
use syntrix_storage_core::Result;
use syntrix_storage_core::backend::{Ledger, LedgerKey, LedgerRecord, StoreId, check_ledger_body};

use crate::calls::Limit;
use crate::error::{damaged, from_driver, is_duplicate};
use crate::server::Topology;
use crate::settings::LEDGER;
use crate::store::{Store, Table};

/// The ledger of an open database. Holds no lease: it is used by whoever has a store open, and closed with the last one.
#[derive(Debug)]
pub(crate) struct DatabaseLedger {
    store: Arc<Store>,
}

impl DatabaseLedger {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// A write is answered once most members have it on disk.
    fn records(&self, read_concern: ReadConcern) -> Result<Collection<Document>> {
        self.store.check_open()?;
        let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        // A server on its own has nobody to ask.
        let concern = (self.store.topology != Topology::Standalone).then_some(read_concern);
        let options = CollectionOptions::builder().write_concern(durable).read_concern(concern);
        Ok(self.store.database.collection_with_options(LEDGER, options.build()))
    }

    /// Stores of several data collections may share a database; each has a ledger of its own.
    fn id(&self, key: &str) -> String {
        format!("{}:{key}", self.store.name(Table::Data))
    }

    fn of_revision(&self, key: &LedgerKey, revision: u64) -> Document {
        doc! { "_id": self.id(key.as_str()), "revision": revision as i64 }
    }

    fn named_record(&self, record: &Document) -> Result<(LedgerKey, LedgerRecord)> {
        let id = record.get_str("_id").map_err(|_| damaged())?;
        let name = id.strip_prefix(&self.id("")).ok_or_else(damaged)?;
        let key = LedgerKey::parse(name).map_err(|_| damaged())?;
        let revision = record.get_i64("revision").map_err(|_| damaged())? as u64;
        let body = record.get_binary_generic("body").map_err(|_| damaged())?;
        Ok((key, LedgerRecord { revision, body: body.clone() }))
    }

    /// Linearizable on a primary: what one call wrote every later one sees, also during an election. A secondary cannot answer
    /// that, and tells what it has.
    fn read_concern(&self) -> ReadConcern {
        match self.store.is_native_replica() {
            false => ReadConcern::linearizable(),
            true => ReadConcern::majority(),
        }
    }

    fn limit(&self) -> Limit {
        Limit::within(self.store.operation_timeout)
    }

    async fn insert(&self, key: &LedgerKey, body: Binary) -> Result<Option<u64>> {
        let record = doc! { "_id": self.id(key.as_str()), "revision": 1_i64, "body": body };
        match self.records(ReadConcern::majority())?.insert_one(record).await {
            Ok(_) => Ok(Some(1)),
            Err(error) if is_duplicate(&error) => Ok(None),
            Err(error) => Err(from_driver(&error)),
        }
    }

    async fn replace(&self, key: &LedgerKey, expected: u64, body: Binary) -> Result<Option<u64>> {
        let next = expected + 1;
        let change = doc! { "$set": { "revision": next as i64, "body": body } };
        let records = self.records(ReadConcern::majority())?;
        let updated = records.update_one(self.of_revision(key, expected), change).await;
        let updated = updated.map_err(|error| from_driver(&error))?;
        Ok((updated.matched_count == 1).then_some(next))
    }
}

#[async_trait]
impl Ledger for DatabaseLedger {
    fn store_id(&self) -> StoreId {
        self.store.store_id
    }

    async fn read(&self, key: &LedgerKey) -> Result<Option<LedgerRecord>> {
        let (limit, records) = (self.limit(), self.records(self.read_concern())?);
        let find = records.find_one(doc! { "_id": self.id(key.as_str()) }).max_time(limit.left());
        let found = limit.wait(async { find.await.map_err(|error| from_driver(&error)) }).await?;
        Ok(found.map(|found| self.named_record(&found)).transpose()?.map(|(_, record)| record))
    }

    async fn write(
        &self,
        key: &LedgerKey,
        expected: Option<u64>,
        body: Vec<u8>,
    ) -> Result<Option<u64>> {
        check_ledger_body(&body)?;
        let body = Binary { subtype: BinarySubtype::Generic, bytes: body };
        match expected {
            None => self.limit().wait(self.insert(key, body)).await,
            Some(expected) => self.limit().wait(self.replace(key, expected, body)).await,
        }
    }

    async fn remove(&self, key: &LedgerKey, expected: u64) -> Result<bool> {
        let records = self.records(ReadConcern::majority())?;
        let delete = records.delete_one(self.of_revision(key, expected));
        let delete = async { delete.await.map_err(|error| from_driver(&error)) };
        Ok(self.limit().wait(delete).await?.deleted_count == 1)
    }

    async fn list(
        &self,
        prefix: &LedgerKey,
        after: Option<&LedgerKey>,
        limit: usize,
    ) -> Result<Vec<(LedgerKey, LedgerRecord)>> {
        let after = self.id(after.map_or("", LedgerKey::as_str));
        let (first, end) = (self.id(prefix.as_str()), self.id(&prefix.prefix_end()));
        let names = doc! { "$gte": first, "$lt": end, "$gt": after };
        // No limit means "all" to the server.
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (time, records) = (self.limit(), self.records(ReadConcern::majority())?);
        let find = records.find(doc! { "_id": names }).sort(doc! { "_id": 1 }).limit(limit as i64);
        let find = find.max_time(time.left());
        let read = async { find.await?.try_collect::<Vec<Document>>().await };
        let found = time.wait(async { read.await.map_err(|error| from_driver(&error)) }).await?;
        found.iter().map(|found| self.named_record(found)).collect()
    }
}
