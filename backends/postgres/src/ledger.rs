//! The routes' own records beside the data of a schema.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::Result;
use syntrix_storage_core::backend::{Ledger, LedgerKey, LedgerRecord, StoreId, check_ledger_body};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::damaged;
use crate::row::{unsigned, value};
use crate::session::Parameter;
use crate::store::Store;

pub(crate) const READ: &str = "SELECT name,revision,body FROM {schema}.ledger WHERE name = $1";
pub(crate) const LIST: &str = "SELECT name,revision,body FROM {schema}.ledger \
    WHERE name >= $1 AND name < $2 AND name > $3 ORDER BY name LIMIT $4";
pub(crate) const INSERT: &str = "INSERT INTO {schema}.ledger (name,revision,body) VALUES ($1,1,$2) \
    ON CONFLICT (name) DO NOTHING RETURNING revision";
pub(crate) const REPLACE: &str = "UPDATE {schema}.ledger SET revision = revision + 1, body = $2 \
    WHERE name = $1 AND revision = $3 RETURNING revision";
pub(crate) const REMOVE: &str =
    "DELETE FROM {schema}.ledger WHERE name = $1 AND revision = $2 RETURNING revision";

/// The ledger of an open schema. Holds no lease: it is used by whoever has a store open, and closed with the last one.
#[derive(Debug)]
pub(crate) struct SchemaLedger {
    store: Arc<Store>,
}

impl SchemaLedger {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Each statement commits for itself, so what one answered every later one sees.
    async fn run(&self, statement: &str, values: &[Parameter<'_>]) -> Result<Vec<Row>> {
        self.store.pool.session().await?.query(statement, values).await
    }
}

#[async_trait]
impl Ledger for SchemaLedger {
    fn store_id(&self) -> StoreId {
        self.store.store_id
    }

    async fn read(&self, key: &LedgerKey) -> Result<Option<LedgerRecord>> {
        let rows = self.run(&self.store.texts.ledger_read, &[(&key.as_str(), Type::TEXT)]).await?;
        Ok(rows.first().map(named_record).transpose()?.map(|(_, record)| record))
    }

    async fn write(
        &self,
        key: &LedgerKey,
        expected: Option<u64>,
        body: Vec<u8>,
    ) -> Result<Option<u64>> {
        check_ledger_body(&body)?;
        let (texts, name) = (&self.store.texts, key.as_str());
        let expected = expected.map(|revision| revision as i64);
        let new: [Parameter<'_>; 2] = [(&name, Type::TEXT), (&body, Type::BYTEA)];
        let rows = match &expected {
            None => self.run(&texts.ledger_insert, &new).await?,
            Some(expected) => {
                let [name, body] = new;
                let values = [name, body, (expected, Type::INT8)];
                self.run(&texts.ledger_replace, &values).await?
            }
        };
        rows.first().map(|row| unsigned(value(row, 0)?)).transpose()
    }

    async fn remove(&self, key: &LedgerKey, expected: u64) -> Result<bool> {
        let (name, expected) = (key.as_str(), expected as i64);
        let values: [Parameter<'_>; 2] = [(&name, Type::TEXT), (&expected, Type::INT8)];
        Ok(!self.run(&self.store.texts.ledger_remove, &values).await?.is_empty())
    }

    async fn list(
        &self,
        prefix: &LedgerKey,
        after: Option<&LedgerKey>,
        limit: usize,
    ) -> Result<Vec<(LedgerKey, LedgerRecord)>> {
        let (first, end, limit) = (prefix.as_str(), prefix.prefix_end(), limit as i64);
        let after = after.map_or("", LedgerKey::as_str);
        let values: [Parameter<'_>; 4] =
            [(&first, Type::TEXT), (&end, Type::TEXT), (&after, Type::TEXT), (&limit, Type::INT8)];
        self.run(&self.store.texts.ledger_list, &values).await?.iter().map(named_record).collect()
    }
}

fn named_record(row: &Row) -> Result<(LedgerKey, LedgerRecord)> {
    let key = LedgerKey::parse(value::<String>(row, 0)?).map_err(|_| damaged())?;
    let revision = unsigned(value(row, 1)?)?;
    Ok((key, LedgerRecord { revision, body: value(row, 2)? }))
}
