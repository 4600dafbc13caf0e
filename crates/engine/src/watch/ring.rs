//! The last changes in memory, with an index per watched collection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use syntrix_storage_core::backend::Change;
use syntrix_storage_core::{CollectionPath, Position, ResumeToken, Timestamp, TokenSeal};
use tokio::sync::Notify;

const CHANGES_MAX: usize = 65_536;
const BYTES_MAX: usize = 64 << 20;

/// A change that many subscribers share; its token is sealed once.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) change: Change,
    token: OnceLock<ResumeToken>,
}

impl Entry {
    pub(super) fn new(change: Change) -> Self {
        Self { change, token: OnceLock::new() }
    }

    pub(super) fn token(&self, seal: &TokenSeal) -> ResumeToken {
        let Change { position, commit_time, .. } = &self.change;
        self.token.get_or_init(|| seal.seal(position, *commit_time)).clone()
    }

    fn bytes(&self) -> usize {
        let before = self.change.before.as_ref().map_or(0, |document| document.raw().len());
        self.change.document.raw().len() + before + size_of::<Self>()
    }
}

/// What a subscriber listens to: one collection, or everything.
pub(super) type TopicKey = Option<CollectionPath>;

/// The changes of one topic, by their number in the ring.
#[derive(Debug, Default)]
pub(super) struct Topic {
    numbers: VecDeque<u64>,
    /// Every number below this one has left the topic.
    dropped_below: u64,
    subscribers: usize,
    pub(super) news: Arc<Notify>,
}

impl Topic {
    /// Lets go of what has left the ring, also when nobody reads the topic.
    fn forget_below(&mut self, first: u64) {
        while self.numbers.front().is_some_and(|front| *front < first) {
            self.numbers.pop_front();
            self.dropped_below = first;
        }
    }
}

/// Numbers changes as they come and forgets the oldest beyond its bounds.
#[derive(Debug, Default)]
pub(super) struct Ring {
    entries: VecDeque<Arc<Entry>>,
    first: u64,
    bytes: usize,
    topics: HashMap<TopicKey, Topic>,
    /// The place behind the last change that was read.
    pub(super) position: Position,
    pub(super) commit_time: Timestamp,
}

/// What a topic has for a subscriber.
pub(super) enum Reading {
    /// Changes in order, and the number to continue at.
    Changes(Vec<Arc<Entry>>, u64),
    /// Nothing; everything up to this place was read.
    Nothing { end: u64, position: Position, commit_time: Timestamp },
    /// The subscriber's next change has left the ring.
    Behind,
}

impl Ring {
    /// Starts over at `position`: what was kept belongs to another run of the dispatcher.
    pub(super) fn restart(&mut self, position: Position, commit_time: Timestamp) {
        let end = self.end();
        self.entries.clear();
        self.bytes = 0;
        self.first = end;
        (self.position, self.commit_time) = (position, commit_time);
        for topic in self.topics.values_mut() {
            topic.numbers.clear();
            // The gap between the runs was never in the ring.
            topic.dropped_below = end + 1;
        }
        self.first = end + 1;
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Adds a change and returns who waits for it.
    pub(super) fn push(&mut self, change: Change) -> impl Iterator<Item = Arc<Notify>> + use<> {
        let number = self.end();
        let collection = change.document.path().collection();
        self.position = change.position.clone();
        self.commit_time = change.commit_time;
        let entry = Entry::new(change);
        self.bytes += entry.bytes();
        self.entries.push_back(Arc::new(entry));
        let own = self.note(&Some(collection), number);
        let all = self.note(&None, number);
        self.forget_oldest();
        own.into_iter().chain(all)
    }

    fn note(&mut self, key: &TopicKey, number: u64) -> Option<Arc<Notify>> {
        let first = self.first;
        let topic = self.topics.get_mut(key)?;
        topic.forget_below(first);
        topic.numbers.push_back(number);
        Some(Arc::clone(&topic.news))
    }

    fn forget_oldest(&mut self) {
        while self.entries.len() > CHANGES_MAX || self.bytes > BYTES_MAX {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.bytes();
            self.first += 1;
        }
    }

    /// Everybody who waits for news, to be told that none will come.
    pub(super) fn waiting(&self) -> Vec<Arc<Notify>> {
        self.topics.values().map(|topic| Arc::clone(&topic.news)).collect()
    }

    /// Makes the topic remember changes from now on.
    pub(super) fn open_topic(&mut self, key: &TopicKey) -> Arc<Notify> {
        let topic = self.topics.entry(key.clone()).or_default();
        topic.subscribers += 1;
        Arc::clone(&topic.news)
    }

    pub(super) fn close_topic(&mut self, key: &TopicKey) {
        if let Some(topic) = self.topics.get_mut(key) {
            topic.subscribers -= 1;
            if topic.subscribers == 0 {
                self.topics.remove(key);
            }
        }
    }

    /// Reads up to `limit` changes of a topic from `number` on.
    pub(super) fn read(&mut self, key: &TopicKey, number: u64, limit: usize) -> Reading {
        let (first, end) = (self.first, self.end());
        let Some(topic) = self.topics.get_mut(key) else { return Reading::Behind };
        topic.forget_below(first);
        if number < topic.dropped_below {
            return Reading::Behind;
        }
        let start = topic.numbers.partition_point(|known| *known < number);
        let numbers: Vec<_> = topic.numbers.range(start..).take(limit).copied().collect();
        match numbers.last() {
            None => {
                let (position, commit_time) = (self.position.clone(), self.commit_time);
                Reading::Nothing { end, position, commit_time }
            }
            Some(last) => {
                let entry = |number: &u64| self.entries.get((number - first) as usize).cloned();
                Reading::Changes(numbers.iter().filter_map(entry).collect(), last + 1)
            }
        }
    }
}
