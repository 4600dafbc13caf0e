//! Declared indexes: a record says what was asked for, the server's catalogue what is there. Usable is what both say.

use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use syntrix_storage_core::{
    CollectionPattern, Error, INDEXES_MAX, IndexDefinition, IndexStatus, IndexSuggestion,
    PatternSegment, Reason, Result,
};

use crate::error::{INDEX_NOT_FOUND, NAMESPACE_NOT_FOUND, code_of, damaged, from_driver};
use crate::settings::METADATA;
use crate::store::{Store, Table};
use crate::{catalogue, expression};

/// All declared indexes with their state.
pub(crate) async fn list(store: &Store) -> Result<Vec<IndexStatus>> {
    let failed = |error: mongodb::error::Error| from_driver(&error);
    let declarations = declarations(store);
    let rows = declarations.find(declared_here(store)).sort(doc! { "_id": 1 });
    let rows: Vec<Document> = rows.await.map_err(failed)?.try_collect().await.map_err(failed)?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut built = Vec::new();
    for table in Table::ALL {
        for index in catalogue::list(&store.database, store.name(table)).await? {
            built.extend(index.get_str("name").map(|name| (table, name.to_owned())));
        }
    }
    let status = |row: &Document| {
        let definition = row.get_str("definition").map_err(|_| damaged())?;
        let suggestion: IndexSuggestion =
            serde_json::from_str(definition).map_err(|_| damaged())?;
        let definition = suggestion.to_definition().map_err(|_| damaged())?;
        let place = (Table::of_pattern(definition.pattern()), definition.name().to_owned());
        let ready = row.get_str("state").ok() == Some("ready") && built.contains(&place);
        Ok(IndexStatus { definition, ready })
    };
    rows.iter().map(status).collect()
}

/// Declares and builds `index`. The server builds it without stopping writes; until then it serves nobody.
pub(crate) async fn create(store: &Store, index: &IndexDefinition) -> Result<()> {
    let declared = list(store).await?;
    let known = declared.iter().find(|status| status.definition.name() == index.name());
    if known.is_some_and(|status| status.ready) {
        return Ok(());
    }
    if known.is_none() && declared.len() >= INDEXES_MAX {
        return Err(too_many(declared.len()));
    }
    note(store, index, "building").await?;
    let specification =
        expression::index_specification(index.name(), &served(index.pattern()), index.fields());
    let table = Table::of_pattern(index.pattern());
    catalogue::build(&store.database, store.name(table), vec![specification]).await?;
    note(store, index, "ready").await
}

/// A record's pattern has `*` in every document position, whatever the declaration says.
fn served(pattern: &CollectionPattern) -> String {
    let segments: Vec<&str> = pattern
        .segments()
        .map(|segment| match segment {
            PatternSegment::Collection(name) => name,
            PatternSegment::Document(_) | PatternSegment::Any => "*",
        })
        .collect();
    segments.join("/")
}

async fn note(store: &Store, index: &IndexDefinition, state: &str) -> Result<()> {
    let row = doc! { "$set": {
        "kind": "index",
        "store": store.name(Table::Data),
        "definition": index.to_suggestion().to_json(),
        "state": state,
    } };
    let (rows, id) = (declarations(store), doc! { "_id": row_id(store, index.name()) });
    rows.update_one(id, row).upsert(true).await.map(|_| ()).map_err(|error| from_driver(&error))
}

/// Drops a declared index; `false` if there is none of that name.
pub(crate) async fn remove(store: &Store, name: &str) -> Result<bool> {
    let failed = |error: mongodb::error::Error| from_driver(&error);
    // Only what was declared is dropped: any other index is part of the schema.
    let row = doc! { "_id": row_id(store, name) };
    let Some(found) = declarations(store).find_one(row.clone()).await.map_err(failed)? else {
        return Ok(false);
    };
    let definition = found.get_str("definition").map_err(|_| damaged())?;
    let suggestion: IndexSuggestion = serde_json::from_str(definition).map_err(|_| damaged())?;
    let pattern = CollectionPattern::parse(&suggestion.collection).map_err(|_| damaged())?;
    let command = doc! {
        "dropIndexes": store.name(Table::of_pattern(&pattern)),
        "index": name,
        "writeConcern": { "w": "majority" },
    };
    match store.database.run_command(command.clone()).await {
        Ok(_) => {}
        Err(error) if matches!(code_of(&error), Some(INDEX_NOT_FOUND | NAMESPACE_NOT_FOUND)) => {}
        Err(error) => return Err(catalogue::refused(&error, &command)),
    }
    let removed = declarations(store).delete_one(row).await.map_err(failed)?;
    Ok(removed.deleted_count == 1)
}

fn declarations(store: &Store) -> Collection<Document> {
    store.database.collection(METADATA)
}

fn declared_here(store: &Store) -> Document {
    doc! { "kind": "index", "store": store.name(Table::Data) }
}

fn row_id(store: &Store, name: &str) -> String {
    format!("index:{}:{name}", store.name(Table::Data))
}

fn too_many(declared: usize) -> Error {
    let message = "a store has at most 32 indexes; drop one that no query needs";
    Error::invalid("index", Reason::TooManyIndexes, message)
        .with_fact("indexes", declared)
        .with_fact("limit", INDEXES_MAX)
}
