//! The routes' own records beside the data of a file.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use syntrix_storage_core::Result;
use syntrix_storage_core::backend::{Ledger, LedgerKey, LedgerRecord, StoreId, check_ledger_body};

use crate::error::{damaged, from_sqlite};
use crate::group::{Change, Group, Outcome};
use crate::store::Store;

const READ: &str = "SELECT name,revision,body FROM ledger WHERE name = ?1";
const LIST: &str = "SELECT name,revision,body FROM ledger \
    WHERE name >= ?1 AND name < ?2 AND name > ?3 ORDER BY name LIMIT ?4";
const INSERT: &str = "INSERT INTO ledger (name,revision,body) VALUES (?1,1,?2) \
    ON CONFLICT (name) DO NOTHING RETURNING revision";
const REPLACE: &str = "UPDATE ledger SET revision = revision + 1, body = ?2 \
    WHERE name = ?1 AND revision = ?3 RETURNING revision";
const REMOVE: &str = "DELETE FROM ledger WHERE name = ?1 AND revision = ?2";

/// The ledger of an open file. Holds no lease: it is used by whoever has a store open, and closed with the last one.
#[derive(Debug)]
pub(crate) struct FileLedger {
    store: Arc<Store>,
}

impl FileLedger {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Ledger for FileLedger {
    fn store_id(&self) -> StoreId {
        self.store.store_id
    }

    async fn read(&self, key: &LedgerKey) -> Result<Option<LedgerRecord>> {
        let key = key.clone();
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(READ)?;
            statement.query_row([key.as_str()], named_record).optional()
        };
        let found = self.store.readers.read(move |connection| answer(read(connection))).await?;
        Ok(found.map(|(_, record)| record))
    }

    async fn write(
        &self,
        key: &LedgerKey,
        expected: Option<u64>,
        body: Vec<u8>,
    ) -> Result<Option<u64>> {
        check_ledger_body(&body)?;
        let write = LedgerWrite { key: key.clone(), expected, body };
        self.store.writer.write_one(write, None).await
    }

    async fn remove(&self, key: &LedgerKey, expected: u64) -> Result<bool> {
        let removal = LedgerRemoval { key: key.clone(), expected };
        self.store.writer.write_one(removal, None).await
    }

    async fn list(
        &self,
        prefix: &LedgerKey,
        after: Option<&LedgerKey>,
        limit: usize,
    ) -> Result<Vec<(LedgerKey, LedgerRecord)>> {
        let (prefix, after, limit) = (prefix.clone(), after.cloned(), limit as i64);
        let list = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(LIST)?;
            let after = after.as_ref().map_or("", LedgerKey::as_str);
            let values = params![prefix.as_str(), prefix.prefix_end(), after, limit];
            statement.query_map(values, named_record)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        let found =
            self.store.readers.long(None, move |connection| answer(list(connection))).await?;
        let checked = |(name, record)| Ok((LedgerKey::parse(name).map_err(|_| damaged())?, record));
        found.into_iter().map(checked).collect()
    }
}

fn answer<T>(outcome: rusqlite::Result<T>) -> Result<T> {
    outcome.map_err(|error| from_sqlite(&error))
}

fn named_record(row: &Row<'_>) -> rusqlite::Result<(String, LedgerRecord)> {
    let revision = row.get::<_, i64>(1)? as u64;
    Ok((row.get(0)?, LedgerRecord { revision, body: row.get(2)? }))
}

/// A compare-and-set of one record.
struct LedgerWrite {
    key: LedgerKey,
    expected: Option<u64>,
    body: Vec<u8>,
}

impl Change for LedgerWrite {
    type Answer = Option<u64>;

    fn apply(&self, group: &mut Group<'_>) -> Outcome<Self::Answer> {
        let (connection, name) = (group.connection(), self.key.as_str());
        let revision = |row: &Row<'_>| row.get::<_, i64>(0).map(|revision| revision as u64);
        let written = match self.expected {
            None => {
                connection.prepare_cached(INSERT)?.query_row(params![name, self.body], revision)
            }
            Some(expected) => connection
                .prepare_cached(REPLACE)?
                .query_row(params![name, self.body, expected as i64], revision),
        };
        written.optional().map(Ok)
    }
}

/// The removal of one record of a known revision.
struct LedgerRemoval {
    key: LedgerKey,
    expected: u64,
}

impl Change for LedgerRemoval {
    type Answer = bool;

    fn apply(&self, group: &mut Group<'_>) -> Outcome<Self::Answer> {
        let mut statement = group.connection().prepare_cached(REMOVE)?;
        let removed = statement.execute(params![self.key.as_str(), self.expected as i64])?;
        Ok(Ok(removed == 1))
    }
}
