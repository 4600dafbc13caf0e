//! Cursors that nobody reads at the moment.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::stream::{self, Source, Stream};

/// Most cursors that wait for their reader: the one at the end, and a few that catch up.
const PARKED_MAX: usize = 6;
/// A cursor that nobody came back for.
const AGE_MAX: Duration = Duration::from_secs(30);
/// How long a close waits for those who wait on a cursor that it has closed.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// The cursors of one feed.
#[derive(Debug)]
pub(crate) struct Parking {
    source: Source,
    state: Mutex<State>,
    /// How many wait on the server.
    waiting: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    parked: Vec<(Instant, Stream)>,
    waited_on: HashSet<i64>,
    /// Where history begins, as far as it was trimmed here: no cursor is kept before that.
    floor: String,
    closed: bool,
}

impl State {
    fn is_trimmed(&self, stream: &Stream) -> bool {
        stream.place() < self.floor.as_str()
    }
}

impl Parking {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, state: Mutex::default(), waiting: watch::Sender::new(0) }
    }

    /// The cursor that stands at `place`.
    pub(crate) fn take(&self, place: &str) -> Option<Stream> {
        let mut state = self.state();
        let index = state.parked.iter().position(|(_, stream)| stream.place() == place)?;
        Some(state.parked.swap_remove(index).1)
    }

    /// Lets go of every cursor that stands before `floor`: history begins there, and a reader that goes on before it has to be told,
    /// whether or not somebody has left a cursor there.
    pub(crate) async fn trim(&self, floor: &str) {
        let trimmed: Vec<_> = {
            let mut state = self.state();
            if *floor > *state.floor {
                floor.clone_into(&mut state.floor);
            }
            let (trimmed, kept) = std::mem::take(&mut state.parked)
                .into_iter()
                .partition(|(_, stream)| state.is_trimmed(stream));
            state.parked = kept;
            trimmed
        };
        for (_, stream) in trimmed {
            stream.close().await;
        }
    }

    /// Keeps a cursor for whoever goes on at its place; closes one that is too many or too old.
    pub(crate) async fn park(&self, stream: Stream) {
        for surplus in self.exchange(stream) {
            surplus.close().await;
        }
    }

    fn exchange(&self, mut stream: Stream) -> Vec<Stream> {
        stream.rest();
        let mut state = self.state();
        let twin = state.parked.iter().any(|(_, other)| other.place() == stream.place());
        if state.closed || twin || stream.cursor() == 0 || state.is_trimmed(&stream) {
            return vec![stream];
        }
        state.parked.push((Instant::now(), stream));
        let mut surplus = Vec::new();
        while state.parked.len() > PARKED_MAX
            || state.parked.first().is_some_and(|(since, _)| since.elapsed() > AGE_MAX)
        {
            surplus.push(state.parked.remove(0).1);
        }
        surplus
    }

    /// Notes that somebody is about to wait, before there is a cursor: a close waits for them.
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        self.waiting.send_modify(|waiting| *waiting += 1);
        Waiting { parking: self, cursor: None }
    }

    /// Closes every cursor, ends every wait and lets nothing be parked any more.
    pub(crate) async fn close(&self) {
        let cursors: Vec<i64> = {
            let mut state = self.state();
            state.closed = true;
            let parked = std::mem::take(&mut state.parked);
            let parked = parked.into_iter().map(|(_, stream)| stream.cursor());
            parked.chain(state.waited_on.iter().copied()).collect()
        };
        stream::kill(&self.source, &cursors).await;
        let mut waiting = self.waiting.subscribe();
        let none = waiting.wait_for(|waiting| *waiting == 0);
        // Whoever still waits then ends with the connections.
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, none).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits, on the server once there is a cursor, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'parking> {
    parking: &'parking Parking,
    cursor: Option<i64>,
}

impl Waiting<'_> {
    /// Notes which cursor it is, so that a close can end the wait. `false` if there was one already: nobody would end it.
    pub(crate) fn begin(&mut self, cursor: i64) -> bool {
        let mut state = self.parking.state();
        if state.closed {
            return false;
        }
        state.waited_on.insert(cursor);
        self.cursor = Some(cursor);
        true
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(cursor) = self.cursor {
            self.parking.state().waited_on.remove(&cursor);
        }
        self.parking.waiting.send_modify(|waiting| *waiting -= 1);
    }
}
