//! Many conditional writes as one statement, each with its entry in the change log and its own outcome.

use std::collections::HashSet;

use syntrix_storage_core::backend::{Applied, Write};
use syntrix_storage_core::{
    Body, Document, DocumentId, Metadata, Result, Timestamp, check_stored_path,
};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::damaged;
use crate::insert;
use crate::row::{self, Json, value};
use crate::session::{Parameter, Session};
use crate::store::Texts;

/// Most writes in one statement.
pub(crate) const BATCH_MAX: usize = 128;
/// How often a write is tried again that met another one's insertion.
const ATTEMPTS_MAX: usize = 20;

const INSERT: i16 = 1;
const REPLACE: i16 = 2;
const REPLACE_LIVE: i16 = 3;
const APPLY_IF_NEWER: i16 = 4;

/// Rows that are there are locked first, in the order of keys; rows that are not are inserted in that order. So no two
/// batches wait for each other in a circle. A write that a look without lock refuses is not locked for: versions only
/// grow, and a statement that locks nothing has nothing to commit.
///
/// The log's number is drawn after the row is locked or inserted, because the entry is made from what the write returns.
///
/// $1 kind, $2 id, $3 fullpath, $4 collection, $5 parent, $6 expected version, $7 created_at, $8 updated_at or time of the
/// write, $9 version, $10 deleted, $11 data, $12 the time now.
pub(crate) const WRITE: &str = "WITH input AS MATERIALIZED (\
      SELECT * FROM unnest($1::smallint[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], \
        $8::bigint[], $9::bigint[], $10::boolean[], $11::jsonb[]) \
      WITH ORDINALITY AS i(kind, id, fullpath, collection, parent, expected, created_at, updated_at, version, deleted, data, n)), \
    seen AS MATERIALIZED (\
      SELECT i.n, d.id, d.fullpath, d.version, d.created_at, d.updated_at, d.deleted, d.data, \
        d.fullpath = i.fullpath AND CASE i.kind WHEN 1 THEN FALSE WHEN 2 THEN d.version <= i.expected \
          WHEN 3 THEN NOT d.deleted AND (i.expected IS NULL OR d.version <= i.expected) \
          ELSE d.version < i.version END AS possible \
      FROM input AS i JOIN {schema}.documents AS d ON d.id = i.id), \
    locked AS MATERIALIZED (\
      SELECT id, fullpath, version, created_at, updated_at, deleted, data FROM {schema}.documents \
      WHERE id = ANY (ARRAY(SELECT id FROM seen WHERE possible)) ORDER BY id FOR UPDATE), \
    old AS (\
      SELECT n, id, fullpath, version, created_at, updated_at, deleted, data FROM seen WHERE NOT possible UNION ALL \
      SELECT s.n, l.id, l.fullpath, l.version, l.created_at, l.updated_at, l.deleted, l.data \
      FROM seen AS s JOIN locked AS l ON l.id = s.id WHERE s.possible), \
    next AS MATERIALIZED (\
      SELECT i.n, i.id, i.fullpath, i.collection, i.parent, o.id IS NOT NULL AS found, \
        coalesce(o.fullpath = i.fullpath, TRUE) AND coalesce(CASE i.kind \
          WHEN 1 THEN o.id IS NULL \
          WHEN 2 THEN o.version = i.expected \
          WHEN 3 THEN NOT o.deleted AND (i.expected IS NULL OR o.version = i.expected) \
          ELSE o.id IS NULL OR o.version < i.version END, FALSE) AS holds, \
        CASE i.kind WHEN 3 THEN o.created_at ELSE i.created_at END AS created_at, \
        CASE i.kind WHEN 3 THEN greatest(i.updated_at, o.updated_at) ELSE i.updated_at END AS updated_at, \
        CASE i.kind WHEN 3 THEN o.version + 1 ELSE i.version END AS version, \
        i.deleted, i.data, o.fullpath AS old_fullpath, o.version AS old_version, o.created_at AS old_created_at, \
        o.updated_at AS old_updated_at, o.deleted AS old_deleted, o.data AS old_data \
      FROM input AS i LEFT JOIN old AS o ON o.n = i.n), \
    inserted AS (\
      INSERT INTO {schema}.documents (id, fullpath, collection, parent, created_at, updated_at, version, deleted, data) \
      SELECT id, fullpath, collection, parent, created_at, updated_at, version, deleted, data FROM next \
      WHERE holds AND NOT found ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id), \
    updated AS (\
      UPDATE {schema}.documents AS d SET created_at = x.created_at, updated_at = x.updated_at, version = x.version, \
        deleted = x.deleted, data = x.data \
      FROM next AS x WHERE d.id = x.id AND x.holds AND x.found RETURNING d.id), \
    logged AS (\
      INSERT INTO {schema}.changes (event, id, fullpath, created_at, updated_at, version, deleted, data, \
        before_created_at, before_updated_at, before_version, before_data, committed_at) \
      SELECT CASE WHEN x.deleted THEN 3 WHEN x.old_deleted IS FALSE THEN 2 ELSE 1 END, \
        x.id, x.fullpath, x.created_at, x.updated_at, x.version, x.deleted, x.data, \
        CASE WHEN NOT x.old_deleted THEN x.old_created_at END, CASE WHEN NOT x.old_deleted THEN x.old_updated_at END, \
        CASE WHEN NOT x.old_deleted THEN x.old_version END, CASE WHEN NOT x.old_deleted THEN x.old_data END, \
        greatest($12::bigint, m.floor_at, (SELECT committed_at FROM {schema}.changes ORDER BY seq DESC LIMIT 1)) \
      FROM (SELECT id FROM inserted UNION ALL SELECT id FROM updated) AS w \
      JOIN next AS x ON x.id = w.id CROSS JOIN {schema}.metadata AS m ORDER BY x.n RETURNING id) \
    SELECT (x.n - 1)::int, l.id IS NOT NULL, x.found, x.version, x.created_at, x.updated_at, x.deleted, \
      CASE WHEN l.id IS NULL THEN x.old_fullpath END, CASE WHEN l.id IS NULL THEN x.old_version END, \
      CASE WHEN l.id IS NULL THEN x.old_created_at END, CASE WHEN l.id IS NULL THEN x.old_updated_at END, \
      CASE WHEN l.id IS NULL THEN x.old_deleted END, CASE WHEN l.id IS NULL THEN x.old_data END \
    FROM next AS x LEFT JOIN logged AS l ON l.id = x.id";
/// Where the columns of what is there instead begin.
const CURRENT: usize = 7;

/// What became of one write of a statement.
enum Outcome {
    Done(Result<Applied>),
    /// Somebody inserted the row at the same time: what is there decides, so the write has to look again.
    Again,
}

/// Runs writes of different documents as one statement. `Err` is about all of them, an inner error about one.
pub(crate) async fn apply(
    session: &mut Session,
    texts: &Texts,
    writes: &[&Write],
    now: Timestamp,
) -> Result<Vec<Result<Applied>>> {
    let mut answers: Vec<Option<Result<Applied>>> = writes.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..writes.len()).collect();
    for _ in 0..ATTEMPTS_MAX {
        let batch: Vec<&Write> = open.iter().map(|number| writes[*number]).collect();
        let outcomes = match run(session, texts, &batch, now).await {
            Ok(outcomes) => outcomes,
            // What the first statement did is done; what is left of the batch has an error of its own.
            Err(error) if open.len() < writes.len() => {
                open.iter().for_each(|number| answers[*number] = Some(Err(repeated(&error))));
                break;
            }
            Err(error) => return Err(error),
        };
        let mut again = Vec::new();
        for (number, outcome) in open.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Done(answer) => answers[number] = Some(answer),
                Outcome::Again => again.push(number),
            }
        }
        open = again;
        if open.is_empty() {
            break;
        }
    }
    Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(contended()))).collect())
}

fn contended() -> syntrix_storage_core::Error {
    syntrix_storage_core::Error::new(syntrix_storage_core::ErrorKind::Conflict, "")
        .with_message("the document came and went too often; nothing was written")
}

/// The same error for another caller.
pub(crate) fn repeated(error: &syntrix_storage_core::Error) -> syntrix_storage_core::Error {
    let mut copy = syntrix_storage_core::Error::new(error.kind(), "").with_retry(error.retry());
    if let Some(message) = error.message() {
        copy = copy.with_message(message.to_owned());
    }
    error.facts().iter().fold(copy, |copy, (key, value)| copy.with_fact(key, value))
}

async fn run(
    session: &mut Session,
    texts: &Texts,
    writes: &[&Write],
    now: Timestamp,
) -> Result<Vec<Outcome>> {
    let columns = Columns::of(writes);
    let now = now.as_milliseconds();
    let (rows, current) = match insert::is_insertion(writes) {
        true => {
            let values = insert::parameters(&columns, &now);
            (session.query(&texts.insert, &values).await?, insert::CURRENT)
        }
        false => (session.query(&texts.write, &columns.parameters(&now)).await?, CURRENT),
    };
    let mut outcomes: Vec<Option<Outcome>> = writes.iter().map(|_| None).collect();
    for row in &rows {
        let number: i32 = value(row, 0)?;
        let place = usize::try_from(number).map_err(|_| damaged())?;
        let write = writes.get(place).ok_or_else(damaged)?;
        outcomes[place] = Some(outcome(row, write, current));
    }
    outcomes.into_iter().map(|outcome| outcome.ok_or_else(damaged)).collect()
}

/// `column` is where what is there instead begins.
fn outcome(row: &Row, write: &Write, column: usize) -> Outcome {
    let found = match value::<bool>(row, 2) {
        Ok(found) => found,
        Err(error) => return Outcome::Done(Err(error)),
    };
    match (value::<bool>(row, 1), found, write) {
        (Err(error), _, _) => Outcome::Done(Err(error)),
        (Ok(true), _, _) => Outcome::Done(written(row, write).map(Applied::Yes)),
        (Ok(false), true, _) => Outcome::Done(current(row, write, column).map(Applied::No)),
        (Ok(false), false, Write::Insert(_) | Write::ApplyIfNewer(_)) => Outcome::Again,
        (Ok(false), false, _) => Outcome::Done(Ok(Applied::No(None))),
    }
}

fn written(row: &Row, write: &Write) -> Result<Document> {
    match write {
        Write::Insert(document)
        | Write::Replace { document, .. }
        | Write::ApplyIfNewer(document) => Ok(document.clone()),
        Write::ReplaceLive { path, body, .. } => {
            let body = body.clone().unwrap_or_else(Body::empty);
            Ok(Document::from_parts(path.clone(), row::metadata(row, 3)?, body))
        }
    }
}

fn current(row: &Row, write: &Write, column: usize) -> Result<Option<Document>> {
    check_stored_path(write.path(), value(row, column)?)?;
    let metadata: Metadata = row::metadata(row, column + 1)?;
    let body = row::body(row, column + 5)?;
    Ok(Some(Document::from_parts(write.path().clone(), metadata, body)))
}

/// The values of a statement, column by column.
#[derive(Default)]
pub(crate) struct Columns<'writes> {
    kinds: Vec<i16>,
    pub(crate) ids: Vec<&'writes [u8]>,
    pub(crate) paths: Vec<&'writes str>,
    pub(crate) collections: Vec<&'writes str>,
    pub(crate) parents: Vec<&'writes str>,
    expected: Vec<Option<i64>>,
    pub(crate) created: Vec<Option<i64>>,
    pub(crate) updated: Vec<i64>,
    pub(crate) versions: Vec<Option<i64>>,
    pub(crate) deleted: Vec<bool>,
    pub(crate) bodies: Vec<Json<'writes>>,
}

impl<'writes> Columns<'writes> {
    fn of(writes: &[&'writes Write]) -> Self {
        let mut columns = Self::default();
        for write in writes {
            columns.push(write);
        }
        columns
    }

    fn push(&mut self, write: &'writes Write) {
        let path = write.path();
        self.ids.push(path.key().as_bytes());
        self.paths.push(path.as_str());
        self.collections.push(path.collection_text());
        self.parents.push(path.parent());
        match write {
            Write::Insert(document) => self.push_document(INSERT, None, document),
            Write::Replace { expected, document } => {
                self.push_document(REPLACE, Some(expected.get()), document);
            }
            Write::ApplyIfNewer(document) => self.push_document(APPLY_IF_NEWER, None, document),
            Write::ReplaceLive { expected, body, now, .. } => {
                self.kinds.push(REPLACE_LIVE);
                self.expected.push(expected.map(|version| version.get()));
                self.created.push(None);
                self.updated.push(now.as_milliseconds());
                self.versions.push(None);
                self.deleted.push(body.is_none());
                self.bodies.push(Json(body.as_ref().map_or("{}", Body::as_str)));
            }
        }
    }

    fn push_document(&mut self, kind: i16, expected: Option<i64>, document: &'writes Document) {
        self.kinds.push(kind);
        self.expected.push(expected);
        self.created.push(Some(document.created_at().as_milliseconds()));
        self.updated.push(document.updated_at().as_milliseconds());
        self.versions.push(Some(document.version().get()));
        self.deleted.push(document.is_deleted());
        self.bodies.push(Json(document.raw()));
    }

    fn parameters<'all>(&'all self, now: &'all i64) -> [Parameter<'all>; 12] {
        [
            (&self.kinds, Type::INT2_ARRAY),
            (&self.ids, Type::BYTEA_ARRAY),
            (&self.paths, Type::TEXT_ARRAY),
            (&self.collections, Type::TEXT_ARRAY),
            (&self.parents, Type::TEXT_ARRAY),
            (&self.expected, Type::INT8_ARRAY),
            (&self.created, Type::INT8_ARRAY),
            (&self.updated, Type::INT8_ARRAY),
            (&self.versions, Type::INT8_ARRAY),
            (&self.deleted, Type::BOOL_ARRAY),
            (&self.bodies, Type::JSONB_ARRAY),
            (now, Type::INT8),
        ]
    }
}

/// How many of the first `writes` can be one statement: each document once.
pub(crate) fn batch_length(writes: &[Write]) -> usize {
    let mut keys: HashSet<DocumentId> = HashSet::with_capacity(writes.len().min(BATCH_MAX));
    writes.iter().take(BATCH_MAX).take_while(|write| keys.insert(*write.path().key())).count()
}
