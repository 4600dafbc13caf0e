//! The process that watches, is killed, and goes on behind the last change it noted.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use syntrix_storage::{
    CollectionPath, DocumentStore, Error, Event, EventType, ResumeToken, WatchItem, WatchOptions,
    WatchStart,
};

use crate::data;
use crate::failure::{Context, Failure, Result};
use crate::fingerprint::Fingerprint;
use crate::journal::{self, Journal, Sight};
use crate::store::{self, Stores};

/// So that a killed watcher has a fresh place also on a quiet stream.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Where to watch.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    store: store::Config,
    /// The file for what was seen; one that is there is gone on with
    #[arg(long)]
    journal: PathBuf,
    /// Only this collection
    #[arg(long)]
    collection: Option<String>,
}

/// Watches until the last change was seen.
///
/// # Errors
///
/// Whatever a server that is away does not explain.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let mut watcher = Watcher::new(options)?;
    let stores = Stores::open(&options.store).await?;
    let documents = stores.documents.as_ref();
    let documents = documents.ok_or_else(|| Failure::new("there are no documents to watch"))?;
    tokio::select! {
        seen = watcher.follow_to_the_end(documents.as_ref()) => seen?,
        () = store::asked_to_end() => {
            return Err(Failure::new("asked to end before the last change"));
        }
    }
    stores.close().await;
    Ok(())
}

struct Watcher {
    journal: Journal,
    collection: Option<CollectionPath>,
    token: Option<ResumeToken>,
}

impl Watcher {
    fn new(options: &Options) -> Result<Self> {
        let journal = Journal::open(&options.journal)?;
        let seen: Vec<Sight> = journal::read(&options.journal)?;
        let last = seen.iter().rev().find_map(Sight::token);
        let token = last.map(ResumeToken::from_text);
        let collection = options.collection.as_deref().map(CollectionPath::parse).transpose();
        let collection = collection.context(|| "naming a collection".into())?;
        Ok(Self { journal, collection, token })
    }

    async fn follow_to_the_end(&mut self, documents: &dyn DocumentStore) -> Result<()> {
        while !self.follow(documents).await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Watches until the stream ends; whether the last change was seen.
    async fn follow(&mut self, documents: &dyn DocumentStore) -> Result<bool> {
        let start = self.token.clone().map_or(WatchStart::Oldest, WatchStart::Token);
        let options = WatchOptions::default().with_heartbeat(HEARTBEAT);
        let collection = self.collection.as_ref();
        let mut stream = match documents.watch(collection, start, options).await {
            Ok(stream) => stream,
            Err(error) => return self.reopen(&error).map(|()| false),
        };
        while let Some(item) = stream.next().await {
            match item {
                Ok(item) => {
                    self.token = Some(item.token().clone());
                    if self.note(item)? {
                        return Ok(true);
                    }
                }
                Err(error) => return self.reopen(&error).map(|()| false),
            }
        }
        Err(Failure::new("the stream ended without a word"))
    }

    fn reopen(&self, error: &Error) -> Result<()> {
        let told = store::told(error);
        if !store::is_outage(error) {
            return Err(told).context(|| "watching".into());
        }
        self.journal.note(&Sight::Reopened { error: told.to_string() })
    }

    fn note(&self, item: WatchItem) -> Result<bool> {
        let token = item.token().to_string();
        let Some(event) = item.into_event() else {
            return self.journal.note(&Sight::Place { token }).map(|()| false);
        };
        let is_last = event.document.path().as_str() == store::END;
        self.journal.note(&sight(&event, token)?)?;
        Ok(is_last)
    }
}

/// What an event shows.
///
/// # Errors
///
/// When it contradicts itself, or its data is only partly there.
pub(crate) fn sight(event: &Event, token: String) -> Result<Sight> {
    let document = &event.document;
    let path = document.path();
    if document.is_deleted() != (event.event_type == EventType::Delete) {
        let kind = event.event_type.as_str();
        return Err(Failure::new(format!("the {kind} event of {path} carries the wrong document")));
    }
    Ok(Sight::Change {
        path: path.to_string(),
        version: document.version().get(),
        left: Fingerprint::of_whole(document)?,
        mark: data::mark(document),
        token,
    })
}
