//! Declared indexes: a row says what was asked for, PostgreSQL's catalogue what is there. Usable is what both say.

use std::time::Duration;

use syntrix_storage_core::{
    Error, ErrorKind, INDEXES_MAX, IndexDefinition, IndexStatus, IndexSuggestion, Reason, Result,
    Retry, SuggestedField,
};
use tokio_postgres::types::Type;

use crate::error::damaged;
use crate::expression;
use crate::row::{Json, value};
use crate::session::{Parameter, Session};
use crate::sql::{identifier, in_schema};
use crate::store::Store;

const LIST: &str = "SELECT d.name, d.collection, d.fields, d.state = 'ready' AND coalesce(i.indisvalid AND i.indisready, FALSE) \
    FROM {schema}.indexes AS d \
    LEFT JOIN pg_catalog.pg_class AS c ON c.relname = d.name AND c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'i' \
    LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid AND i.indrelid = '{schema}.documents'::regclass \
    ORDER BY d.name";
/// Whether what is there under that name works, declared or not.
const BUILT: &str = "SELECT i.indisvalid AND i.indisready FROM pg_catalog.pg_class AS c \
    JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid AND i.indrelid = '{schema}.documents'::regclass \
    WHERE c.relname = $1 AND c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'i'";
const DECLARE: &str = "INSERT INTO {schema}.indexes (name, collection, fields, state) VALUES ($1, $2, $3, 'building') \
    ON CONFLICT (name) DO UPDATE SET state = 'building'";
/// No row: somebody who dropped it before forgot our declaration with his.
const FINISH: &str = "UPDATE {schema}.indexes SET state = 'ready' WHERE name = $1 RETURNING 1";
const IS_DECLARED: &str = "SELECT FROM {schema}.indexes WHERE name = $1";
const FORGET: &str = "DELETE FROM {schema}.indexes WHERE name = $1";
/// Taken without waiting: a build waits for every older statement, also for one that waits for this lock.
const TAKE_TURN: &str = "SELECT pg_try_advisory_lock(hashtextextended('{schema}.indexes', 5))";
const TURN_PAUSE: Duration = Duration::from_millis(50);
/// Whether somebody builds an index right now.
const IS_BUILDING: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index \
    WHERE datname = current_database() AND relid = '{schema}.documents'::regclass)";
/// How often one who has to give way to another build tries at all, and the longest pause before the next time.
const ATTEMPTS_MAX: u32 = 20;
const GIVE_WAY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// All declared indexes with their state.
pub(crate) async fn list(session: &mut Session, schema: &str) -> Result<Vec<IndexStatus>> {
    let rows = session.query_once(&in_schema(LIST, schema), &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        let Json(fields) = value(row, 2)?;
        let fields: Vec<SuggestedField> = serde_json::from_str(fields).map_err(|_| damaged())?;
        let (name, collection) = (value(row, 0)?, value(row, 1)?);
        let definition = IndexSuggestion { name, collection, fields }.to_definition();
        let definition = definition.map_err(|_| damaged())?;
        Ok(IndexStatus { definition, ready: value(row, 3)? })
    };
    rows.iter().map(read).collect()
}

/// Declares and builds `index` while others read and write. What an earlier build or drop left behind is built anew, and
/// what the owner built by hand is taken as it is: the name says which fields it is of.
pub(crate) async fn create(store: &Store, index: &IndexDefinition) -> Result<()> {
    giving_way(store, || create_once(store, index)).await
}

/// `None` if somebody else builds or drops one at the same time.
async fn create_once(store: &Store, index: &IndexDefinition) -> Result<Option<()>> {
    let mut session = patient_session(store).await?;
    take_turn(store, &mut session).await?;
    let declared = list(&mut session, &store.schema).await?;
    let known = declared.iter().find(|known| known.definition.name() == index.name());
    if known.is_some_and(|known| known.ready) {
        return Ok(Some(()));
    }
    if known.is_none() && declared.len() >= INDEXES_MAX {
        return Err(too_many(declared.len()));
    }
    let suggestion = index.to_suggestion();
    let fields = serde_json::to_string(&suggestion.fields).unwrap_or_default();
    let fields = Json(&fields);
    let values: [Parameter<'_>; 3] = [
        (&suggestion.name, Type::TEXT),
        (&suggestion.collection, Type::TEXT),
        (&fields, Type::JSONB),
    ];
    session.query_once(&in_schema(DECLARE, &store.schema), &values).await?;
    build(store, &mut session, index).await
}

async fn build(
    store: &Store,
    session: &mut Session,
    index: &IndexDefinition,
) -> Result<Option<()>> {
    let name = index.name();
    let rows = session.query_once(&in_schema(BUILT, &store.schema), &[(&name, Type::TEXT)]).await?;
    let works = rows.first().map(|row| value::<bool>(row, 0)).transpose()?;
    // Unfinished may be one that somebody began to build behind our first look.
    if works == Some(false) && !store.has_sessions() && is_building(store, session).await? {
        return Ok(None);
    }
    let mut statements = Vec::new();
    if works == Some(false) {
        statements.push(drop_statement(&store.schema, name));
    }
    if works != Some(true) {
        statements.push(expression::create_index(index, &store.schema));
    }
    for statement in &statements {
        let built = session.execute(statement).await;
        built.map_err(|error| explain(error, &statements.join(";\n")))?;
    }
    let finish = in_schema(FINISH, &store.schema);
    let finished = session.query_once(&finish, &[(&name, Type::TEXT)]).await?;
    Ok(finished.first().map(|_| ()))
}

/// Whether somebody builds one of ours.
async fn is_building(store: &Store, session: &mut Session) -> Result<bool> {
    let rows = session.query_once(&in_schema(IS_BUILDING, &store.schema), &[]).await?;
    value(rows.first().ok_or_else(damaged)?, 0)
}

/// A role that is not the owner gets what the owner has to run; `create` then finds it built, `remove` gone.
fn explain(error: Error, statement: &str) -> Error {
    if error.fact("sqlstate") != Some("42501") {
        return error;
    }
    Error::new(ErrorKind::ConfigInvalid, "")
        .with_message("only the owner of the tables may build or drop an index; let it do that with this program, or by")
        .with_fact("statement", statement)
}

/// A connection for statements that take their time, closed afterwards together with its locks.
async fn patient_session(store: &Store) -> Result<Session> {
    let mut session = store.pool.session().await?;
    if store.has_sessions() {
        session.keep_to_itself();
        session.execute("SET statement_timeout = 0").await?;
    }
    Ok(session)
}

/// Whether the server let another build go first: two of one table wait for each other (`deadlock_detected`). Where no lock keeps
/// them apart, two of one name find it taken, gone, or changed under them ("tuple concurrently updated", an internal error). What is
/// left is built anew.
fn gave_way(store: &Store, error: &Error) -> bool {
    match error.fact("sqlstate") {
        Some("40P01") => true,
        Some("42P07" | "42704" | "XX000") => !store.has_sessions(),
        _ => false,
    }
}

fn others_build() -> Error {
    Error::new(ErrorKind::Unavailable, "")
        .with_retry(Retry::Safe)
        .with_message("others build and drop indexes at the same time, again and again; try again when they are done")
}

/// Does `once` until nobody else was in the way.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] if somebody always was.
async fn giving_way<T, F>(store: &Store, once: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    for attempt in 1..=ATTEMPTS_MAX {
        match once().await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            Err(error) if gave_way(store, &error) && attempt < ATTEMPTS_MAX => {}
            Err(error) => return Err(error),
        }
        pause_before_next(attempt).await;
    }
    Err(others_build())
}

/// At different times, or they meet again.
async fn pause_before_next(attempt: u32) {
    let longest = TURN_PAUSE.saturating_mul(1 << attempt.min(8)).min(GIVE_WAY_PAUSE_MAX);
    tokio::time::sleep(longest.mul_f64(fastrand::f64())).await;
}

/// One build at a time. Behind a transaction pooler there is no lock: who sees that another one builds waits for its end, and of
/// two that begin at the same moment one gives way.
async fn take_turn(store: &Store, session: &mut Session) -> Result<()> {
    let take = in_schema(TAKE_TURN, &store.schema);
    loop {
        let is_ours = match store.has_sessions() {
            true => {
                let rows = session.query_once(&take, &[]).await?;
                value::<bool>(rows.first().ok_or_else(damaged)?, 0)?
            }
            false => !is_building(store, session).await?,
        };
        if is_ours {
            return Ok(());
        }
        tokio::time::sleep(TURN_PAUSE).await;
    }
}

fn too_many(declared: usize) -> Error {
    let message = "a store has at most 32 indexes; drop one that no query needs";
    Error::invalid("index", Reason::TooManyIndexes, message)
        .with_fact("indexes", declared)
        .with_fact("limit", INDEXES_MAX)
}

/// Drops a declared index; `false` if there is none of that name. Any other index is part of the schema.
///
/// The declaration goes last: stopped half way, there is still something to drop, and nobody uses what is left of it.
pub(crate) async fn remove(store: &Store, name: &str) -> Result<bool> {
    giving_way(store, move || async move { remove_once(store, name).await.map(Some) }).await
}

async fn remove_once(store: &Store, name: &str) -> Result<bool> {
    let mut session = patient_session(store).await?;
    take_turn(store, &mut session).await?;
    let declared = in_schema(IS_DECLARED, &store.schema);
    if session.query_once(&declared, &[(&name, Type::TEXT)]).await?.is_empty() {
        return Ok(false);
    }
    let statement = drop_statement(&store.schema, name);
    session.execute(&statement).await.map_err(|error| explain(error, &statement))?;
    session.query_once(&in_schema(FORGET, &store.schema), &[(&name, Type::TEXT)]).await?;
    Ok(true)
}

fn drop_statement(schema: &str, name: &str) -> String {
    format!("DROP INDEX CONCURRENTLY IF EXISTS {}.{}", identifier(schema), identifier(name))
}
