//! Chapter: a watcher is cut off, comes back with its token, and has missed nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::json;
use syntrix_storage::{
    CollectionPath, DocumentStore, Error, ErrorKind, EventType, Patch, Result, WatchItem,
    WatchOptions, WatchStart, WatchStream,
};
use tokio::sync::oneshot;

use super::Stage;
use super::story::Story;
use crate::failure::Failure;

const COLLECTION: &str = "countries/IS/visitors";
/// Each is created and patched twice; every third one leaves again.
const VISITORS: usize = 90;
/// Written before the watcher is cut, and while it is away; the rest when it is back.
const VISITORS_BEFORE: usize = 40;
const VISITORS_AWAY: usize = 30;
/// Events the watcher has seen when it is cut: fewer than were written.
const EVENTS_BEFORE_CUT: usize = 75;
/// A watcher that waits longer has lost an event.
const PATIENCE: Duration = Duration::from_secs(30);

/// One change: path, version and what happened.
type Seen = (String, i64, EventType);

pub(super) async fn play(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.chapter("Watch, cut off, resume")?;
    let started = Instant::now();
    let collection = CollectionPath::parse(COLLECTION)?;
    let (cut, was_cut) = oneshot::channel();
    let (away, was_away) = oneshot::channel();
    let documents = Arc::clone(&stage.documents);
    let stream =
        documents.watch(Some(&collection), WatchStart::Now, WatchOptions::default()).await?;
    let watcher = tokio::spawn(watch(documents, collection.clone(), stream, cut, was_away));
    let written = write(&*stage.documents, &collection, was_cut, away).await?;
    let seen = tokio::time::timeout(PATIENCE, watcher).await.map_err(|_| late())?;
    let seen =
        seen.map_err(|error| Error::new(ErrorKind::Internal, "demo").with_source(error))??;

    story.claim(seen.len() == written.len(), "as many events arrive as changes were written")?;
    story.claim(seen == written, "every change arrives once and in order")?;
    let text = format!(
        "{} events, cut after {EVENTS_BEFORE_CUT} and resumed: none lost, none twice",
        seen.len()
    );
    story.show("watch", text, started.elapsed())
}

fn late() -> Failure {
    Failure::negative("demo", "this does not hold: every change arrives in 30 s")
}

/// Follows, is cut in the middle, waits until more was written, and follows on from its token.
async fn watch(
    documents: Arc<dyn DocumentStore>,
    collection: CollectionPath,
    mut stream: WatchStream,
    cut: oneshot::Sender<()>,
    was_away: oneshot::Receiver<()>,
) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    let mut token = None;
    while seen.len() < EVENTS_BEFORE_CUT {
        let item = next(&mut stream).await?;
        token = Some(item.token().clone());
        seen.extend(record(item));
    }
    drop(stream);
    // The writer waits for both signals; it is gone only if it failed, and that is told there.
    let _ = cut.send(());
    let _ = was_away.await;
    let start = token.map_or(WatchStart::Oldest, WatchStart::Token);
    let mut stream = documents.watch(Some(&collection), start, WatchOptions::default()).await?;
    while seen.len() < changes(VISITORS) {
        seen.extend(record(next(&mut stream).await?));
    }
    Ok(seen)
}

async fn next(stream: &mut WatchStream) -> Result<WatchItem> {
    let ended = || Error::new(ErrorKind::Internal, "watch").with_message("the stream ended early");
    stream.next().await.unwrap_or_else(|| Err(ended()))
}

fn record(item: WatchItem) -> Option<Seen> {
    let event = item.into_event()?;
    let path = event.document.path().to_string();
    Some((path, event.document.version().get(), event.event_type))
}

/// Writes while the watcher follows, while it is away, and when it is back.
async fn write(
    documents: &dyn DocumentStore,
    collection: &CollectionPath,
    was_cut: oneshot::Receiver<()>,
    away: oneshot::Sender<()>,
) -> Result<Vec<Seen>> {
    let mut written = Vec::new();
    for visitor in 0..VISITORS_BEFORE {
        visit(documents, collection, visitor, &mut written).await?;
    }
    // Gone only if the watcher failed, which its own result tells.
    let _ = was_cut.await;
    for visitor in VISITORS_BEFORE..VISITORS_BEFORE + VISITORS_AWAY {
        visit(documents, collection, visitor, &mut written).await?;
    }
    let _ = away.send(());
    for visitor in VISITORS_BEFORE + VISITORS_AWAY..VISITORS {
        visit(documents, collection, visitor, &mut written).await?;
    }
    Ok(written)
}

async fn visit(
    documents: &dyn DocumentStore,
    collection: &CollectionPath,
    visitor: usize,
    written: &mut Vec<Seen>,
) -> Result<()> {
    let path = collection.document(&format!("v{visitor}"))?;
    let mut add = |version, event_type| written.push((path.to_string(), version, event_type));
    let created = documents.create(&path, json!({"number": visitor}), Default::default()).await?;
    add(created.version().get(), EventType::Create);
    for day in 1..=2 {
        let patch = Patch::new().set("day", day);
        let patched = documents.patch(&path, patch, Default::default()).await?;
        add(patched.version().get(), EventType::Update);
    }
    if leaves(visitor) {
        let deleted = documents.delete(&path, Default::default()).await?;
        add(deleted.version().get(), EventType::Delete);
    }
    Ok(())
}

fn leaves(visitor: usize) -> bool {
    visitor.is_multiple_of(3)
}

/// Tombstones that this chapter leaves behind.
pub(super) fn tombstones() -> usize {
    (0..VISITORS).filter(|visitor| leaves(*visitor)).count()
}

fn changes(visitors: usize) -> usize {
    (0..visitors).map(|visitor| 3 + usize::from(leaves(visitor))).sum()
}
