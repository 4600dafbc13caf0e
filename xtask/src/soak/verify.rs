//! Reads what killed writers left: the feed to its end, then the documents themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use syntrix_storage::{
    Document, DocumentPath, DocumentStore, DocumentStoreExt, Event, EventType, LIMIT_MAX, Query,
    QueryOptions, ReadOptions, ResumeToken, WatchOptions, WatchStart, WriteOptions, WriteResult,
};

use super::fingerprint::Fingerprint;
use super::ledger::Ledger;
use super::{data, store};
use crate::failure::{Context, Failure, Result};

/// Longest silence of the feed while events are still owed.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Longest a check may take, however long the history is.
const CHECK_MAX: Duration = Duration::from_secs(600);

/// A consumer of the feed that keeps its place from check to check.
#[derive(Debug)]
pub(super) struct Verifier {
    data_dir: PathBuf,
    token: Option<ResumeToken>,
}

impl Verifier {
    /// A consumer that starts with the oldest change.
    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, token: None }
    }

    /// Opens the store, reads the feed up to now into `ledger` and holds everything against each other.
    ///
    /// # Errors
    ///
    /// The first broken promise.
    pub(super) async fn check(&mut self, ledger: &mut Ledger) -> Result<()> {
        let checked = tokio::time::timeout(CHECK_MAX, self.check_open(ledger)).await;
        checked.context(|| format!("the check was not done after {} s", CHECK_MAX.as_secs()))?
    }

    async fn check_open(&mut self, ledger: &mut Ledger) -> Result<()> {
        let (storage, documents) = store::open(&self.data_dir).await?;
        self.read_feed(documents.as_ref(), ledger).await?;
        ledger.settle()?;
        ledger.compare(&stored(documents.as_ref()).await?)?;
        storage.close().await.context(|| "closing the store".into())
    }

    /// Reads up to the event of a write of our own: with it, all before it have come.
    async fn read_feed(
        &mut self,
        documents: &dyn DocumentStore,
        ledger: &mut Ledger,
    ) -> Result<()> {
        let doing = || "reading the feed".to_owned();
        let marker = mark(documents).await?.document;
        let start = self.token.take().map_or(WatchStart::Oldest, WatchStart::Token);
        let watch = documents.watch(None, start, WatchOptions::default()).await;
        let mut feed = watch.context(doing)?;
        loop {
            let next = tokio::time::timeout(SILENCE_MAX, feed.next()).await;
            let item = next.context(|| "the feed fell silent before its end".into())?;
            let item = item.ok_or_else(|| Failure::new("the feed ended"))?.context(doing)?;
            self.token = Some(item.token().clone());
            let Some(event) = item.into_event() else { continue };
            take(&event, ledger)?;
            if event.document.path() == marker.path()
                && event.document.version() == marker.version()
            {
                return Ok(());
            }
        }
    }
}

/// Writes a document that no writer touches.
async fn mark(documents: &dyn DocumentStore) -> Result<WriteResult> {
    let doing = || "writing the marker".to_owned();
    let path = DocumentPath::parse(&format!("{}/marker", store::COLLECTION)).context(doing)?;
    let data = data::whole(&mut fastrand::Rng::new());
    let options = WriteOptions::default();
    let written = match documents.find(&path).await.context(doing)? {
        Some(_) => documents.update(&path, data, options).await,
        None => documents.create(&path, data, options).await,
    };
    written.context(doing)
}

fn take(event: &Event, ledger: &mut Ledger) -> Result<()> {
    let document = &event.document;
    let path = document.path();
    if document.is_deleted() != (event.event_type == EventType::Delete) {
        let kind = event.event_type.as_str();
        return Err(Failure::new(format!("the {kind} event of {path} carries the wrong document")));
    }
    ledger.event(path.as_str(), document.version().get(), left(document)?)
}

/// Every document of the collection with its version, tombstones too; a query and `get_many` must agree on it.
async fn stored(documents: &dyn DocumentStore) -> Result<BTreeMap<String, (i64, Fingerprint)>> {
    let doing = || "reading the documents".to_owned();
    let query = Query::new(store::COLLECTION).context(doing)?.show_deleted(true).limit(LIMIT_MAX);
    let page = documents.query(query, QueryOptions::default()).await.context(doing)?;
    let paths: Vec<_> = page.documents.iter().map(|document| document.path().clone()).collect();
    let read = documents.get_many(&paths, ReadOptions::default()).await.context(doing)?;

    let mut found = BTreeMap::new();
    for (queried, read) in page.documents.iter().zip(read) {
        let live = (!queried.is_deleted()).then_some(queried);
        if read.as_ref() != live {
            let path = queried.path();
            return Err(Failure::new(format!("a query and a read disagree about {path}")));
        }
        let version = queried.version().get();
        found.insert(queried.path().to_string(), (version, left(queried)?));
    }
    Ok(found)
}

/// The fingerprint of a document that is whole.
fn left(document: &Document) -> Result<Fingerprint> {
    let left = Fingerprint::of_document(document)?;
    let is_whole =
        document.is_deleted() || document.value().is_ok_and(|data| data::is_whole(&data));
    if is_whole {
        return Ok(left);
    }
    let (path, version) = (document.path(), document.version());
    Err(Failure::new(format!("version {version} of {path} is only partly there")))
}
