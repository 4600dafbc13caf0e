//! Durable creates: 64 tasks against one bare autocommit insert per document with the same change-log row.
//!
//! Wall time: what is saved is waiting for the disk.

use std::sync::Arc;

use futures_util::future::try_join_all;
use rusqlite::{Connection, params};
use syntrix_storage::{DocumentPath, DocumentStore};

use crate::Failure;
use crate::raw;
use crate::rounds::{Pair, Row, measure};
use crate::store::{Fixture, document_1_kib};

const OPERATIONS: usize = 2_560;
const TASKS: usize = 64;

const INSERT_DOCUMENT: &str = "INSERT INTO documents \
    (id, fullpath, collection, parent, created_at, updated_at, version, deleted, data) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1, 0, ?6)";
const INSERT_CHANGE: &str = "INSERT INTO changes \
    (event, id, fullpath, created_at, updated_at, version, deleted, data, committed_at) \
    VALUES (1, ?1, ?2, ?3, ?3, 1, 0, ?4, ?3)";

pub async fn run(rounds: usize) -> Result<Vec<Row>, Failure> {
    let mut pairs = Vec::new();
    for round in 0..=rounds {
        // Each its own file, so that neither pays for the other's pages.
        let (bare, layer) = (Fixture::open().await?, Fixture::open().await?);
        let connection = raw::open_writer(bare.folder.path())?;
        let raw = measure(async { raw_loop(&connection) }).await?.wall;
        let layered = measure(layer_loop(layer.storage.documents()?)).await?.wall;
        if round > 0 {
            pairs.push(Pair { raw, layer: layered });
        }
        drop(connection);
        bare.storage.close().await?;
        layer.storage.close().await?;
    }
    Ok(vec![Row::ratio("durable create, 64 tasks, wall", &pairs, OPERATIONS, 0.30)])
}

fn path(number: usize) -> Result<DocumentPath, syntrix_storage::Error> {
    DocumentPath::parse(&format!("bench/{number}"))
}

/// The document and its change-log row in one transaction per document, as the layer guarantees them.
fn raw_loop(connection: &Connection) -> Result<(), Failure> {
    for number in 0..OPERATIONS {
        let (path, data) = (path(number)?, document_1_kib(number).to_string());
        let (id, fullpath, now) = (path.key().as_bytes(), path.as_str(), number as i64);
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        connection.prepare_cached(INSERT_DOCUMENT)?.execute(params![
            id,
            fullpath,
            path.collection_text(),
            path.parent(),
            now,
            data
        ])?;
        connection.prepare_cached(INSERT_CHANGE)?.execute(params![id, fullpath, now, data])?;
        connection.prepare_cached("COMMIT")?.execute([])?;
    }
    Ok(())
}

async fn layer_loop(store: Arc<dyn DocumentStore>) -> Result<(), Failure> {
    let share = OPERATIONS / TASKS;
    let handles = (0..TASKS).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for number in task * share..(task + 1) * share {
                store.create(&path(number)?, document_1_kib(number), Default::default()).await?;
            }
            Ok::<_, syntrix_storage::Error>(())
        })
    });
    for result in try_join_all(handles).await? {
        result?;
    }
    Ok(())
}
