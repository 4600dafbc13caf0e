//! Collections and indexes that a store relies on: verified first, made when they are missing.

use futures_util::TryStreamExt as _;
use mongodb::Database;
use mongodb::bson::{Document, doc};
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};

use crate::error::{
    NAMESPACE_EXISTS, NAMESPACE_NOT_FOUND, UNAUTHORIZED, code_of, damaged, from_driver,
};
use crate::settings::{REVOCATIONS, USERS};

/// An index of the schema: its name and what the server keeps of it.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) name: &'static str,
    /// `key`, and perhaps `unique`, `partialFilterExpression` or `expireAfterSeconds`.
    pub(crate) options: Document,
}

/// What a change of a definition would show in; a collation makes an index another one, so there must be none.
const COMPARED: [&str; 6] =
    ["key", "unique", "partialFilterExpression", "expireAfterSeconds", "collation", "sparse"];

/// The indexes of documents beside `_id`.
pub(crate) fn document_indexes() -> Vec<Index> {
    let index = |name, key: Document| Index { name, options: doc! { "key": key } };
    let tombstones =
        doc! { "key": { "updatedAt": 1 }, "partialFilterExpression": { "deleted": true } };
    vec![
        index("collection_id", doc! { "collection": 1, "_id": 1 }),
        index("collection_created", doc! { "collection": 1, "createdAt": 1, "_id": 1 }),
        index("collection_updated", doc! { "collection": 1, "updatedAt": 1, "_id": 1 }),
        index("parent", doc! { "parent": 1, "_id": 1 }),
        index("fullpath", doc! { "fullpath": 1 }),
        Index { name: "tombstones", options: tombstones },
    ]
}

/// Keeps names unique; the name of a deleted account is free.
pub(crate) fn user_indexes() -> Vec<Index> {
    let options = doc! {
        "key": { "usernameKey": 1 },
        "unique": true,
        "partialFilterExpression": { "deleted": false },
    };
    vec![Index { name: "users_username_key", options }]
}

/// Lets the server remove the records whose time is over.
pub(crate) fn revocation_indexes() -> Vec<Index> {
    let options = doc! { "key": { "purgeAt": 1 }, "expireAfterSeconds": 0 };
    vec![Index { name: "revocations_purge_at", options }]
}

/// Makes sure that names are unique and can stay so.
pub(crate) async fn ensure_users(database: &Database) -> Result<()> {
    let missing = missing_indexes(database, USERS, user_indexes()).await?;
    if missing.is_empty() {
        return Ok(());
    }
    refuse_repeated_names(database).await?;
    create_indexes(database, USERS, &missing).await
}

pub(crate) async fn ensure_revocations(database: &Database) -> Result<()> {
    let missing = missing_indexes(database, REVOCATIONS, revocation_indexes()).await?;
    create_indexes(database, REVOCATIONS, &missing).await
}

/// Makes sure that the documents' collection `name` and its indexes are there.
pub(crate) async fn ensure_documents(
    database: &Database,
    name: &str,
    before_images: bool,
) -> Result<()> {
    if options_of(database, name).await?.is_none() {
        create_collection(database, name, before_images).await?;
    }
    let missing = missing_indexes(database, name, document_indexes()).await?;
    create_indexes(database, name, &missing).await
}

/// Whether the collection keeps what a record was before each change.
pub(crate) async fn has_before_images(database: &Database, name: &str) -> Result<bool> {
    let options = options_of(database, name).await?.unwrap_or_default();
    let images = options.get_document("changeStreamPreAndPostImages");
    Ok(images.is_ok_and(|images| images.get_bool("enabled").unwrap_or(false)))
}

/// A collection's options; `None` if it is not there.
async fn options_of(database: &Database, name: &str) -> Result<Option<Document>> {
    let command = doc! { "listCollections": 1, "filter": { "name": name } };
    let found: Vec<Document> = rows(database, command).await?;
    Ok(found.into_iter().next().map(|row| row.get_document("options").cloned().unwrap_or_default()))
}

async fn create_collection(database: &Database, name: &str, before_images: bool) -> Result<()> {
    let mut command = doc! { "create": name, "writeConcern": { "w": "majority" } };
    if before_images {
        command.insert("changeStreamPreAndPostImages", doc! { "enabled": true });
    }
    match database.run_command(command.clone()).await {
        Ok(_) => Ok(()),
        // Another process was first.
        Err(error) if code_of(&error) == Some(NAMESPACE_EXISTS) => Ok(()),
        // A standalone has no such images; there is nothing to watch them with either.
        Err(_) if command.remove("changeStreamPreAndPostImages").is_some() => {
            match database.run_command(command.clone()).await {
                Err(error) if code_of(&error) != Some(NAMESPACE_EXISTS) => {
                    Err(refused(&error, &command))
                }
                _ => Ok(()),
            }
        }
        Err(error) => Err(refused(&error, &command)),
    }
}

/// Those of `indexes` that are not there; an index of the same name that is another one is an error.
async fn missing_indexes(
    database: &Database,
    collection: &str,
    indexes: Vec<Index>,
) -> Result<Vec<Index>> {
    let stored = list(database, collection).await?;
    let mut missing = Vec::new();
    for index in indexes {
        match stored.iter().find(|stored| stored.get_str("name").ok() == Some(index.name)) {
            None => missing.push(index),
            Some(stored) if is_same(stored, &index.options) => {}
            Some(_) => return Err(wrong(collection, &index)),
        }
    }
    Ok(missing)
}

fn is_same(stored: &Document, wanted: &Document) -> bool {
    COMPARED.iter().all(|option| comparable(stored.get(option)) == comparable(wanted.get(option)))
}

/// The server may give a direction or a duration back as another type of number.
fn comparable(option: Option<&mongodb::bson::Bson>) -> Option<String> {
    option.map(|option| option.to_string().replace(".0", ""))
}

async fn create_indexes(database: &Database, collection: &str, indexes: &[Index]) -> Result<()> {
    if indexes.is_empty() {
        return Ok(());
    }
    let specification = |index: &Index| {
        let mut options = index.options.clone();
        options.insert("name", index.name);
        options
    };
    let indexes: Vec<_> = indexes.iter().map(specification).collect();
    build(database, collection, indexes).await
}

/// Builds indexes and waits for a majority of the servers to have them.
pub(crate) async fn build(
    database: &Database,
    collection: &str,
    indexes: Vec<Document>,
) -> Result<()> {
    let command = doc! {
        "createIndexes": collection,
        "indexes": indexes,
        "writeConcern": { "w": "majority" },
    };
    let built = database.run_command(command.clone()).await;
    built.map(|_| ()).map_err(|error| refused(&error, &command))
}

/// The indexes of a collection; none if it is not there.
pub(crate) async fn list(database: &Database, collection: &str) -> Result<Vec<Document>> {
    let command = doc! { "listIndexes": collection };
    match database.run_cursor_command(command).await {
        Ok(cursor) => cursor.try_collect().await.map_err(|error| from_driver(&error)),
        Err(error) if code_of(&error) == Some(NAMESPACE_NOT_FOUND) => Ok(Vec::new()),
        Err(error) => Err(from_driver(&error)),
    }
}

async fn rows(database: &Database, command: Document) -> Result<Vec<Document>> {
    let failed = |error: mongodb::error::Error| from_driver(&error);
    let cursor = database.run_cursor_command(command).await.map_err(failed)?;
    cursor.try_collect().await.map_err(failed)
}

/// A role without the right to change the schema gets the statement, for whoever has it.
pub(crate) fn refused(error: &mongodb::error::Error, command: &Document) -> Error {
    if code_of(error) != Some(UNAUTHORIZED) {
        return from_driver(error);
    }
    Error::new(ErrorKind::Unavailable, "")
        .with_retry(Retry::Never)
        .with_message("the role may not change the schema; let one that may run the command")
        .with_fact("command", command)
}

fn wrong(collection: &str, index: &Index) -> Error {
    Error::new(ErrorKind::Internal, "")
        .with_message("an index of this name is not what it should be; drop it, then try again")
        .with_fact("collection", collection)
        .with_fact("name", index.name)
        .with_fact("definition", &index.options)
}

async fn refuse_repeated_names(database: &Database) -> Result<()> {
    let pipeline = vec![
        doc! { "$match": { "deleted": false } },
        doc! { "$group": { "_id": "$usernameKey", "accounts": { "$sum": 1 } } },
        doc! { "$match": { "accounts": { "$gt": 1 } } },
        doc! { "$count": "names" },
    ];
    let command = doc! { "aggregate": USERS, "pipeline": pipeline, "cursor": {} };
    let Some(counted) = rows(database, command).await?.into_iter().next() else { return Ok(()) };
    let names = counted.get_i32("names").map_err(|_| damaged())?;
    Err(Error::new(ErrorKind::Internal, "")
        .with_message("names belong to several accounts; rename or remove them, then try again")
        .with_fact("names", names))
}
