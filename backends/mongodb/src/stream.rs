//! One change stream of the server, as a cursor that is asked for the next batch when somebody wants it.
//!
//! The driver's own change stream waits for one fixed time on every request. A feed needs both: an answer at once when it asks
//! whether there is more, and a long wait when there is not. So the two commands are sent here.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Bson, Document, Timestamp as ClusterTime, doc};
use mongodb::error::{Error as DriverError, Result as DriverResult};
use mongodb::options::{SelectionCriteria, ServerAddress};
use mongodb::{ClientSession, Database};

use crate::error::timed_out;
use crate::failure::Failure;
use crate::position::Place;

/// The collection that cursors of a whole database have.
const COLLECTION: &str = "$cmd.aggregate";
/// What a server may need beyond the time that it was allowed to wait.
pub(crate) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Events in one answer.
pub(crate) const BATCH: i32 = 1000;
/// A batch that is neither full nor larger ended because nothing followed: no event comes near the bound of an answer.
const BATCH_BYTES_SURE: usize = 100 << 10;

/// What the collections of a source hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Documents,
    /// Of an account a change is its id alone: who reads the feed reads the account as it is.
    Accounts,
}

/// Which changes, and how.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) database: Database,
    pub(crate) content: Content,
    pub(crate) collections: Arc<[String]>,
    /// Whether events bring what was there before.
    pub(crate) before: bool,
    /// Most events in one answer.
    pub(crate) batch: i32,
    /// The router that holds the cursor, if there are routers.
    pub(crate) router: Option<ServerAddress>,
}

/// Where a stream starts.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Now,
    At(Place),
}

/// One entry of the stream. Has documents and accounts in it, so it is not printed.
pub(crate) struct Entry {
    pub(crate) token: String,
    pub(crate) event: Document,
}

impl Entry {
    /// Entries of one transaction have one cluster time.
    pub(crate) fn transaction(&self) -> Option<ClusterTime> {
        self.event
            .get_timestamp("clusterTime")
            .ok()
            .filter(|_| self.event.contains_key("txnNumber"))
    }
}

/// An open cursor.
pub(crate) struct Stream {
    source: Source,
    session: ClientSession,
    cursor: i64,
    entries: VecDeque<Entry>,
    /// Behind the last entry that was taken.
    place: String,
    /// Behind the last batch: everything up to here was delivered.
    end: String,
    /// Whether the last batch ended because there was nothing more.
    at_end: bool,
    /// Whether the last batch was asked for since the stream was taken up.
    current: bool,
    /// The time up to which a majority had everything at the last answer.
    cluster_time: ClusterTime,
    /// The same when the last batch was asked for.
    confirmed: ClusterTime,
}

impl fmt::Debug for Stream {
    /// The entries are documents and accounts.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Stream");
        debug.field("cursor", &self.cursor).field("entries", &self.entries.len());
        debug.finish_non_exhaustive()
    }
}

impl Stream {
    /// Opens a cursor. At a place its first batch brings what there is already; one that begins now stands behind that batch.
    pub(crate) async fn open(source: &Source, start: &Start) -> DriverResult<Self> {
        let mut session =
            source.database.client().start_session().causal_consistency(false).await?;
        let answer = run(source, &mut session, open_command(source, start)).await?;
        let place = match start {
            Start::Now => String::new(),
            Start::At(place) => place.token.clone(),
        };
        let mut stream = Self {
            source: source.clone(),
            session,
            cursor: 0,
            entries: VecDeque::new(),
            end: place.clone(),
            place,
            at_end: false,
            current: false,
            cluster_time: ClusterTime { time: 0, increment: 0 },
            confirmed: ClusterTime { time: 0, increment: 0 },
        };
        stream.take(answer, "firstBatch")?;
        if matches!(start, Start::Now) {
            // What was committed while it was opened. Kept, it would be read again by whoever has read up to here and goes on with
            // this cursor.
            stream.entries.clear();
            stream.place.clone_from(&stream.end);
        }
        Ok(stream)
    }

    async fn fetch(&mut self, wait: Duration) -> DriverResult<()> {
        self.confirmed = self.cluster_time;
        let command = more_command(&self.source, self.cursor, wait);
        let answer = run(&self.source, &mut self.session, command).await?;
        self.take(answer, "nextBatch")
    }

    fn take(&mut self, mut answer: Document, batch: &str) -> DriverResult<()> {
        if let Ok(time) = answer.get_timestamp("operationTime") {
            self.cluster_time = time;
        }
        let Some(Bson::Document(mut cursor)) = answer.remove("cursor") else {
            return Err(unclear());
        };
        self.cursor = cursor.get_i64("id").map_err(|_| unclear())?;
        let Some(Bson::Array(events)) = cursor.remove(batch) else { return Err(unclear()) };
        let (count, mut bytes) = (events.len(), 0);
        for event in events {
            let Bson::Document(event) = event else { return Err(unclear()) };
            bytes += size(&event);
            self.end = token(&event, "_id")?;
            self.entries.push_back(Entry { token: self.end.clone(), event });
        }
        if cursor.contains_key("postBatchResumeToken") {
            self.end = token(&cursor, "postBatchResumeToken")?;
        }
        self.current = true;
        self.at_end =
            count == 0 || (count < self.source.batch as usize && bytes < BATCH_BYTES_SURE);
        Ok(())
    }

    /// The next entry, if one was fetched.
    pub(crate) fn peek(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// Takes the next entry.
    pub(crate) fn next(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.place.clone_from(&entry.token);
        Some(entry)
    }

    /// Behind the last entry that was taken; once all of a batch are, behind the batch.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Notes that all of the batch was taken and gives the place behind it.
    pub(crate) fn finish_batch(&mut self) -> &str {
        if self.entries.is_empty() {
            self.place.clone_from(&self.end);
        }
        &self.place
    }

    /// Whether the last batch was all there was when it was asked for.
    pub(crate) fn at_end(&self) -> bool {
        self.at_end
    }

    /// The time up to which everything was delivered, if nothing followed the last batch: a majority had it before that was asked
    /// for. Not of a router, whose shards have times of their own.
    pub(crate) fn delivered(&self) -> Option<ClusterTime> {
        let all = self.current && self.at_end && self.source.router.is_none();
        all.then_some(self.confirmed)
    }

    /// Whether the last batch was asked for since the stream was taken up.
    pub(crate) fn is_current(&self) -> bool {
        self.current
    }

    /// Nobody reads it for a while: what it has fetched is of the past then.
    pub(crate) fn rest(&mut self) {
        self.current = false;
    }

    /// The time up to which a majority had everything at the last answer.
    pub(crate) fn cluster_time(&self) -> ClusterTime {
        self.cluster_time
    }

    /// The number of the cursor; 0 when the server has closed it.
    pub(crate) fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Which changes it brings, and how.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Closes the cursor on the server.
    pub(crate) async fn close(self) {
        kill(&self.source, &[self.cursor]).await;
    }
}

/// Asks for the next batch, of a server that answers in time; without one it waits up to `wait` for it.
pub(crate) async fn fetch(stream: &mut Stream, wait: Duration) -> Result<(), Failure> {
    let fetching = stream.fetch(wait);
    Ok(tokio::time::timeout(wait + ANSWER_TIME_MAX, fetching).await.map_err(|_| timed_out())??)
}

/// Closes cursors, also such as somebody waits on. What fails here ends with the session on the server.
pub(crate) async fn kill(source: &Source, cursors: &[i64]) {
    let cursors: Vec<i64> = cursors.iter().copied().filter(|cursor| *cursor != 0).collect();
    if cursors.is_empty() {
        return;
    }
    let command = doc! { "killCursors": COLLECTION, "cursors": cursors };
    let mut run = source.database.run_command(command);
    if let Some(criteria) = criteria(source) {
        run = run.selection_criteria(criteria);
    }
    if let Err(error) = run.await {
        tracing::debug!(code = ?crate::error::code_of(&error), "a cursor could not be closed");
    }
}

async fn run(
    source: &Source,
    session: &mut ClientSession,
    command: Document,
) -> DriverResult<Document> {
    let run = source.database.run_command(command);
    let run = match criteria(source) {
        Some(criteria) => run.selection_criteria(criteria),
        None => run,
    };
    run.session(session).await
}

/// A cursor lives on the router that opened it.
fn criteria(source: &Source) -> Option<SelectionCriteria> {
    let router = source.router.clone()?;
    Some(SelectionCriteria::Predicate(Arc::new(move |server| *server.address() == router)))
}

pub(crate) fn open_command(source: &Source, start: &Start) -> Document {
    let mut stage = doc! {};
    match start {
        Start::Now => {}
        Start::At(place) if place.is_time() => {
            stage.insert("startAtOperationTime", place.cluster_time());
        }
        Start::At(place) => {
            stage.insert("startAfter", doc! { "_data": &place.token });
        }
    }
    if source.before {
        stage.insert("fullDocumentBeforeChange", "whenAvailable");
    }
    doc! {
        "aggregate": 1,
        "pipeline": [{ "$changeStream": stage }, { "$match": selection(&source.collections) }],
        "cursor": { "batchSize": source.batch },
        "readConcern": { "level": "majority" },
    }
}

/// Never change it without another number in tokens: the server ties a token to its pipeline.
///
/// Removals are left out, so that a purge is silent. What ends a whole database has no collection.
fn selection(collections: &[String]) -> Document {
    let changes = ["insert", "replace", "update", "drop", "rename"];
    doc! { "$or": [
        { "ns.coll": { "$in": collections }, "operationType": { "$in": &changes[..] } },
        { "operationType": { "$in": ["dropDatabase", "invalidate"] } },
    ] }
}

fn more_command(source: &Source, cursor: i64, wait: Duration) -> Document {
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).max(1);
    doc! {
        "getMore": cursor,
        "collection": COLLECTION,
        "batchSize": source.batch,
        "maxTimeMS": wait,
    }
}

fn token(document: &Document, field: &str) -> DriverResult<String> {
    let token = document.get_document(field).ok().and_then(|token| token.get_str("_data").ok());
    token.map(str::to_owned).ok_or_else(unclear)
}

/// About how large the event is.
fn size(event: &Document) -> usize {
    fn of(value: &Bson) -> usize {
        match value {
            Bson::Document(document) => size(document),
            Bson::Array(items) => items.iter().map(of).sum::<usize>() + items.len() * 8,
            Bson::String(text) => text.len() + 16,
            _ => 16,
        }
    }
    event.iter().map(|(name, value)| name.len() + of(value)).sum()
}

fn unclear() -> DriverError {
    DriverError::custom("the answer to a change stream has another form")
}
