//! Many writes in one call: each for itself, in order per document, with as few round trips as possible.

use std::collections::HashSet;

use syntrix_storage_core::backend::{Applied, CallContext, Write};
use syntrix_storage_core::{
    Body, BulkItem, Document, DocumentPath, Error, ErrorKind, Filter, Operation, Result,
    WriteResult, encode_data, normalize_data,
};

use crate::documents::{DocumentEngine, live};
use crate::write::{self, Intent};

/// An item that broke no rule.
struct Prepared {
    path: DocumentPath,
    task: Task,
}

enum Task {
    Insert(Body),
    Modify { intent: Intent, preconditions: Vec<Filter> },
}

impl DocumentEngine {
    pub(crate) async fn run_bulk(
        &self,
        items: Vec<BulkItem>,
        context: &CallContext,
    ) -> Vec<Result<WriteResult>> {
        let prepared: Vec<_> = items.into_iter().map(prepare).collect();
        let mut results = Vec::with_capacity(prepared.len());
        for run in runs_of_distinct_paths(prepared) {
            results.extend(self.run_distinct(run, context).await);
        }
        results
            .into_iter()
            .map(|result| result.map_err(|error| error.in_operation("bulk")))
            .collect()
    }

    /// Items on different documents cannot see each other, so they share one round trip.
    async fn run_distinct(
        &self,
        items: Vec<Result<Prepared>>,
        context: &CallContext,
    ) -> Vec<Result<WriteResult>> {
        let (mut writes, mut slots) = (Vec::new(), Vec::with_capacity(items.len()));
        let current = self.read_where_needed(&items, context).await;
        for (item, current) in items.into_iter().zip(current) {
            let planned = item.and_then(|item| {
                let write = self.plan_write(&item, current)?;
                Ok((item, write))
            });
            slots.push(planned.map(|(item, write)| {
                writes.push(write);
                item
            }));
        }
        let mut outcomes = self.backend.write(writes, context).await.into_iter();
        let mut results = Vec::with_capacity(slots.len());
        for slot in slots {
            results.push(match slot {
                Err(error) => Err(error),
                Ok(item) => self.settle(item, outcomes.next(), context).await,
            });
        }
        results
    }

    /// What is there now, for the items whose outcome depends on it.
    async fn read_where_needed(
        &self,
        items: &[Result<Prepared>],
        context: &CallContext,
    ) -> Vec<Result<Option<Document>>> {
        let reads = |item: &Result<Prepared>| item.as_ref().is_ok_and(|item| self.needs_read(item));
        let paths: Vec<_> = items
            .iter()
            .filter(|item| reads(item))
            .filter_map(|item| item.as_ref().ok().map(|item| item.path.clone()))
            .collect();
        let mut found = self.read_all(&paths, context).await.into_iter();
        items
            .iter()
            .map(|item| if reads(item) { found.next().unwrap_or(Ok(None)) } else { Ok(None) })
            .collect()
    }

    /// All at once; one by one if that meets a record that cannot be read, which is the business of its own item alone.
    async fn read_all(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Vec<Result<Option<Document>>> {
        if paths.is_empty() {
            return Vec::new();
        }
        let context = CallContext::new(Operation::ReadStrong).with_deadline(context.deadline);
        match self.backend.get_many(paths, &context).await {
            Ok(found) => found.into_iter().map(Ok).collect(),
            Err(error) if error.kind() == ErrorKind::Internal => {
                let mut found = Vec::with_capacity(paths.len());
                for path in paths {
                    found.push(self.backend.get(path, &context).await);
                }
                found
            }
            Err(error) => paths.iter().map(|_| Err(repeat(&error))).collect(),
        }
    }

    fn needs_read(&self, item: &Prepared) -> bool {
        match &item.task {
            Task::Insert(_) => false,
            Task::Modify { intent, preconditions } => {
                self.fast_write(&item.path, intent, preconditions).is_none()
            }
        }
    }

    fn plan_write(&self, item: &Prepared, current: Result<Option<Document>>) -> Result<Write> {
        let (intent, preconditions) = match &item.task {
            Task::Insert(body) => return Ok(self.insertion(&item.path, body)),
            Task::Modify { intent, preconditions } => (intent, preconditions),
        };
        if let Some(write) = self.fast_write(&item.path, intent, preconditions) {
            return Ok(write);
        }
        let current = live(current?).ok_or_else(|| write::not_found(&item.path))?;
        self.replacement(&current, intent, preconditions)
    }

    /// Turns an outcome into the item's result; what lost a race or met a tombstone goes the single way.
    async fn settle(
        &self,
        item: Prepared,
        outcome: Option<Result<Applied>>,
        context: &CallContext,
    ) -> Result<WriteResult> {
        match outcome.unwrap_or_else(|| Err(write::outcome_missing()))?.written() {
            Ok(result) => Ok(result),
            Err(_) => match &item.task {
                Task::Insert(body) => self.insert(&item.path, body, context).await,
                Task::Modify { intent, preconditions } => {
                    self.modify(&item.path, intent, preconditions, context).await
                }
            },
        }
    }
}

fn prepare(item: BulkItem) -> Result<Prepared> {
    let path = item.path().clone();
    let task = match item {
        BulkItem::Create { data, .. } => Task::Insert(encode_data(normalize_data(&path, data)?)?),
        BulkItem::Update { data, preconditions, .. } => {
            let intent = Intent::Update(encode_data(normalize_data(&path, data)?)?);
            Task::Modify { intent, preconditions }
        }
        BulkItem::Patch { patch, preconditions, .. } => {
            Task::Modify { intent: Intent::Patch(patch.check(&path)?), preconditions }
        }
        BulkItem::Delete { preconditions, .. } => {
            Task::Modify { intent: Intent::Delete, preconditions }
        }
    };
    if let Task::Modify { preconditions, .. } = &task {
        write::check_preconditions(preconditions)?;
    }
    Ok(Prepared { path, task })
}

/// Cuts the list before each item whose document is in the current piece already.
fn runs_of_distinct_paths(items: Vec<Result<Prepared>>) -> Vec<Vec<Result<Prepared>>> {
    let (mut runs, mut run, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for item in items {
        if let Ok(prepared) = &item
            && !seen.insert(prepared.path.clone())
        {
            runs.push(std::mem::take(&mut run));
            seen = HashSet::from([prepared.path.clone()]);
        }
        run.push(item);
    }
    runs.push(run);
    runs
}

/// The same failure for each item of a failed shared read.
fn repeat(error: &Error) -> Error {
    let copy = Error::new(error.kind(), "bulk").with_retry(error.retry());
    match error.message() {
        Some(message) => copy.with_message(message.to_owned()),
        None => copy,
    }
}
