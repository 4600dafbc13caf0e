//! Lines that are written together.

use std::collections::HashSet;

use serde_json::{Map, Value};
use syntrix_storage::{
    BulkItem, BulkOptions, Document, DocumentPath, DocumentStore, Error, ErrorKind, Filter,
    ITEMS_MAX, ReadOptions, WriteResult, encode_data, normalize_data,
};

use super::line::Fault;

/// Most bytes of lines in one batch, unless one alone is larger.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// How often a line is decided again because somebody else wrote its document in between.
const ROUNDS_MAX: usize = 8;

/// What to do with documents that are there, and with rejected lines.
#[derive(Clone, Copy)]
pub(super) struct Policy {
    pub(super) replace: bool,
    pub(super) strict: bool,
}

/// What became of a line.
pub(super) enum Outcome {
    Created,
    Replaced,
    /// Equal data was there; nothing was written.
    Unchanged,
    Rejected(Fault),
}

/// A line that stands for a valid document.
pub(super) struct Item {
    number: u64,
    path: DocumentPath,
    /// In the store's normal form, so that it can be compared with what is stored.
    data: Map<String, Value>,
}

impl Item {
    pub(super) fn new(number: u64, path: DocumentPath, data: Value) -> Result<Self, Fault> {
        let data = normalize_data(&path, data)?;
        // Checks the size: a fault of the line must show before its neighbours are written.
        encode_data(data.clone())?;
        Ok(Self { number, path, data })
    }
}

/// Items on different documents, in the order of their lines.
#[derive(Default)]
pub(super) struct Batch {
    items: Vec<Item>,
    paths: HashSet<DocumentPath>,
    bytes: usize,
}

/// What is to be done with an item, now that what is stored is known.
enum Decision {
    Create,
    Replace(Filter),
    Done(Outcome),
}

impl Batch {
    /// Whether the batch is full, or `item` needs what the batch will have stored.
    pub(super) fn must_be_written_before(&self, item: &Item) -> bool {
        self.items.len() == ITEMS_MAX
            || self.bytes >= BATCH_BYTES_MAX
            || self.paths.contains(&item.path)
    }

    pub(super) fn push(&mut self, item: Item, bytes: usize) {
        self.paths.insert(item.path.clone());
        self.items.push(item);
        self.bytes += bytes;
    }

    /// Writes the items and empties the batch; with `strict`, items behind the first rejected one are left out.
    ///
    /// Every other item has its outcome, in the order of the lines: a failure of the store rejects the items it met, and what was
    /// stored before it or beside it still counts as stored.
    pub(super) async fn write(
        &mut self,
        documents: &dyn DocumentStore,
        policy: Policy,
    ) -> Vec<(u64, Outcome)> {
        let mut pending = std::mem::take(self).items;
        let mut outcomes = Vec::with_capacity(pending.len());
        for round in 1.. {
            if pending.is_empty() {
                break;
            }
            let last = round == ROUNDS_MAX;
            pending = write_once(documents, policy, pending, last, &mut outcomes).await;
        }
        outcomes.sort_by_key(|(number, _)| *number);
        outcomes
    }
}

/// Decides and writes once; returns the items that somebody else came before at.
async fn write_once(
    documents: &dyn DocumentStore,
    policy: Policy,
    items: Vec<Item>,
    last: bool,
    outcomes: &mut Vec<(u64, Outcome)>,
) -> Vec<Item> {
    let paths: Vec<_> = items.iter().map(|item| item.path.clone()).collect();
    let stored = match documents.get_many(&paths, ReadOptions::default()).await {
        Ok(stored) => stored,
        Err(error) => return reject_all(&items, error, outcomes),
    };
    let (mut writes, mut written) = (Vec::new(), Vec::new());
    for (item, stored) in items.into_iter().zip(stored) {
        match decide(&item, stored.as_ref(), policy) {
            Decision::Done(outcome) => {
                let stop = policy.strict && matches!(outcome, Outcome::Rejected(_));
                outcomes.push((item.number, outcome));
                if stop {
                    break;
                }
            }
            Decision::Create => {
                writes.push(create(&item));
                written.push((item, Outcome::Created));
            }
            Decision::Replace(unchanged) => {
                writes.push(update(&item, unchanged));
                written.push((item, Outcome::Replaced));
            }
        }
    }
    match documents.bulk(writes, BulkOptions::default()).await {
        Ok(results) => settle(written, results, last, outcomes),
        Err(error) => {
            let items: Vec<_> = written.into_iter().map(|(item, _)| item).collect();
            reject_all(&items, error, outcomes)
        }
    }
}

/// A failure that no single item is to blame for. None of them is tried again.
fn reject_all(items: &[Item], error: Error, outcomes: &mut Vec<(u64, Outcome)>) -> Vec<Item> {
    let fault = Fault::from(error);
    outcomes.extend(items.iter().map(|item| (item.number, Outcome::Rejected(fault.clone()))));
    Vec::new()
}

fn decide(item: &Item, stored: Option<&Document>, policy: Policy) -> Decision {
    let Some(stored) = stored else { return Decision::Create };
    match stored.decode::<Map<String, Value>>() {
        Ok(data) if data == item.data => return Decision::Done(Outcome::Unchanged),
        Ok(_) => {}
        Err(error) => return Decision::Done(Outcome::Rejected(error.into())),
    }
    if policy.replace {
        return Decision::Replace(Filter::version_is(stored.version()));
    }
    let error = Error::new(ErrorKind::AlreadyExists, "import")
        .with_message("a document with other data is there; --replace replaces it")
        .with_fact("path", &item.path);
    Decision::Done(Outcome::Rejected(error.into()))
}

fn create(item: &Item) -> BulkItem {
    BulkItem::Create { path: item.path.clone(), data: Value::Object(item.data.clone()) }
}

fn update(item: &Item, unchanged: Filter) -> BulkItem {
    let data = Value::Object(item.data.clone());
    BulkItem::Update { path: item.path.clone(), data, preconditions: vec![unchanged] }
}

fn settle(
    written: Vec<(Item, Outcome)>,
    results: Vec<Result<WriteResult, Error>>,
    last: bool,
    outcomes: &mut Vec<(u64, Outcome)>,
) -> Vec<Item> {
    let mut overtaken = Vec::new();
    for ((item, outcome), result) in written.into_iter().zip(results) {
        match result {
            Ok(_) => outcomes.push((item.number, outcome)),
            Err(error) if was_overtaken(error.kind()) && !last => overtaken.push(item),
            Err(error) => outcomes.push((item.number, Outcome::Rejected(error.into()))),
        }
    }
    overtaken
}

/// Whether another writer changed the document between the decision and the write.
fn was_overtaken(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::AlreadyExists
            | ErrorKind::NotFound
            | ErrorKind::PreconditionFailed
            | ErrorKind::Conflict
    )
}
