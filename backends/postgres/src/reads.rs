//! Reads of documents: by key, by plan, by path.

use syntrix_storage_core::backend::CallContext;
use syntrix_storage_core::{
    CollectionPath, Document, DocumentPath, Position, QueryPlan, Result, ScanRequest, Timestamp,
    check_stored_path,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::row::{self, COLUMNS, value};
use crate::session::{Parameter, Session};
use crate::sql::in_schema;
use crate::statement::{Select, select};
use crate::store::Store;
use crate::watch;

/// Most documents in a page of a scan.
const SCAN_MAX: usize = 1000;
/// Several statements that see the same state.
const ONE_VIEW: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Branches come one after the other only if one process runs them. A session of our own has it set.
const ONE_PROCESS: &str = "SET LOCAL max_parallel_workers_per_gather = 0";

pub(crate) const GET: &str = "SELECT fullpath,version,created_at,updated_at,deleted,data \
    FROM {schema}.documents WHERE id = $1";
pub(crate) const GET_MANY: &str = "SELECT id,fullpath,version,created_at,updated_at,deleted,data \
    FROM {schema}.documents WHERE id = ANY($1)";

/// The record at `path`.
pub(crate) async fn get(
    store: &Store,
    path: &DocumentPath,
    context: &CallContext,
) -> Result<Option<Document>> {
    let key = &path.key().as_bytes()[..];
    let rows = store
        .readers
        .query_with(&store.texts.get, &[(&key, Type::BYTEA)], store.need(context)?)
        .await?;
    let Some(row) = rows.first() else { return Ok(None) };
    check_stored_path(path, value(row, 0)?)?;
    let (metadata, body) = (row::metadata(row, 1)?, row::body(row, 5)?);
    Ok(Some(Document::from_parts(path.clone(), metadata, body)))
}

/// The records at `paths`, in one view.
pub(crate) async fn get_many(
    store: &Store,
    paths: &[DocumentPath],
    context: &CallContext,
) -> Result<Vec<Option<Document>>> {
    let mut keys: Vec<_> = paths.iter().map(|path| &path.key().as_bytes()[..]).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut session = store.pool.session_with(store.need(context)?).await?;
    let rows = session.query(&store.texts.get_many, &[(&keys, Type::BYTEA_ARRAY)]).await?;
    let mut found = row::documents(&rows)?;
    found.sort_unstable_by(|left, right| left.path().key().cmp(right.path().key()));
    let place = |path: &DocumentPath| {
        let place = found.binary_search_by(|document| document.path().key().cmp(path.key()));
        let Ok(place) = place else { return Ok(None) };
        check_stored_path(path, found[place].path().as_str())?;
        Ok(Some(found[place].clone()))
    };
    paths.iter().map(place).collect()
}

/// The page that `plan` asks for.
pub(crate) async fn query(
    store: &Store,
    plan: &QueryPlan,
    context: &CallContext,
) -> Result<Vec<Document>> {
    let select = select(plan, &store.schema);
    let mut session = store.pool.session_with(store.need(context)?).await?;
    if select.branches == 1 || store.has_sessions() {
        return run(&mut session, &select).await;
    }
    session.transaction("BEGIN READ ONLY").await?;
    session.execute(ONE_PROCESS).await?;
    let documents = run(&mut session, &select).await?;
    session.commit().await?;
    Ok(documents)
}

/// As [`query`], with the end of the change log in the same view.
pub(crate) async fn query_with_position(
    store: &Store,
    plan: &QueryPlan,
) -> Result<(Vec<Document>, Position, Timestamp)> {
    let select = select(plan, &store.schema);
    let mut session = store.pool.session().await?;
    session.transaction(ONE_VIEW).await?;
    if select.branches > 1 && !store.has_sessions() {
        session.execute(ONE_PROCESS).await?;
    }
    let documents = run(&mut session, &select).await?;
    let (position, commit_time) = watch::end(&mut session, &store.texts).await?;
    session.commit().await?;
    Ok((documents, position, commit_time))
}

async fn run(session: &mut Session, select: &Select<'_>) -> Result<Vec<Document>> {
    let rows = session.query_once(&select.sql, &select.parameters()).await?;
    if select.branches == 1 {
        return row::documents(&rows);
    }
    let mut numbered = rows
        .iter()
        .map(|row| Ok((value::<i32>(row, 0)?, row)))
        .collect::<Result<Vec<(i32, &Row)>>>()?;
    // Within a branch the order is the statement's; the branches themselves carry their number.
    numbered.sort_by_key(|(branch, _)| *branch);
    numbered.into_iter().map(|(_, row)| row::document(row, 1)).collect()
}

/// Records by path, at most as many as asked.
pub(crate) async fn scan(
    store: &Store,
    request: &ScanRequest,
    context: &CallContext,
) -> Result<Vec<Document>> {
    let limit = if request.limit == 0 { SCAN_MAX } else { request.limit };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (first, end) = path_range(request.collection.as_ref());
    // A path never equals the collection and a slash, so both bounds exclude.
    let behind = without_nul(request.after.as_deref().unwrap_or_default()).max(&first);
    let own = request.collection.as_ref().filter(|_| !request.recursive);
    let own = own.map(CollectionPath::as_str);
    let values: [Parameter<'_>; 4] =
        [(&behind, Type::TEXT), (&limit, Type::INT8), (&end, Type::TEXT), (&own, Type::TEXT)];
    let mut session = store.pool.session_with(store.need(context)?).await?;
    let rows = session.query_once(&in_schema(&scan_sql(request), &store.schema), &values).await?;
    row::documents(&rows)
}

/// PostgreSQL's text has no U+0000. No path has one either, so the same paths lie behind what stands before it.
fn without_nul(text: &str) -> &str {
    text.split('\0').next().unwrap_or_default()
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

fn scan_sql(request: &ScanRequest) -> String {
    let mut sql = format!("SELECT {COLUMNS} FROM {{schema}}.documents WHERE fullpath > $1");
    sql.push_str(if request.collection.is_some() {
        " AND fullpath < $3"
    } else {
        " AND $3 IS NULL"
    });
    sql.push_str(if request.show_deleted { "" } else { " AND NOT deleted" });
    sql.push_str(" AND ($4 IS NULL OR collection = $4) ORDER BY fullpath LIMIT $2");
    sql
}
