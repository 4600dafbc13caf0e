//! Declared indexes: a row says what was asked for, SQLite's catalogue what is there. Usable is what both say.

use rusqlite::{Connection, TransactionBehavior, params};
use syntrix_storage_core::{
    Error, INDEXES_MAX, IndexDefinition, IndexStatus, IndexSuggestion, Reason, Result,
    SuggestedField,
};

use crate::error::{damaged, from_sqlite};
use crate::expression;

const LIST: &str = "SELECT name, collection, fields, state = 'ready' AND EXISTS \
    (SELECT 1 FROM sqlite_master AS m WHERE m.type = 'index' AND m.name = indexes.name) \
    FROM indexes ORDER BY name";
const DECLARE: &str = "INSERT INTO indexes (name, collection, fields, state) VALUES (?1, ?2, ?3, 'building') \
    ON CONFLICT (name) DO UPDATE SET state = 'building'";
const FINISH: &str = "UPDATE indexes SET state = 'ready' WHERE name = ?1";

/// All declared indexes with their state.
pub(crate) fn list(connection: &Connection) -> Result<Vec<IndexStatus>> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let mut statement = connection.prepare_cached(LIST).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut indexes = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let (name, collection) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
        let fields: String = row.get(2).map_err(failed)?;
        let fields: Vec<SuggestedField> = serde_json::from_str(&fields).map_err(|_| damaged())?;
        let definition = IndexSuggestion { name, collection, fields }.to_definition();
        let definition = definition.map_err(|_| damaged())?;
        indexes.push(IndexStatus { definition, ready: row.get(3).map_err(failed)? });
    }
    Ok(indexes)
}

/// Declares and builds `index`, all in one transaction, so that it is there as a whole or not at all.
pub(crate) fn create(connection: &mut Connection, index: &IndexDefinition) -> Result<()> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let declared = list(&transaction)?;
    let known = declared.iter().find(|status| status.definition.name() == index.name());
    if known.is_some_and(|status| status.ready) {
        return Ok(());
    }
    if known.is_none() && declared.len() >= INDEXES_MAX {
        return Err(too_many(declared.len()));
    }
    build(&transaction, index).and_then(|()| transaction.commit()).map_err(failed)
}

fn build(connection: &Connection, index: &IndexDefinition) -> rusqlite::Result<()> {
    let suggestion = index.to_suggestion();
    let fields = serde_json::to_string(&suggestion.fields).unwrap_or_default();
    connection.execute(DECLARE, params![suggestion.name, suggestion.collection, fields])?;
    connection.execute_batch(&drop_if_exists(index.name()))?;
    connection.execute_batch(&expression::create_index(index))?;
    connection.execute(FINISH, [index.name()]).map(|_| ())
}

fn too_many(declared: usize) -> Error {
    let message = "a store has at most 32 indexes; drop one that no query needs";
    Error::invalid("index", Reason::TooManyIndexes, message)
        .with_fact("indexes", declared)
        .with_fact("limit", INDEXES_MAX)
}

/// Drops a declared index; `false` if there is none of that name.
pub(crate) fn remove(connection: &mut Connection, name: &str) -> Result<bool> {
    remove_declared(connection, name).map_err(|error| from_sqlite(&error))
}

fn remove_declared(connection: &mut Connection, name: &str) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Only what was declared is dropped: any other index is part of the schema.
    if transaction.execute("DELETE FROM indexes WHERE name = ?1", [name])? == 0 {
        return Ok(false);
    }
    transaction.execute_batch(&drop_if_exists(name))?;
    transaction.commit().map(|()| true)
}

fn drop_if_exists(name: &str) -> String {
    format!("DROP INDEX IF EXISTS {}", expression::identifier(name))
}
