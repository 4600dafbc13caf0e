//! Reads of documents on one connection: by key, by plan, by path.

use rusqlite::{Connection, params};
use syntrix_storage_core::{
    CollectionPath, Document, DocumentPath, Position, QueryPlan, Result, ScanRequest, Timestamp,
    check_stored_path,
};

use crate::error::from_sqlite;
use crate::readers::Snapshot;
use crate::row::{self, COLUMNS};
use crate::statement::{Select, selects};
use crate::watch;

/// Most documents in a page of a scan.
const SCAN_MAX: usize = 1000;
/// Room made for the rows of a page beforehand.
const ROWS_EXPECTED: usize = 128;
/// Kept short: the statement cache hashes the text on every read.
const GET: &str =
    "SELECT fullpath,version,created_at,updated_at,deleted,data FROM documents WHERE id=?1";

/// The record at `path`. The hot path: no allocation but the body's.
pub(crate) fn get(connection: &Connection, path: &DocumentPath) -> Result<Option<Document>> {
    // Asks for the text now, so that it is there when the row is: it often lies in another cache line than the key.
    std::hint::black_box(path.as_str());
    let mut statement = connection.prepare_cached(GET).map_err(|error| from_sqlite(&error))?;
    let mut rows =
        statement.query([&path.key().as_bytes()[..]]).map_err(|error| from_sqlite(&error))?;
    let Some(row) = rows.next().map_err(|error| from_sqlite(&error))? else { return Ok(None) };
    check_stored_path(path, row::text(row, 0)?)?;
    let (metadata, body) = (row::metadata(row, 1)?, row::body(row, 5)?);
    Ok(Some(Document::from_parts(path.clone(), metadata, body)))
}

/// The records at `paths`, in one view.
pub(crate) fn get_many(
    connection: &Connection,
    paths: &[DocumentPath],
) -> Result<Vec<Option<Document>>> {
    let _snapshot = Snapshot::begin(connection)?;
    paths.iter().map(|path| get(connection, path)).collect()
}

/// The page that `plan` asks for.
pub(crate) fn query(connection: &Connection, plan: &QueryPlan) -> Result<Vec<Document>> {
    let selects = selects(plan);
    // A statement is a view of its own; several need one around them.
    let _snapshot = if selects.len() > 1 { Some(Snapshot::begin(connection)?) } else { None };
    run_all(connection, plan, &selects)
}

/// As [`query`], with the end of the change log in the same view.
pub(crate) fn query_with_position(
    connection: &Connection,
    plan: &QueryPlan,
) -> Result<(Vec<Document>, Position, Timestamp)> {
    let _snapshot = Snapshot::begin(connection)?;
    let documents = run_all(connection, plan, &selects(plan))?;
    let (position, commit_time) = watch::end(connection)?;
    Ok((documents, position, commit_time))
}

fn run_all(
    connection: &Connection,
    plan: &QueryPlan,
    selects: &[Select<'_>],
) -> Result<Vec<Document>> {
    let mut documents = Vec::with_capacity(plan.rows_max().min(ROWS_EXPECTED));
    for select in selects {
        if documents.len() >= plan.rows_max() {
            break;
        }
        run(connection, select, plan.rows_max() - documents.len(), &mut documents)?;
    }
    Ok(documents)
}

fn run(
    connection: &Connection,
    select: &Select<'_>,
    limit: usize,
    documents: &mut Vec<Document>,
) -> Result<()> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let mut statement = connection.prepare_cached(&select.sql).map_err(failed)?;
    for (position, parameter) in select.parameters.iter().enumerate() {
        statement.raw_bind_parameter(position + 1, parameter).map_err(failed)?;
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    statement.raw_bind_parameter(select.parameters.len() + 1, limit).map_err(failed)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(failed)? {
        documents.push(row::document(row)?);
    }
    Ok(())
}

/// Records by path, at most as many as asked.
pub(crate) fn scan(connection: &Connection, request: &ScanRequest) -> Result<Vec<Document>> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let limit = if request.limit == 0 { SCAN_MAX } else { request.limit };
    let (first, end) = path_range(request.collection.as_ref());
    // A path never equals the collection and a slash, so both bounds exclude.
    let behind = request.after.as_deref().unwrap_or_default().max(&first);
    let own = request.collection.as_ref().filter(|_| !request.recursive);
    let own = own.map(CollectionPath::as_str);
    let mut statement = connection.prepare_cached(&scan_sql(request)).map_err(failed)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![behind, end, limit, own]).map_err(failed)?;
    let mut documents = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        documents.push(row::document(row)?);
    }
    Ok(documents)
}

/// Everything below a collection lies between it with a slash and it with the character behind the slash, so whole segments
/// are compared without a pattern.
fn path_range(collection: Option<&CollectionPath>) -> (String, Option<String>) {
    match collection {
        None => (String::new(), None),
        Some(collection) => {
            (format!("{}/", collection.as_str()), Some(format!("{}0", collection.as_str())))
        }
    }
}

pub(crate) fn scan_sql(request: &ScanRequest) -> String {
    let mut sql = format!("SELECT {COLUMNS} FROM documents WHERE fullpath > ?1");
    sql.push_str(if request.collection.is_some() {
        " AND fullpath < ?2"
    } else {
        " AND ?2 IS NULL"
    });
    sql.push_str(if request.show_deleted { "" } else { " AND deleted = 0" });
    sql.push_str(" AND (?4 IS NULL OR collection = ?4) ORDER BY fullpath LIMIT ?3");
    sql
}
