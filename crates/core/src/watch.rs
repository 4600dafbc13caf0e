//! Change streams: where they start, what they carry.

use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::document::Document;
use crate::error::Result;
use crate::time::Timestamp;
use crate::token::ResumeToken;

/// Where a watch starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchStart {
    /// With the first change after the call.
    #[default]
    Now,
    /// With the oldest change still kept.
    Oldest,
    /// Exactly behind the event or bookmark that carried the token.
    Token(ResumeToken),
}

/// Options of `watch`.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// Whether updates and deletes bring the document as it was before. Default: no.
    pub before: bool,
    /// At least this often comes an event or a bookmark. 10 ms to 1 h; default 10 s.
    pub heartbeat: Duration,
    /// A stream that nobody polls for this long is ended. Default 10 min.
    pub idle_timeout: Duration,
    /// Event types to deliver. Default: all.
    pub types: Vec<EventType>,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            before: false,
            heartbeat: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            types: EventType::ALL.to_vec(),
        }
    }
}

impl WatchOptions {
    /// Asks for the document as it was before each update and delete.
    #[must_use]
    pub fn with_before(mut self) -> Self {
        self.before = true;
        self
    }

    /// Sets how often there is a sign of life.
    #[must_use]
    pub fn with_heartbeat(mut self, heartbeat: Duration) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Sets after how long an unread stream is ended.
    #[must_use]
    pub fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// Sets the event types to deliver.
    #[must_use]
    pub fn with_types(mut self, types: impl Into<Vec<EventType>>) -> Self {
        self.types = types.into();
        self
    }
}

/// What happened to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// Created, or revived from a tombstone.
    Create,
    /// Updated or patched.
    Update,
    /// Deleted; the purge of the tombstone later is no event.
    Delete,
}

impl EventType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    /// `create`, `update` or `delete`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// One change: the document as of that very version, never a later one.
///
/// Consumers that crash between using an event and saving its token see it again; `(path, created_at, version)` tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub event_type: EventType,
    /// The document after the change; after a delete the tombstone, with empty data.
    pub document: Document,
    /// The document before the change, if asked for and there was one.
    pub before: Option<Document>,
    /// When it was committed. Informational: nothing is ordered by it.
    pub commit_time: Timestamp,
    /// Resumes behind this event.
    pub token: ResumeToken,
}

/// What a watch stream yields.
#[expect(clippy::large_enum_variant, reason = "nearly every item is an event")]
#[derive(Clone, Debug, PartialEq)]
pub enum WatchItem {
    /// A change.
    Event(Event),
    /// Nothing new, but everything that matches up to here was delivered.
    Bookmark {
        /// Resumes from here.
        token: ResumeToken,
    },
}

impl WatchItem {
    /// The token that resumes behind this item.
    pub fn token(&self) -> &ResumeToken {
        match self {
            Self::Event(event) => &event.token,
            Self::Bookmark { token } => token,
        }
    }

    /// The event, if it is one.
    pub fn into_event(self) -> Option<Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Bookmark { .. } => None,
        }
    }
}

impl Serialize for WatchItem {
    /// `{type, path, collection, id, version, document, before?, commitTime, token}` or `{type: "bookmark", token}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Bookmark { token } => {
                map.serialize_entry("type", "bookmark")?;
                map.serialize_entry("token", token.as_str())?;
            }
            Self::Event(event) => {
                let path = event.document.path();
                map.serialize_entry("type", event.event_type.as_str())?;
                map.serialize_entry("path", path.as_str())?;
                map.serialize_entry("collection", path.collection_text())?;
                map.serialize_entry("id", path.id())?;
                map.serialize_entry("version", &event.document.version())?;
                map.serialize_entry("document", &event.document)?;
                if let Some(before) = &event.before {
                    map.serialize_entry("before", before)?;
                }
                map.serialize_entry("commitTime", &event.commit_time)?;
                map.serialize_entry("token", event.token.as_str())?;
            }
        }
        map.end()
    }
}

/// A change stream. It owns what it needs, is bounded, and ends after the first error.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchItem>> + Send>>;
