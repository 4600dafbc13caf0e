//! What tells which records of a store were written.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::{Position, Result, Timestamp};

/// The feed of one store.
#[async_trait]
pub trait WriteFeed<R>: fmt::Debug + Send + Sync {
    /// The place behind all that was written; `None` if this very store does not tell what was written.
    async fn end(&self) -> Result<Option<Position>>;

    /// Records that were written behind `place`, as they are now, at most `limit`.
    async fn since(&self, place: &Position, limit: usize) -> Result<Written<R>>;

    /// Returns when there may be records behind `place`, at the latest after `limit`.
    async fn wait(&self, place: &Position, limit: Duration) -> Result<()>;

    /// When a record was last written, as far as it tells.
    fn written_at(&self, record: &R) -> Timestamp;
}

/// Records that were written behind a place.
#[derive(Debug)]
pub struct Written<R> {
    /// The records.
    pub records: Vec<R>,
    /// The place behind them.
    pub end: Position,
    /// Whether there is more already.
    pub more: bool,
}
