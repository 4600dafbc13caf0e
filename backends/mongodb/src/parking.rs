//! Cursors that nobody reads at the moment.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::stream::{self, Source, Stream};

/// Most cursors that wait for their reader: the one at the end, and a few that catch up.
const PARKED_MAX: usize = 6;
/// A cursor that nobody came back for.
const AGE_MAX: Duration = Duration::from_secs(30);
/// How long a close waits for those who wait: longer only for who opens a cursor on a server that does not answer.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// The cursors of one feed.
#[derive(Debug)]
pub(crate) struct Parking {
    source: Source,
    state: Mutex<State>,
    /// How many wait on the server, or are about to: each brings its cursor back here.
    waiting: watch::Sender<usize>,
    /// Set under the lock of the state.
    closed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    parked: Vec<(Instant, Stream)>,
    /// Where history begins, as far as it was trimmed here: no cursor is kept before that.
    floor: String,
}

impl State {
    fn is_trimmed(&self, stream: &Stream) -> bool {
        stream.place() < self.floor.as_str()
    }
}

impl Parking {
    pub(crate) fn new(source: Source) -> Self {
        let (waiting, closed) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { source, state: Mutex::default(), waiting, closed }
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
        if self.is_closed() || twin || stream.cursor() == 0 || state.is_trimmed(&stream) {
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

    /// Notes that somebody is about to wait, and will bring a cursor back.
    pub(crate) fn begin_waiting(&self) {
        self.waiting.send_modify(|waiting| *waiting += 1);
    }

    /// They wait no more.
    pub(crate) fn end_waiting(&self) {
        self.waiting.send_modify(|waiting| *waiting -= 1);
    }

    /// Returns when everything is closed.
    pub(crate) async fn closed(&self) {
        // The sender is in `self`, so this cannot fail while we are here.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Closes every cursor, ends every wait and lets nothing be parked any more: what is brought back is closed.
    pub(crate) async fn close(&self) {
        let cursors: Vec<i64> = {
            let mut state = self.state();
            self.closed.send_replace(true);
            let parked = std::mem::take(&mut state.parked);
            parked.into_iter().map(|(_, stream)| stream.cursor()).collect()
        };
        stream::kill(&self.source, &cursors).await;
        let mut waiting = self.waiting.subscribe();
        let none = waiting.wait_for(|waiting| *waiting == 0);
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, none).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
