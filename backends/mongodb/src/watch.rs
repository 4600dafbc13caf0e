//! The change feed: pages of a change stream from any place, its end, and where its history begins.
//!
//! A cursor that was read is parked at its place and goes on there with the next call, so whoever keeps up opens none.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::Timestamp as ClusterTime;
use mongodb::error::Error as DriverError;
use syntrix_storage_core::backend::{Change, Feed, FeedPage};
use syntrix_storage_core::{Clock, Error, ErrorKind, ExpiredReason, Position, Result, Timestamp};

use crate::error::{HISTORY_LOST, code_of, from_driver, lost, timed_out};
use crate::event;
use crate::parking::Parking;
use crate::position::Place;
use crate::schema::{Floor, Metadata};
use crate::stream::{Source, Start, Stream};

/// Long enough for an answer, too short to be noticed.
const AT_ONCE: Duration = Duration::from_millis(1);
/// What a server may need beyond the time that it was allowed to wait.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
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
        let mut stream = match self.parking.take(&place.token) {
            Some(stream) => stream,
            None => self.open(&Start::At(place.clone())).await?,
        };
        if stream.peek().is_none() {
            let _waiting = self.parking.wait_with(stream.cursor());
            match fetch(&mut stream, timeout).await {
                Ok(()) => {}
                // The next read finds no cursor here and opens one at this place.
                Err(Failure::Driver(error)) if is_resumable(&error) || is_too_large(&error) => {
                    return Ok(());
                }
                Err(failure) => return Err(failure.into_core()),
            }
        }
        self.parking.park(stream).await;
        Ok(())
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

    async fn open(&self, start: &Start) -> Result<Stream> {
        self.open_raw(start).await.map_err(Failure::into_core)
    }

    async fn open_raw(&self, start: &Start) -> Result<Stream, Failure> {
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

    /// Finds where the server's history begins by halving the time since `lost`, which it no longer has: needs no privilege and
    /// works through a router.
    async fn open_oldest(&self, lost: &Place) -> Result<(Stream, Place)> {
        let newest = self.open(&Start::Now).await?;
        let place = Place::new(newest.place(), lost.commit_time);
        let (mut gone, mut there) = (lost.cluster_time(), place.cluster_time());
        let mut found = (newest, place);
        while let Some(middle) = between(gone, there) {
            let place = Place::before(middle, lost.commit_time);
            match self.open_raw(&Start::At(place.clone())).await {
                Ok(stream) => {
                    there = middle;
                    std::mem::replace(&mut found, (stream, place)).0.close().await;
                }
                Err(Failure::Driver(error)) if code_of(&error) == Some(HISTORY_LOST) => {
                    gone = middle;
                }
                Err(failure) => return Err(failure.into_core()),
            }
        }
        Ok(found)
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
            if until.is_some_and(|until| reading.place.token >= until.token) {
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
                self.metadata.raise_floor(&place.token, place.commit_time).await?;
                (stream, place)
            }
            Err(failure) => return Err(failure.into_core()),
        };
        let page = self.read(stream, floor, None, limit).await.map_err(Failure::into_core)?;
        let old = page.changes.iter().take_while(|change| change.commit_time < before);
        let old: Vec<&Change> = old.take(limit).collect();
        if let Some(last) = old.last() {
            let place = Place::of(&last.position)?;
            self.metadata.raise_floor(&place.token, place.commit_time).await?;
        }
        Ok(old.len())
    }

    /// Closes the cursors and ends every wait.
    pub(crate) async fn close(&self) {
        self.parking.close().await;
    }
}

async fn fetch(stream: &mut Stream, wait: Duration) -> Result<(), Failure> {
    let fetching = stream.fetch(wait);
    Ok(tokio::time::timeout(wait + ANSWER_TIME_MAX, fetching).await.map_err(|_| timed_out())??)
}

/// A time between two, first by seconds, then by what the cluster counts within one; `None` if nothing lies between.
fn between(early: ClusterTime, late: ClusterTime) -> Option<ClusterTime> {
    /// More than a cluster does in a second.
    const COUNT_MAX: u32 = 1 << 20;
    let seconds = late.time.saturating_sub(early.time);
    if seconds > 1 {
        return Some(ClusterTime { time: early.time + seconds / 2, increment: 1 });
    }
    let end = if seconds == 0 { late.increment } else { COUNT_MAX };
    let count = end.saturating_sub(early.increment);
    if count > 1 {
        return Some(ClusterTime { time: early.time, increment: early.increment + count / 2 });
    }
    // Nothing is left of the earlier second.
    (seconds == 1 && late.increment > 1)
        .then_some(ClusterTime { time: late.time, increment: late.increment / 2 })
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

/// Errors that concern the cursor and not the place. What the driver calls resumable, with the label of the server.
fn is_resumable(error: &DriverError) -> bool {
    /// CursorNotFound, CursorKilled.
    const GONE: [i32; 2] = [43, 237];
    match code_of(error) {
        Some(code) if GONE.contains(&code) => true,
        Some(_) => {
            error.contains_label("ResumableChangeStreamError") || crate::error::is_passing(error)
        }
        None => crate::error::is_passing(error),
    }
}

/// BSONObjectTooLarge: an event does not fit into an answer.
fn is_too_large(error: &DriverError) -> bool {
    code_of(error) == Some(10334)
}

/// The server does not know the token: InvalidResumeToken, ChangeStreamFatalError, and how it says that one is no token at all.
fn is_foreign(code: i32) -> bool {
    [9, 15, 260, 280, 40647, 40648, 40649, 50788, 50791, 50792, 50793, 50794, 50795, 50796]
        .contains(&code)
}

/// An error with the driver's own kept as long as somebody decides by it.
#[derive(Debug)]
pub(crate) enum Failure {
    Driver(DriverError),
    Core(Error),
}

impl Failure {
    fn into_core(self) -> Error {
        match self {
            Self::Driver(error) => from_driver(&error),
            Self::Core(error) => error,
        }
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Halves as the search does, over a history that begins at `oldest`.
    fn search(
        oldest: ClusterTime,
        mut gone: ClusterTime,
        mut there: ClusterTime,
    ) -> (ClusterTime, usize) {
        let mut steps = 0;
        while let Some(middle) = between(gone, there) {
            steps += 1;
            if middle < oldest { gone = middle } else { there = middle }
        }
        (there, steps)
    }

    #[test]
    fn the_beginning_of_a_history_is_found_exactly_and_soon() {
        let at = |time, increment| ClusterTime { time, increment };
        let (lost, now) = (at(1_000_000, 7), at(1_500_000, 3));
        for oldest in
            [at(1_000_000, 8), at(1_000_001, 1), at(1_234_567, 890), at(1_500_000, 2), now]
        {
            let (found, steps) = search(oldest, lost, now);
            assert_eq!(found, oldest);
            assert!(steps < 64, "{steps}");
        }
        // Within one second.
        assert_eq!(search(at(5, 300), at(5, 1), at(5, 1000)).0, at(5, 300));
    }
}
