//! Reads a watch stream in bounded time.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use syntrix_storage_core::{
    Error, ErrorKind, Event, EventType, Result, ResumeToken, Version, WatchItem, WatchOptions,
    WatchStream,
};

use crate::check::{CaseResult, Failure, expect_kind};
use crate::context::within_limit;

/// Longest wait for one item. A store that polls its backend once in a while is still far below it.
const ITEM_LIMIT: Duration = Duration::from_secs(20);

/// A watch stream under test.
pub struct Watcher {
    stream: WatchStream,
}

impl Watcher {
    /// Wraps a stream.
    pub fn new(stream: WatchStream) -> Self {
        Self { stream }
    }

    /// The options the suite watches with: default but for a heartbeat of 50 ms, so that bookmarks come soon.
    pub fn options() -> WatchOptions {
        WatchOptions::default().with_heartbeat(Duration::from_millis(50))
    }

    /// The next item.
    pub async fn item(&mut self) -> CaseResult<WatchItem> {
        match within_limit(ITEM_LIMIT, self.stream.next()).await? {
            Some(item) => Ok(item?),
            None => Err(Failure::new("the stream ended without an error")),
        }
    }

    /// The next event; bookmarks before it are skipped.
    pub async fn event(&mut self) -> CaseResult<Event> {
        let limit = self.next_event();
        within_limit(ITEM_LIMIT, limit).await?
    }

    async fn next_event(&mut self) -> CaseResult<Event> {
        loop {
            if let WatchItem::Event(event) = self.item().await? {
                return Ok(event);
            }
        }
    }

    /// The next event, or the error that ends the stream; bookmarks before it are skipped.
    pub async fn event_or_error(&mut self) -> CaseResult<Result<Event>> {
        loop {
            match within_limit(ITEM_LIMIT, self.stream.next()).await? {
                Some(Ok(WatchItem::Event(event))) => return Ok(Ok(event)),
                Some(Ok(WatchItem::Bookmark { .. })) => {}
                Some(Err(error)) => return Ok(Err(error)),
                None => return Err(Failure::new("the stream ended without an error")),
            }
        }
    }

    /// The next `count` events.
    pub async fn events(&mut self, count: usize) -> CaseResult<Vec<Event>> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.event().await?);
        }
        Ok(events)
    }

    /// The token of the next bookmark; an event before it fails the case. A bookmark says that everything so far was
    /// delivered, so this is how a case knows that no event came.
    pub async fn bookmark(&mut self) -> CaseResult<ResumeToken> {
        match self.item().await? {
            WatchItem::Bookmark { token } => Ok(token),
            WatchItem::Event(event) => Err(Failure::new(format_args!(
                "an event that should not be there: {} {} version {}",
                event.event_type.as_str(),
                event.document.path(),
                event.document.version(),
            ))),
        }
    }

    /// Fails if an event is delivered for anything committed before this call.
    ///
    /// A bookmark may have been under way when the last write was committed, so only the second one counts.
    pub async fn no_event(&mut self) -> CaseResult {
        self.bookmark().await?;
        self.bookmark().await?;
        Ok(())
    }

    /// Asks for the next item and gives up at once if it is not there yet: what a cancelled wait looks like to the stream.
    pub async fn cancelled_event(&mut self) -> CaseResult<Option<Event>> {
        match poll_immediate(self.stream.next()).await {
            None => Ok(None),
            Some(Some(item)) => Ok(item?.into_event()),
            Some(None) => Err(Failure::new("the stream ended without an error")),
        }
    }

    /// Everything up to the end of the stream, which must be an error of `kind`; bookmarks and events before it are skipped.
    pub async fn end(&mut self, kind: ErrorKind) -> CaseResult<Error> {
        let ended = within_limit(ITEM_LIMIT, async {
            loop {
                match self.stream.next().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Some(error),
                    None => return None,
                }
            }
        });
        let error =
            ended.await?.ok_or_else(|| Failure::new("the stream ended without an error"))?;
        let error = expect_kind(Err::<(), _>(error), kind, "end of the stream")?;
        match within_limit(ITEM_LIMIT, self.stream.next()).await? {
            None => Ok(error),
            Some(item) => {
                Err(Failure::new(format_args!("the stream went on after its error: {item:?}")))
            }
        }
    }
}

/// What happened to the document `id`, as event types and versions.
pub fn document_events(events: &[Event], id: &str) -> Vec<(EventType, Version)> {
    let own = events.iter().filter(|event| event.document.id() == id);
    own.map(|event| (event.event_type, event.document.version())).collect()
}
