//! All records and the change log, under one lock: every call sees one moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use syntrix_storage_core::backend::{Applied, Write};
use syntrix_storage_core::{
    CollectionPath, Document, DocumentId, DocumentPath, Error, INDEXES_MAX, ITEMS_MAX,
    IndexDefinition, PurgeReport, QueryPlan, Reason, Result, ScanRequest, Timestamp, TokenSeal,
    check_stored_path,
};
use tokio::sync::watch;

use crate::watch::Log;

/// The documents of one namespace.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) seal: TokenSeal,
    /// Number of the last change.
    pub(crate) news: watch::Sender<u64>,
    state: RwLock<State>,
}

impl Table {
    pub(crate) fn new(seal: TokenSeal) -> Self {
        let state = State::new(seal.epoch());
        Self { seal, news: watch::Sender::new(0), state: RwLock::new(state) }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs writes in order and tells who waits for changes.
    pub(crate) fn write(&self, writes: Vec<Write>, now: Timestamp) -> Vec<Result<Applied>> {
        let mut state = self.lock();
        let outcomes = writes.into_iter().map(|write| state.write(write, now)).collect();
        // Still under the lock: outside, a slower writer could put an older number over a newer one.
        self.news.send_replace(state.log.end().0.sequence);
        outcomes
    }
}

/// The records, three orders over them, and what belongs to them.
#[derive(Debug)]
pub(crate) struct State {
    documents: HashMap<DocumentId, Document>,
    collections: HashMap<CollectionPath, BTreeSet<DocumentId>>,
    paths: BTreeMap<String, DocumentId>,
    tombstones: BTreeSet<(Timestamp, DocumentId)>,
    pub(crate) log: Log,
    pub(crate) indexes: Vec<IndexDefinition>,
}

impl State {
    fn new(seed: u64) -> Self {
        Self {
            documents: HashMap::new(),
            collections: HashMap::new(),
            paths: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            log: Log::new(seed),
            indexes: Vec::new(),
        }
    }

    /// How many records there are, and how many of them are tombstones.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.documents.len(), self.tombstones.len())
    }

    /// The record at `path`, live or tombstone.
    pub(crate) fn get(&self, path: &DocumentPath) -> Result<Option<Document>> {
        let found = self.documents.get(path.key());
        if let Some(document) = found {
            check_stored_path(path, document.path().as_str())?;
        }
        Ok(found.cloned())
    }

    /// Everything that can fail comes before the first change, so a write is whole or nothing.
    fn write(&mut self, write: Write, now: Timestamp) -> Result<Applied> {
        let current = self.get(write.path())?;
        let Some(document) = decide(current.as_ref(), write) else {
            return Ok(Applied::No(current));
        };
        self.store(&document);
        self.log.push(current, document.clone(), now);
        Ok(Applied::Yes(document))
    }

    fn store(&mut self, document: &Document) {
        let (path, key) = (document.path(), *document.path().key());
        if let Some(previous) = self.documents.insert(key, document.clone()) {
            self.tombstones.remove(&(previous.updated_at(), key));
        } else {
            self.collections.entry(path.collection()).or_default().insert(key);
            self.paths.insert(path.as_str().to_owned(), key);
        }
        if document.is_deleted() {
            self.tombstones.insert((document.updated_at(), key));
        }
    }

    fn remove(&mut self, key: &DocumentId) {
        let Some(document) = self.documents.remove(key) else { return };
        self.tombstones.remove(&(document.updated_at(), *key));
        self.paths.remove(document.path().as_str());
        let collection = document.path().collection();
        if let Some(keys) = self.collections.get_mut(&collection) {
            keys.remove(key);
            if keys.is_empty() {
                self.collections.remove(&collection);
            }
        }
    }

    /// Tests every document of the collection and sorts what is left: slow, and hard to get wrong.
    pub(crate) fn query(&self, plan: &QueryPlan) -> Result<Vec<Document>> {
        let mut found = Vec::new();
        for document in self.collection(plan.collection()) {
            let selected = plan.selects(document, &document.value()?);
            let Some(place) = plan.place_of(document).filter(|_| selected) else { continue };
            if plan.after().is_none_or(|after| plan.compare(&place, after).is_gt()) {
                found.push((place, document));
            }
        }
        found.sort_by(|(left, _), (right, _)| plan.compare(left, right));
        Ok(found.into_iter().take(plan.rows_max()).map(|(_, document)| document.clone()).collect())
    }

    fn collection(&self, path: &CollectionPath) -> impl Iterator<Item = &Document> {
        let keys = self.collections.get(path).into_iter().flatten();
        keys.filter_map(|key| self.documents.get(key))
    }

    /// Records in byte order of their paths.
    pub(crate) fn scan(&self, request: &ScanRequest) -> Vec<Document> {
        let limit = if request.limit == 0 { ITEMS_MAX } else { request.limit };
        let prefix = request.collection.as_ref().map(|path| format!("{path}/")).unwrap_or_default();
        let start = match request.after.as_deref() {
            Some(after) if after >= prefix.as_str() => Bound::Excluded(after),
            _ => Bound::Included(prefix.as_str()),
        };
        self.paths
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(&prefix))
            .filter_map(|(_, key)| self.documents.get(key))
            .filter(|document| request.show_deleted || !document.is_deleted())
            .filter(|document| is_asked(request, document.path()))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Removes tombstones last written before `before`.
    pub(crate) fn purge(&mut self, before: Timestamp, limit: usize) -> PurgeReport {
        let expired = |entry: &&(Timestamp, DocumentId)| entry.0 < before;
        let keys: Vec<_> =
            self.tombstones.iter().take_while(expired).take(limit).map(|(_, key)| *key).collect();
        keys.iter().for_each(|key| self.remove(key));
        PurgeReport {
            purged: keys.len(),
            more: self.tombstones.first().as_ref().is_some_and(expired),
        }
    }

    /// Declares an index. Nothing is built: every query walks its collection.
    pub(crate) fn create_index(&mut self, index: &IndexDefinition) -> Result<()> {
        if self.indexes.iter().any(|known| known.name() == index.name()) {
            return Ok(());
        }
        if self.indexes.len() >= INDEXES_MAX {
            let message = "a store has at most 32 indexes; drop one that is not needed";
            return Err(Error::invalid("index", Reason::TooManyIndexes, message)
                .with_fact("limit", INDEXES_MAX));
        }
        self.indexes.push(index.clone());
        Ok(())
    }

    pub(crate) fn drop_index(&mut self, name: &str) -> bool {
        let count = self.indexes.len();
        self.indexes.retain(|index| index.name() != name);
        self.indexes.len() < count
    }
}

/// What to store, if the write's condition holds for what is there.
fn decide(current: Option<&Document>, write: Write) -> Option<Document> {
    match write {
        Write::Insert(document) => current.is_none().then_some(document),
        Write::Replace { expected, document } => {
            current.is_some_and(|current| current.version() == expected).then_some(document)
        }
        Write::ReplaceLive { expected, body, now, .. } => {
            let current = current.filter(|current| {
                !current.is_deleted() && expected.is_none_or(|version| version == current.version())
            })?;
            Some(match body {
                Some(body) => current.replaced(now, body),
                None => current.tombstone(now),
            })
        }
        Write::ApplyIfNewer(document) => {
            current.is_none_or(|current| document.version() > current.version()).then_some(document)
        }
    }
}

/// The prefix has been compared already; what is left is whether deeper collections count.
fn is_asked(request: &ScanRequest, path: &DocumentPath) -> bool {
    let own = |collection: &CollectionPath| collection.as_str() == path.collection_text();
    request.recursive || request.collection.as_ref().is_none_or(own)
}
