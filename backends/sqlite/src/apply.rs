//! One write inside a transaction, with its entry in the change log.

use rusqlite::{Connection, params};
use syntrix_storage_core::backend::{Applied, Write};
use syntrix_storage_core::{
    Document, DocumentPath, EventType, Timestamp, Version, check_stored_path,
};

use crate::group::Outcome;
use crate::row;

const READ: &str =
    "SELECT id,fullpath,version,created_at,updated_at,deleted,data FROM documents WHERE id = ?1";
const INSERT: &str = "INSERT INTO documents \
    (id,fullpath,collection,parent,created_at,updated_at,version,deleted,data) \
    VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9) ON CONFLICT (id) DO NOTHING";
const UPDATE: &str = "UPDATE documents SET created_at = ?2, updated_at = ?3, version = ?4, deleted = ?5, data = ?6 \
    WHERE id = ?1";
const LOG: &str = "INSERT INTO changes (event,id,fullpath,created_at,updated_at,version,deleted,data,\
    before_created_at,before_updated_at,before_version,before_data,committed_at) \
    VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)";
const PREVIOUS: &str = "SELECT max(coalesce((SELECT committed_at FROM changes ORDER BY seq DESC LIMIT 1), floor_at), floor_at) \
    FROM metadata";

/// Applies writes within one transaction.
pub(crate) struct Applier<'transaction> {
    connection: &'transaction Connection,
    committed_at: Timestamp,
    last_sequence: Option<i64>,
}

impl<'transaction> Applier<'transaction> {
    /// Commit times never go back, whatever the clock does and whoever wrote last.
    pub(crate) fn begin(
        connection: &'transaction Connection,
        now: Timestamp,
    ) -> rusqlite::Result<Self> {
        let previous = connection.prepare_cached(PREVIOUS)?.query_row([], |row| row.get(0))?;
        let committed_at = now.max(Timestamp::from_milliseconds(previous));
        Ok(Self { connection, committed_at, last_sequence: None })
    }

    /// The number of the last change logged by this transaction.
    pub(crate) fn last_sequence(&self) -> Option<i64> {
        self.last_sequence
    }

    pub(crate) fn apply(&mut self, write: &Write) -> Outcome<Applied> {
        match write {
            Write::Insert(document) => self.insert(document),
            Write::Replace { expected, document } => self.replace(*expected, document),
            Write::ReplaceLive { path, expected, body, now } => self.change(path, |current| {
                let current = current.filter(|current| {
                    !current.is_deleted()
                        && expected.is_none_or(|version| version == current.version())
                })?;
                Some(match body {
                    Some(body) => current.replaced(*now, body.clone()),
                    None => current.tombstone(*now),
                })
            }),
            Write::ApplyIfNewer(document) => self.change(document.path(), |current| {
                let newer = current.is_none_or(|current| current.version() < document.version());
                newer.then(|| document.clone())
            }),
        }
    }

    fn insert(&mut self, document: &Document) -> Outcome<Applied> {
        if self.insert_row(document)? {
            self.log(EventType::Create, document, None)?;
            return Ok(Ok(Applied::Yes(document.clone())));
        }
        Ok(self.read(document.path())?.map(Applied::No))
    }

    fn replace(&mut self, expected: Version, document: &Document) -> Outcome<Applied> {
        self.change(document.path(), |current| {
            current.is_some_and(|current| current.version() == expected).then(|| document.clone())
        })
    }

    /// Reads what is there, lets `decide` say what follows it, stores and logs that.
    fn change(
        &mut self,
        path: &DocumentPath,
        decide: impl FnOnce(Option<&Document>) -> Option<Document>,
    ) -> Outcome<Applied> {
        let current = match self.read(path)? {
            Ok(current) => current,
            Err(error) => return Ok(Err(error)),
        };
        let Some(next) = decide(current.as_ref()) else { return Ok(Ok(Applied::No(current))) };
        if current.is_some() {
            self.update_row(&next)?;
        } else {
            self.insert_row(&next)?;
        }
        let before = current.as_ref().filter(|current| !current.is_deleted());
        self.log(event_type(&next, before), &next, before)?;
        Ok(Ok(Applied::Yes(next)))
    }

    fn read(&self, path: &DocumentPath) -> Outcome<Option<Document>> {
        let mut statement = self.connection.prepare_cached(READ)?;
        let mut rows = statement.query([&path.key().as_bytes()[..]])?;
        let Some(row) = rows.next()? else { return Ok(Ok(None)) };
        Ok(row::document(row).and_then(|document| {
            check_stored_path(path, document.path().as_str()).map(|()| Some(document))
        }))
    }

    /// `false` if the key is taken.
    fn insert_row(&self, document: &Document) -> rusqlite::Result<bool> {
        let path = document.path();
        let inserted = self.connection.prepare_cached(INSERT)?.execute(params![
            &path.key().as_bytes()[..],
            path.as_str(),
            path.collection_text(),
            path.parent(),
            document.created_at().as_milliseconds(),
            document.updated_at().as_milliseconds(),
            document.version().get(),
            document.is_deleted(),
            document.raw(),
        ])?;
        Ok(inserted == 1)
    }

    fn update_row(&self, document: &Document) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(UPDATE)?;
        let updated = statement.execute(params![
            &document.path().key().as_bytes()[..],
            document.created_at().as_milliseconds(),
            document.updated_at().as_milliseconds(),
            document.version().get(),
            document.is_deleted(),
            document.raw(),
        ])?;
        if updated == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(updated)) }
    }

    fn log(
        &mut self,
        event_type: EventType,
        document: &Document,
        before: Option<&Document>,
    ) -> rusqlite::Result<()> {
        let sequence = self.connection.prepare_cached(LOG)?.insert(params![
            event_code(event_type),
            &document.path().key().as_bytes()[..],
            document.path().as_str(),
            document.created_at().as_milliseconds(),
            document.updated_at().as_milliseconds(),
            document.version().get(),
            document.is_deleted(),
            document.raw(),
            before.map(|before| before.created_at().as_milliseconds()),
            before.map(|before| before.updated_at().as_milliseconds()),
            before.map(|before| before.version().get()),
            before.map(Document::raw),
            self.committed_at.as_milliseconds(),
        ])?;
        self.last_sequence = Some(sequence);
        Ok(())
    }
}

/// `before` is the live document that was there.
fn event_type(next: &Document, before: Option<&Document>) -> EventType {
    match before {
        _ if next.is_deleted() => EventType::Delete,
        None => EventType::Create,
        Some(_) => EventType::Update,
    }
}

pub(crate) fn event_code(event_type: EventType) -> i64 {
    match event_type {
        EventType::Create => 1,
        EventType::Update => 2,
        EventType::Delete => 3,
    }
}

pub(crate) fn event_from_code(code: i64) -> Option<EventType> {
    EventType::ALL.into_iter().find(|event_type| event_code(*event_type) == code)
}
