//! One watch stream: reads history until it meets the ring, then the ring.

use std::collections::VecDeque;
use std::sync::Arc;

use syntrix_storage_core::backend::Feed;
use syntrix_storage_core::{
    CollectionPath, Error, ErrorKind, Event, Position, Result, ResumeToken, Timestamp, WatchItem,
    WatchOptions,
};
use tokio::sync::Notify;
use tokio::task::consume_budget;
use tokio::time::Instant;

use super::ring::{Entry, Reading, TopicKey};
use super::sync::{sleep, sleep_until};
use super::{Hub, State, is_passing};
use crate::gate::{Closing, closed};

/// Changes taken at once, from the ring or from history: the bound of what a subscriber holds. Two in the
/// model test, so that it sees the borders of pages.
const READ_MAX: usize = if cfg!(test) { 2 } else { 256 };
/// The backend answers a poll at least twice a second when it is well; three missed ones are silence.
const ANSWER_AGE_MAX: std::time::Duration = std::time::Duration::from_secs(3);

pub(super) struct Subscriber {
    hub: Arc<Hub>,
    closing: Closing,
    topic: TopicKey,
    options: WatchOptions,
    mode: Mode,
    /// Where to continue if history has to be read again.
    from: Feed,
    pending: VecDeque<Arc<Entry>>,
    topic_open: Option<Arc<Notify>>,
    /// When what was read at once had been handed out. Not read per item: the clock would be a visible part of each.
    served_at: Instant,
}

enum Mode {
    /// Has to find out where the ring ends.
    Detached,
    /// Reads history up to the place `until`, behind which the ring goes on at `number`.
    CatchingUp { until: Position, number: u64 },
    /// Reads the ring from `number` on.
    Live { number: u64 },
}

impl Subscriber {
    pub(super) fn new(
        hub: Arc<Hub>,
        collection: Option<&CollectionPath>,
        from: Feed,
        options: WatchOptions,
    ) -> Self {
        hub.join();
        Self {
            closing: hub.closing.clone(),
            topic: TopicKey::new(collection),
            mode: Mode::Detached,
            from,
            options,
            pending: VecDeque::new(),
            topic_open: None,
            served_at: Instant::now(),
            hub,
        }
    }

    /// The next event or bookmark. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<WatchItem> {
        if let Some(item) = self.next_at_hand()? {
            return Ok(item);
        }
        if self.served_at.elapsed() > self.options.idle_timeout {
            return Err(abandoned(&self.options));
        }
        let mut closing = self.closing.clone();
        let item = tokio::select! {
            biased;
            () = closing.wait() => Err(closed("watch")),
            item = self.advance() => item,
        };
        self.served_at = Instant::now();
        item
    }

    /// What was read before, without any waiting. It is there for who comes late, too: it holds up nobody.
    pub(super) fn next_at_hand(&mut self) -> Result<Option<WatchItem>> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        if self.closing.is_closing() {
            return Err(closed("watch"));
        }
        let item = self.take_pending();
        if self.pending.is_empty() {
            self.served_at = Instant::now();
        }
        Ok(item)
    }

    fn take_pending(&mut self) -> Option<WatchItem> {
        while let Some(entry) = self.pending.pop_front() {
            if let Some(item) = self.deliver(&entry) {
                return Some(item);
            }
        }
        // An idle subscriber keeps no room for the burst it has seen.
        self.pending = VecDeque::new();
        None
    }

    async fn advance(&mut self) -> Result<WatchItem> {
        let due = self.served_at + self.options.heartbeat;
        loop {
            if let Some(item) = self.take_pending() {
                return Ok(item);
            }
            // Where there is always more, the other tasks of the thread have their turn between two pages.
            consume_budget().await;
            match self.mode {
                Mode::Detached => self.find_boundary().await,
                Mode::CatchingUp { .. } => self.read_history().await?,
                Mode::Live { .. } => {
                    if let Some(bookmark) = self.read_ring(due).await {
                        return Ok(bookmark);
                    }
                }
            }
            if self.closing.is_closing() {
                return Err(closed("watch"));
            }
            if let Some(error) = self.hub.failure() {
                return Err(error);
            }
        }
    }

    fn deliver(&mut self, entry: &Entry) -> Option<WatchItem> {
        let change = &entry.change;
        self.from = Feed::After(change.position.clone());
        if !self.options.types.contains(&change.event_type) {
            return None;
        }
        Some(WatchItem::Event(Event {
            event_type: change.event_type,
            document: change.document.clone(),
            before: change.before.clone().filter(|_| self.options.before),
            commit_time: change.commit_time,
            token: entry.token(self.hub.backend.token_seal()),
        }))
    }

    /// Goes on in the ring if it holds the place; otherwise history is read up to the ring's present end.
    async fn find_boundary(&mut self) {
        let hub = Arc::clone(&self.hub);
        if self.join(&mut hub.state()) {
            return;
        }
        hub.wait_for_fresh_poll().await;
        let mut state = hub.state();
        if !self.join(&mut state) {
            let (until, number) = state.ring.settled();
            self.mode = Mode::CatchingUp { until, number };
        }
    }

    /// From the first call on the ring keeps the topic's changes.
    fn join(&mut self, state: &mut State) -> bool {
        if self.topic_open.is_none() {
            self.topic_open = Some(state.ring.open_topic(&self.topic));
        }
        let number = state.ring.join(&self.topic, &self.from);
        if let Some(number) = number {
            self.mode = Mode::Live { number };
        }
        number.is_some()
    }

    /// Reads one page of history; the last one leads into the ring.
    async fn read_history(&mut self) -> Result<()> {
        let Mode::CatchingUp { until, number } = &self.mode else { return Ok(()) };
        let page = {
            let _reader = self.hub.catch_up.acquire().await;
            self.hub.backend.feed(&self.from, Some(until), READ_MAX).await
        };
        let page = match page {
            Ok(page) => page,
            Err(error) if is_passing(&error) => return self.wait_for_backend().await,
            Err(error) => return Err(error),
        };
        if !page.more {
            self.mode = Mode::Live { number: *number };
        }
        let matching = page.changes.into_iter().filter(|change| self.topic.selects(change));
        self.pending = matching.map(|change| Arc::new(Entry::new(change))).collect();
        if self.pending.is_empty() {
            self.from = Feed::After(page.end);
        }
        Ok(())
    }

    /// The backend is away; the dispatcher tells when it answers again.
    async fn wait_for_backend(&mut self) -> Result<()> {
        self.hub.wait_for_fresh_poll().await;
        Ok(())
    }

    /// Takes what the ring has, or waits; a bookmark if nothing came until `due`.
    async fn read_ring(&mut self, due: Instant) -> Option<WatchItem> {
        let Mode::Live { number } = self.mode else { return None };
        let news = self.topic_open.clone()?;
        let mut woken = std::pin::pin!(news.notified());
        // Listening before looking: a change between the two wakes us.
        woken.as_mut().enable();
        match self.look(number) {
            Reading::Behind => {
                self.mode = Mode::Detached;
                return None;
            }
            Reading::Changes(entries, next) => {
                self.pending = entries;
                self.mode = Mode::Live { number: next };
                return None;
            }
            Reading::Nothing { end, position, .. } => {
                self.mode = Mode::Live { number: end };
                self.from = Feed::After(position);
            }
        }
        tokio::select! {
            () = woken => None,
            () = sleep_until(due) => self.bookmark().await,
        }
    }

    fn look(&self, number: u64) -> Reading {
        self.hub.state().ring.read(&self.topic, number, READ_MAX)
    }

    /// A sign of life, unless there is news after all or the backend is silent.
    async fn bookmark(&mut self) -> Option<WatchItem> {
        if !self.backend_answers() {
            sleep(self.options.heartbeat.min(ANSWER_AGE_MAX)).await;
            return None;
        }
        let Mode::Live { number } = self.mode else { return None };
        match self.look(number) {
            Reading::Nothing { end, position, commit_time } => {
                self.mode = Mode::Live { number: end };
                let token = self.seal(&position, commit_time);
                self.from = Feed::After(position);
                Some(WatchItem::Bookmark { token })
            }
            _ => None,
        }
    }

    fn backend_answers(&self) -> bool {
        self.hub.state().answered_at.is_some_and(|at| at.elapsed() < ANSWER_AGE_MAX)
    }

    fn seal(&self, position: &Position, commit_time: Timestamp) -> ResumeToken {
        self.hub.backend.token_seal().seal(position, commit_time)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if self.topic_open.is_some() {
            self.hub.state().ring.close_topic(&self.topic);
        }
        self.hub.leave();
    }
}

fn abandoned(options: &WatchOptions) -> Error {
    Error::new(ErrorKind::Timeout, "watch")
        .with_message("nobody read the stream for its idle timeout; resume with the last token")
        .with_fact("idle_timeout_ms", options.idle_timeout.as_millis())
}
