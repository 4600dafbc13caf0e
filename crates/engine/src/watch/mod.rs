//! The watch hub: one reader of the backend's feed per store and process, any number of subscribers.
//!
//! The reader puts changes into one bounded ring. Subscribers read the ring at their own pace, so a slow one holds up nobody;
//! one that falls behind the ring is served from the backend's history until it has caught up.

mod dispatcher;
#[cfg(test)]
mod model;
mod ring;
mod start;
mod stream;
mod subscriber;
mod sync;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use syntrix_storage_core::backend::{DocumentBackend, Feed};
use syntrix_storage_core::{
    CollectionPath, Error, ErrorKind, Reason, Result, WatchOptions, WatchStart, WatchStream,
};
use tokio::sync::{Notify, Semaphore, watch};

use crate::gate::Closing;
use ring::Ring;
use stream::Items;
use subscriber::Subscriber;
use sync::{Mutex, MutexGuard, spawn};

/// Readers of history at once, so that a crowd that fell behind does not drown the backend.
const CATCH_UP_READERS_MAX: usize = 4;
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);
const HEARTBEAT_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub(crate) struct Hub {
    backend: Arc<dyn DocumentBackend>,
    closing: Closing,
    state: Mutex<State>,
    /// Asks the dispatcher for a poll that starts after now.
    refresh: Notify,
    /// Number of the last poll that found nothing more; a poll's number is given when it starts.
    polled: watch::Sender<u64>,
    catch_up: Semaphore,
    /// How many dispatchers run: one, or for a moment two while one takes over from another.
    running: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    subscribers: usize,
    running: bool,
    /// Number of the last poll that was started.
    poll: u64,
    /// When the backend last answered; a bookmark older than that would be a guess.
    answered_at: Option<tokio::time::Instant>,
    /// Why the last dispatcher gave up; cleared when another one starts.
    failure: Option<Failure>,
}

/// Who watches a store, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchCounts {
    /// Open streams.
    pub subscribers: usize,
    /// Collections that a stream listens to; those that listen to everything count as one.
    pub topics: usize,
    /// Streams that read history at this moment; at most 4.
    pub catch_up_readers: usize,
}

/// What streams end with when the feed cannot be read at all.
#[derive(Clone, Debug)]
struct Failure {
    kind: ErrorKind,
    message: String,
}

/// Whether a stream outlives the error.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}

impl Hub {
    pub(crate) fn new(backend: Arc<dyn DocumentBackend>, closing: Closing) -> Arc<Self> {
        Self::with_ring(backend, closing, Ring::default())
    }

    /// A hub whose ring holds less or more than usual.
    fn with_ring(backend: Arc<dyn DocumentBackend>, closing: Closing, ring: Ring) -> Arc<Self> {
        Arc::new(Self {
            backend,
            closing,
            state: Mutex::new(State {
                ring,
                subscribers: 0,
                running: false,
                poll: 0,
                answered_at: None,
                failure: None,
            }),
            refresh: Notify::new(),
            polled: watch::Sender::new(0),
            catch_up: Semaphore::new(CATCH_UP_READERS_MAX),
            running: watch::Sender::new(0),
        })
    }

    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        collection: Option<&CollectionPath>,
        start: WatchStart,
        options: WatchOptions,
    ) -> Result<WatchStream> {
        self.check(&options)?;
        let from = self.place(start).await?;
        let subscriber = Subscriber::new(Arc::clone(self), collection, from, options);
        Ok(Items::new(subscriber).boxed())
    }

    async fn place(&self, start: WatchStart) -> Result<Feed> {
        // Checking a token reads history, and after a restart everybody comes with one.
        let _reader = match start {
            WatchStart::Token(_) => Some(self.catch_up.acquire().await),
            WatchStart::Now | WatchStart::Oldest => None,
        };
        start::place(&*self.backend, start).await
    }

    fn check(&self, options: &WatchOptions) -> Result<()> {
        let capabilities = self.backend.capabilities();
        if !capabilities.watch || (options.before && !capabilities.before) {
            return Err(Error::new(ErrorKind::Unsupported, "watch")
                .with_message("this backend does not offer the asked kind of watch")
                .with_fact("backend", self.backend.kind())
                .with_fact("before", options.before));
        }
        if !(HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&options.heartbeat) {
            let message = "a heartbeat is between 10 ms and 1 h";
            return Err(Error::invalid("heartbeat", Reason::Option, message));
        }
        Ok(())
    }

    /// Waits until the dispatcher is gone, after the gate was closed.
    pub(crate) async fn wait_until_stopped(&self, limit: Duration) {
        let mut running = self.running.subscribe();
        let _ = tokio::time::timeout(limit, running.wait_for(|running| *running == 0)).await;
    }

    pub(crate) fn counts(&self) -> WatchCounts {
        let state = self.state();
        WatchCounts {
            subscribers: state.subscribers,
            topics: state.ring.topics(),
            catch_up_readers: CATCH_UP_READERS_MAX - self.catch_up.available_permits(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Counts a subscriber in and starts the dispatcher for the first one.
    fn join(self: &Arc<Self>) {
        let mut state = self.state();
        state.subscribers += 1;
        if !state.running {
            state.running = true;
            state.failure = None;
            self.running.send_modify(|running| *running += 1);
            spawn(dispatcher::run(Arc::clone(self)));
        }
    }

    fn leave(&self) {
        self.state().subscribers -= 1;
        self.refresh.notify_one();
    }

    /// Waits for a poll that began after this call and found the end of the feed.
    ///
    /// The ring then ends behind every change that was committed before the call, on any backend and without comparing
    /// positions, which not every backend can.
    async fn wait_for_fresh_poll(self: &Arc<Self>) {
        let next = self.state().poll + 1;
        let mut polled = self.polled.subscribe();
        self.refresh.notify_one();
        // Not `wait_for`: its condition runs under the channel's lock, and this one takes the hub's.
        loop {
            let reached = *polled.borrow_and_update() >= next;
            if reached || self.failure().is_some() || polled.changed().await.is_err() {
                return;
            }
        }
    }

    /// The dispatcher gives up: every stream ends with the error instead of waiting for ever.
    fn fail(&self, error: &Error) {
        let message = error.message().unwrap_or("the change feed cannot be read").to_owned();
        let waiting = {
            let mut state = self.state();
            state.running = false;
            state.failure = Some(Failure { kind: error.kind(), message });
            state.ring.waiting()
        };
        self.polled.send_modify(|_| {});
        waiting.iter().for_each(|news| news.notify_waiters());
    }

    fn failure(&self) -> Option<Error> {
        let failure = self.state().failure.clone()?;
        Some(Error::new(failure.kind, "watch").with_message(failure.message))
    }
}
