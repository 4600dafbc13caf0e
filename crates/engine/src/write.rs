//! The write protocol: read, evaluate, compare-and-set; once for every backend.

use serde_json::{Map, Value};
use syntrix_storage_core::backend::{Applied, CallContext, Write};
use syntrix_storage_core::{
    Body, CheckedPatch, Document, DocumentPath, Error, ErrorKind, FILTERS_MAX, Field, Filter,
    Operand, Operation, Operator, Reason, Result, Retry, Scalar, SystemField, Timestamp, Version,
    WriteResult, encode_data,
};

use crate::documents::{DocumentEngine, live};
use crate::retry::{ATTEMPTS_MAX, pause};

/// What a write makes of a live document.
#[derive(Debug)]
pub(crate) enum Intent {
    Update(Body),
    Patch(CheckedPatch),
    Delete,
}

impl Intent {
    /// The document after the write.
    pub(crate) fn evaluate(&self, current: &Document, now: Timestamp) -> Result<Document> {
        match self {
            Self::Update(body) => Ok(current.replaced(now, body.clone())),
            Self::Delete => Ok(current.tombstone(now)),
            Self::Patch(patch) => {
                let data: Map<String, Value> = current.decode()?;
                let body = patch
                    .apply(data)
                    .and_then(encode_data)
                    .map_err(|error| error.with_fact("path", current.path()))?;
                Ok(current.replaced(now, body))
            }
        }
    }

    /// The new body if it does not depend on the old one; `Some(None)` deletes.
    fn blind(&self) -> Option<Option<Body>> {
        match self {
            Self::Update(body) => Some(Some(body.clone())),
            Self::Delete => Some(None),
            Self::Patch(_) => None,
        }
    }
}

impl DocumentEngine {
    /// Creates or revives.
    pub(crate) async fn insert(
        &self,
        path: &DocumentPath,
        body: &Body,
        context: &CallContext,
    ) -> Result<WriteResult> {
        let mut write = self.insertion(path, body);
        for attempt in 0..ATTEMPTS_MAX {
            match self.write_one(write, context).await?.written() {
                Ok(result) => return Ok(result),
                Err(Some(current)) if !current.is_deleted() => {
                    return Err(already_exists(path, &current));
                }
                Err(Some(tombstone)) => write = self.revival(&tombstone, body),
                Err(None) => write = self.insertion(path, body),
            }
            pause(attempt).await;
        }
        Err(conflict(path))
    }

    pub(crate) fn insertion(&self, path: &DocumentPath, body: &Body) -> Write {
        Write::Insert(Document::first(path.clone(), self.options.clock.now(), body.clone()))
    }

    fn revival(&self, tombstone: &Document, body: &Body) -> Write {
        let document = tombstone.revived(self.options.clock.now(), body.clone());
        Write::Replace { expected: tombstone.version(), document }
    }

    /// Updates, patches or deletes a live document.
    pub(crate) async fn modify(
        &self,
        path: &DocumentPath,
        intent: &Intent,
        preconditions: &[Filter],
        context: &CallContext,
    ) -> Result<WriteResult> {
        if let Some(write) = self.fast_write(path, intent, preconditions) {
            let applied = self.write_one(write, context).await?;
            return fast_result(path, applied);
        }
        let _turn = self.turns.take(path.key().as_bytes()[0]).await;
        for attempt in 0..ATTEMPTS_MAX {
            let current = self.read_for_write(path, context).await?;
            let write = self.replacement(&current, intent, preconditions)?;
            if let Ok(result) = self.write_one(write, context).await?.written() {
                return Ok(result);
            }
            pause(attempt).await;
        }
        Err(conflict(path))
    }

    /// One round trip where the outcome cannot depend on the data that is there.
    pub(crate) fn fast_write(
        &self,
        path: &DocumentPath,
        intent: &Intent,
        preconditions: &[Filter],
    ) -> Option<Write> {
        if !self.options.fast_paths || !self.backend.capabilities().replace_live {
            return None;
        }
        let expected = match preconditions {
            [] => None,
            [only] => Some(version_of(only)?),
            _ => return None,
        };
        let now = self.options.clock.now();
        Some(Write::ReplaceLive { path: path.clone(), expected, body: intent.blind()?, now })
    }

    /// Evaluates a write against what is there.
    pub(crate) fn replacement(
        &self,
        current: &Document,
        intent: &Intent,
        preconditions: &[Filter],
    ) -> Result<Write> {
        evaluate_preconditions(current, preconditions)?;
        let document = intent.evaluate(current, self.options.clock.now())?;
        Ok(Write::Replace { expected: current.version(), document })
    }

    async fn read_for_write(&self, path: &DocumentPath, context: &CallContext) -> Result<Document> {
        let context = CallContext::new(Operation::ReadStrong).with_deadline(context.deadline);
        live(self.backend.get(path, &context).await?).ok_or_else(|| not_found(path))
    }

    async fn write_one(&self, write: Write, context: &CallContext) -> Result<Applied> {
        let mut outcomes = self.backend.write(vec![write], context).await;
        outcomes.pop().unwrap_or_else(|| Err(outcome_missing()))
    }
}

pub(crate) fn fast_result(path: &DocumentPath, applied: Applied) -> Result<WriteResult> {
    match applied.written() {
        Ok(result) => Ok(result),
        Err(current) => match live(current) {
            Some(current) => Err(precondition_failed(&current)),
            None => Err(not_found(path)),
        },
    }
}

/// The version a precondition asks for, if that is all it asks.
fn version_of(filter: &Filter) -> Option<Version> {
    match (filter.field(), filter.operator(), filter.operand()) {
        (
            Field::System(SystemField::Version),
            Operator::Equal,
            Operand::One(Scalar::Integer(version)),
        ) => Some(Version::new(*version)),
        _ => None,
    }
}

fn evaluate_preconditions(current: &Document, preconditions: &[Filter]) -> Result<()> {
    if preconditions.is_empty() {
        return Ok(());
    }
    let data = current.value()?;
    if preconditions.iter().all(|condition| condition.matches(current, &data)) {
        Ok(())
    } else {
        Err(precondition_failed(current))
    }
}

pub(crate) fn check_preconditions(preconditions: &[Filter]) -> Result<()> {
    if preconditions.len() > FILTERS_MAX {
        let message = "at most 20 preconditions";
        return Err(Error::invalid("preconditions", Reason::TooManyFilters, message)
            .with_fact("limit", FILTERS_MAX));
    }
    Ok(())
}

pub(crate) fn refuse_preconditions(preconditions: &[Filter]) -> Result<()> {
    if preconditions.is_empty() {
        return Ok(());
    }
    let message = "create has no document to test; it fails by itself if there is one";
    Err(Error::invalid("preconditions", Reason::Precondition, message))
}

pub(crate) fn not_found(path: &DocumentPath) -> Error {
    Error::new(ErrorKind::NotFound, "")
        .with_message("there is no live document at this path")
        .with_fact("path", path)
}

fn already_exists(path: &DocumentPath, current: &Document) -> Error {
    Error::new(ErrorKind::AlreadyExists, "")
        .with_message("a live document has this path; update it or delete it first")
        .with_fact("path", path)
        .with_fact("version", current.version())
}

fn precondition_failed(current: &Document) -> Error {
    Error::new(ErrorKind::PreconditionFailed, "")
        .with_message("a precondition does not hold; read the document again")
        .with_fact("path", current.path())
        .with_fact("version", current.version())
}

fn conflict(path: &DocumentPath) -> Error {
    Error::new(ErrorKind::Conflict, "")
        .with_message("other writers were faster every time; nothing was written, try again")
        .with_retry(Retry::Safe)
        .with_fact("path", path)
        .with_fact("attempts", ATTEMPTS_MAX)
}

pub(crate) fn outcome_missing() -> Error {
    Error::new(ErrorKind::Internal, "").with_message("the backend gave fewer outcomes than writes")
}
