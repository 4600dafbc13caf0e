//! The change feed: pages of a change stream from any place, its end, and where its history begins.
//!
//! A cursor that was read is parked at its place and goes on there with the next call, so whoever keeps up opens none.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::Timestamp as ClusterTime;
use mongodb::error::Error as DriverError;
use syntrix_storage_core::backend::{Change, Feed, FeedPage};
use syntrix_storage_core::{Clock, Error, ErrorKind, ExpiredReason, Position, Result, Timestamp};

use crate::error::{HISTORY_LOST, closed, code_of, from_driver, lost, timed_out};
use crate::event;
use crate::failure::{Failure, is_foreign, is_resumable, is_too_large};
use crate::parking::Parking;
use crate::position::Place;
use crate::schema::{Floor, Metadata};
use crate::stream::{ANSWER_TIME_MAX, Source, Start, Stream, fetch};
use crate::waiting::Waiting;

/// Long enough for an answer, too short to be noticed.
const AT_ONCE: Duration = Duration::from_millis(1);
/// A place further ahead than this belongs to another history: a restored backup, another cluster. An election may lose a
/// moment of time that a token has seen.
const AHEAD_SECONDS_MAX: u32 = 60;

/// The feed of one store of documents.
#[derive(Debug)]
pub(crate) struct Changes {
    source: Source,
    metadata: Metadata,
    clock: Arc<dyn Clock>,
    parking: Parking,
}

impl Changes {
    pub(crate) fn new(source: Source, metadata: Metadata, clock: Arc<dyn Clock>) -> Arc<Self> {
        let parking = Parking::new(source.clone());
        Arc::new(Self { source, metadata, clock, parking })
    }

    /// At most `limit` changes from `from` on, none behind `until`.
    ///
    /// Runs in a task of its own: a reader that gives up leaves the cursor in order.
    pub(crate) async fn feed(
        self: &Arc<Self>,
        from: &Feed,
        until: Option<&Position>,
        limit: usize,
    ) -> Result<FeedPage> {
        let until = until.map(Place::of).transpose()?;
        let (this, from) = (Arc::clone(self), from.clone());
        tokio::spawn(async move { this.page(&from, until.as_ref(), limit.max(1)).await })
            .await
            .map_err(|_| lost())?
    }

    /// The place behind everything that was committed. Its time is now: what comes later is not earlier.
    pub(crate) async fn end(&self) -> Result<(Position, Timestamp)> {
        let now = self.clock.now();
        let stream = self.open(&Start::Now).await?;
        let place = Place::new(stream.place(), now);
        self.parking.park(stream).await;
        Ok((place.to_position(), now))
    }

    /// The position of a snapshot that was read at `time`.
    pub(crate) fn behind(&self, time: ClusterTime) -> (Position, Timestamp) {
        let now = self.clock.now();
        let next = ClusterTime { time: time.time, increment: time.increment + 1 };
        (Place::before(next, now).to_position(), now)
    }

    /// Returns when there may be changes behind `position`, at the latest after `timeout`.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        position: &Position,
        timeout: Duration,
    ) -> Result<()> {
        let place = Place::of(position)?;
        let this = Arc::clone(self);
        tokio::spawn(async move { this.wait_at(&place, timeout).await })
            .await
            .map_err(|_| lost())?
    }

    async fn wait_at(&self, place: &Place, timeout: Duration) -> Result<()> {
        let waiting = Waiting::begin(&self.parking);
        if self.parking.is_closed() {
            return Err(closed());
        }
        let mut stream = match self.parking.take(&place.token) {
            Some(stream) => stream,
            None => self.open(&Start::At(place.clone())).await?,
        };
        match waiting.until_entry(&mut stream, timeout).await {
            Ok(()) => {}
            // The next read finds no cursor here and opens one at this place.
            Err(Failure::Driver(error)) if is_resumable(&error) || is_too_large(&error) => {
                return Ok(());
            }
            Err(failure) => return Err(failure.into_core()),
        }
        self.parking.park(stream).await;
        if self.parking.is_closed() { Err(closed()) } else { Ok(()) }
    }

    async fn page(&self, from: &Feed, until: Option<&Place>, limit: usize) -> Result<FeedPage> {
        let start = match from {
            Feed::After(position) => Place::of(position)?,
            Feed::Oldest => return self.oldest_page(until, limit).await,
        };
        if let Some(stream) = self.parking.take(&start.token) {
            match self.read(stream, start.clone(), until, limit).await {
                // The cursor did not outlive an election or a pause; a new one goes on at its place.
                Err(Failure::Driver(error)) if is_resumable(&error) || is_too_large(&error) => {}
                read => return self.finish(read, &start).await,
            }
        }
        self.check_floor(&start).await?;
        let read = match self.fresh_page(&start, until, limit).await {
            Err(Failure::Driver(error)) if is_too_large(&error) => {
                self.single_page(&start, until).await
            }
            read => read,
        };
        self.finish(read, &start).await
    }

    async fn fresh_page(
        &self,
        start: &Place,
        until: Option<&Place>,
        limit: usize,
    ) -> Result<FeedPage, Failure> {
        let stream = self.open_fresh(start).await?;
        self.read(stream, start.clone(), until, limit).await
    }

    /// One change alone, and without what was there before if the event has no room in an answer even so. Only a foreign
    /// write is that large.
    async fn single_page(&self, start: &Place, until: Option<&Place>) -> Result<FeedPage, Failure> {
        match self.page_of(Source { batch: 1, ..self.source.clone() }, start, until).await {
            Err(Failure::Driver(error)) if is_too_large(&error) => {
                tracing::warn!("a change is too large to bring what was there before");
                let source = Source { batch: 1, before: false, ..self.source.clone() };
                self.page_of(source, start, until).await
            }
            read => read,
        }
    }

    async fn page_of(
        &self,
        source: Source,
        start: &Place,
        until: Option<&Place>,
    ) -> Result<FeedPage, Failure> {
        let at = Start::At(start.clone());
        let opening = tokio::time::timeout(ANSWER_TIME_MAX, Stream::open(&source, &at));
        let stream = opening.await.map_err(|_| timed_out())??;
        self.read(stream, start.clone(), until, 1).await
    }

    /// Keeps the cursor for whoever goes on at its place, if it brings all that events can bring.
    async fn rest(&self, stream: Stream) {
        if (stream.source().before, stream.source().batch)
            == (self.source.before, self.source.batch)
        {
            self.parking.park(stream).await;
        } else {
            stream.close().await;
        }
    }

    /// The history as far back as it is kept and the server still has it.
    async fn oldest_page(&self, until: Option<&Place>, limit: usize) -> Result<FeedPage> {
        let floor = self.metadata.floor().await?;
        let start = floor_place(&floor)?;
        match self.fresh_page(&start, until, limit).await {
            Err(Failure::Driver(error)) if is_too_large(&error) => {
                let read = self.single_page(&start, until).await;
                self.finish(read, &start).await
            }
            Err(Failure::Driver(error)) if code_of(&error) == Some(HISTORY_LOST) => {
                let (stream, start) = self.open_oldest(&start).await?;
                let read = self.read(stream, start.clone(), until, limit).await;
                self.finish(read, &start).await
            }
            read => self.finish(read, &start).await,
        }
    }

    async fn finish(&self, read: Result<FeedPage, Failure>, start: &Place) -> Result<FeedPage> {
        match read {
            Ok(page) => Ok(page),
            Err(Failure::Driver(error)) => Err(self.explain(&error, start).await),
            Err(Failure::Core(error)) => Err(error),
        }
    }

    /// What an error of the stream says about the place that was asked for.
    async fn explain(&self, error: &DriverError, start: &Place) -> Error {
        match code_of(error) {
            Some(HISTORY_LOST) => {
                let oldest = self.open_oldest(start).await.ok();
                let oldest = match oldest {
                    Some((stream, place)) => self.first_time(stream, place).await,
                    None => None,
                };
                Error::token_expired(ExpiredReason::Trimmed, oldest)
            }
            Some(code) if is_foreign(code) => Error::token_expired(ExpiredReason::Diverged, None),
            _ => from_driver(error),
        }
    }

    /// Whether something behind the place was trimmed.
    async fn check_floor(&self, start: &Place) -> Result<()> {
        let floor = self.metadata.floor().await?;
        let place = floor_place(&floor)?;
        if start.token >= place.token {
            return Ok(());
        }
        let oldest = match self.open_fresh(&place).await {
            Ok(stream) => self.first_time(stream, place).await,
            Err(_) => None,
        };
        Err(Error::token_expired(ExpiredReason::Trimmed, oldest))
    }

    /// When the next change of the stream was committed.
    async fn first_time(&self, stream: Stream, place: Place) -> Option<Timestamp> {
        let page = self.read(stream, place, None, 1).await.ok()?;
        page.changes.first().map(|change| change.commit_time)
    }

    pub(crate) async fn open(&self, start: &Start) -> Result<Stream> {
        self.open_raw(start).await.map_err(Failure::into_core)
    }

    pub(crate) async fn open_raw(&self, start: &Start) -> Result<Stream, Failure> {
        let opening = Stream::open(&self.source, start);
        Ok(tokio::time::timeout(ANSWER_TIME_MAX, opening).await.map_err(|_| timed_out())??)
    }

    /// Opens at a place that must lie in this history.
    async fn open_fresh(&self, start: &Place) -> Result<Stream, Failure> {
        let stream = self.open_raw(&Start::At(start.clone())).await?;
        let now = stream.cluster_time().time;
        if now > 0 && start.cluster_time().time > now.saturating_add(AHEAD_SECONDS_MAX) {
            stream.close().await;
            return Err(Error::token_expired(ExpiredReason::Diverged, None).into());
        }
        Ok(stream)
    }

    /// Reads one page and parks the cursor behind it.
    ///
    /// A page ends between transactions. The last one is read only when the server has said, after this call began, that nothing
    /// follows: who is told that there is no more may rely on it.
    async fn read(
        &self,
        mut stream: Stream,
        start: Place,
        until: Option<&Place>,
        limit: usize,
    ) -> Result<FeedPage, Failure> {
        let mut reading = Reading { changes: Vec::new(), place: start, transaction: None };
        loop {
            while let Some(entry) = stream.peek() {
                if until.is_some_and(|until| entry.token > until.token) {
                    tokio::spawn(stream.close());
                    return Ok(reading.up_to(until));
                }
                let same =
                    entry.transaction().is_some() && entry.transaction() == reading.transaction;
                if reading.changes.len() >= limit && !same {
                    self.rest(stream).await;
                    return Ok(reading.page(true));
                }
                let Some(entry) = stream.next() else { break };
                reading.transaction = entry.transaction();
                reading.place.token.clone_from(&entry.token);
                reading.push(event::change(&self.source, entry, reading.place.commit_time).await?);
            }
            stream.finish_batch().clone_into(&mut reading.place.token);
            if until.is_some_and(|until| reading.has_reached(until, &stream)) {
                tokio::spawn(stream.close());
                return Ok(reading.up_to(until));
            }
            // What was fetched before this call says nothing about now.
            if stream.is_current() && stream.at_end() && until.is_none() {
                self.rest(stream).await;
                return Ok(reading.page(false));
            }
            if reading.changes.len() >= limit && reading.transaction.is_none() {
                self.rest(stream).await;
                return Ok(reading.page(true));
            }
            if stream.cursor() == 0 {
                // A dropped database ends the cursor; the place behind that event can be continued from.
                let again = Start::At(reading.place.clone());
                stream = self.open_raw(&again).await?;
            } else {
                fetch(&mut stream, AT_ONCE).await?;
            }
        }
    }

    /// Forgets changes committed before `before`, at most `limit`; gives how many. The server's own log keeps them longer or
    /// shorter; this moves the place that tokens must not lie before.
    pub(crate) async fn trim(&self, before: Timestamp, limit: usize) -> Result<usize> {
        let floor = floor_place(&self.metadata.floor().await?)?;
        let (stream, floor) = match self.open_fresh(&floor).await {
            Ok(stream) => (stream, floor),
            Err(Failure::Driver(error)) if code_of(&error) == Some(HISTORY_LOST) => {
                let (stream, place) = self.open_oldest(&floor).await?;
                self.raise_floor(&place).await?;
                (stream, place)
            }
            Err(failure) => return Err(failure.into_core()),
        };
        let page = self.read(stream, floor, None, limit).await.map_err(Failure::into_core)?;
        let old = page.changes.iter().take_while(|change| change.commit_time < before);
        let old: Vec<&Change> = old.take(limit).collect();
        if let Some(last) = old.last() {
            self.raise_floor(&Place::of(&last.position)?).await?;
        }
        Ok(old.len())
    }

    async fn raise_floor(&self, place: &Place) -> Result<()> {
        self.metadata.raise_floor(&place.token, place.commit_time).await?;
        self.parking.trim(&place.token).await;
        Ok(())
    }

    /// Closes the cursors and ends every wait.
    pub(crate) async fn close(&self) {
        self.parking.close().await;
    }
}

/// A page in the making.
struct Reading {
    changes: Vec<Change>,
    place: Place,
    /// Of the last entry, if it is part of one.
    transaction: Option<ClusterTime>,
}

impl Reading {
    fn push(&mut self, change: Option<Change>) {
        if let Some(change) = change {
            self.place.commit_time = change.commit_time;
            self.changes.push(change);
        }
    }

    /// Whether everything before `until` was read from the stream: it stands there, or nothing lies between what it has delivered
    /// and that. Its place alone would not tell: a stream that was opened at a time has not read what happened at it.
    fn has_reached(&self, until: &Place, stream: &Stream) -> bool {
        self.place.token >= until.token
            || stream.delivered().is_some_and(|time| until.is_next_to(time))
    }

    fn page(self, more: bool) -> FeedPage {
        FeedPage { changes: self.changes, end: self.place.to_position(), more }
    }

    /// The last page before `until`, which the stream has passed.
    fn up_to(mut self, until: Option<&Place>) -> FeedPage {
        if let Some(until) = until {
            self.place.token.clone_from(&until.token);
        }
        self.page(false)
    }
}

fn floor_place(floor: &Floor) -> Result<Place> {
    match &floor.token {
        Some(token) => Ok(Place::new(token, floor.at)),
        None => Err(unsupported()),
    }
}

/// A standalone server has no change stream.
pub(crate) fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "watch").with_message(
        "the server is no replica set; start it with --replSet and run rs.initiate(), one member is enough",
    )
}
