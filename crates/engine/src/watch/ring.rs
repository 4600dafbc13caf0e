//! The last changes in memory, with an index per watched collection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use syntrix_storage_core::backend::{Change, Feed};
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
#[derive(Clone, Debug)]
pub(super) struct TopicKey(Option<CollectionPath>);

/// No collection has this name.
const EVERYTHING: &str = "";

impl TopicKey {
    pub(super) fn new(collection: Option<&CollectionPath>) -> Self {
        Self(collection.cloned())
    }

    fn name(&self) -> &str {
        self.0.as_ref().map_or(EVERYTHING, CollectionPath::as_str)
    }

    pub(super) fn selects(&self, change: &Change) -> bool {
        self.0.as_ref().is_none_or(|collection| {
            collection.as_str() == change.document.path().collection_text()
        })
    }
}

/// The changes of one topic, by their number in the ring.
#[derive(Debug)]
struct Topic {
    numbers: VecDeque<u64>,
    /// Of the numbers below this one the topic knows nothing: it was not open, or they have left the ring.
    known_from: u64,
    subscribers: usize,
    /// The last publication that brought something.
    publication: u64,
    news: Arc<Notify>,
}

impl Topic {
    /// Lets go of what has left the ring, also when nobody reads the topic.
    ///
    /// A topic that nothing was dropped from stays known however far the ring has moved on.
    fn forget_below(&mut self, first: u64) {
        while self.numbers.front().is_some_and(|front| *front < first) {
            self.numbers.pop_front();
            self.known_from = first;
        }
    }
}

/// Numbers changes as they come and forgets the oldest beyond its bounds.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<Arc<Entry>>,
    first: u64,
    bytes: usize,
    changes_max: usize,
    /// By collection; under [`EVERYTHING`] the one of those who watch all of them.
    topics: HashMap<String, Topic>,
    publication: u64,
    /// The place behind the last change that was read.
    pub(super) position: Position,
    pub(super) commit_time: Timestamp,
    /// The place up to which everything was read when it was, and the number behind it.
    settled: (Position, u64),
}

impl Default for Ring {
    fn default() -> Self {
        Self::with_changes_max(CHANGES_MAX)
    }
}

/// What a topic has for a subscriber.
pub(super) enum Reading {
    /// Changes in order, and the number to continue at.
    Changes(VecDeque<Arc<Entry>>, u64),
    /// Nothing; everything up to this place was read.
    Nothing { end: u64, position: Position, commit_time: Timestamp },
    /// The subscriber's next change has left the ring.
    Behind,
}

impl Ring {
    pub(super) fn with_changes_max(changes_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            changes_max,
            topics: HashMap::new(),
            publication: 0,
            position: Position::default(),
            commit_time: Timestamp::default(),
            settled: (Position::default(), 0),
        }
    }

    /// Starts over at `position`: what was kept belongs to another run of the dispatcher.
    pub(super) fn restart(&mut self, position: Position, commit_time: Timestamp) {
        // One number is left out for the gap between the runs, which was never in the ring.
        self.first = self.end() + 1;
        self.entries = VecDeque::new();
        self.bytes = 0;
        (self.position, self.commit_time) = (position, commit_time);
        self.settle();
        for topic in self.topics.values_mut() {
            topic.numbers.clear();
            topic.known_from = self.first;
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Adds changes up to the place `end` and returns who waits for them, each once.
    pub(super) fn publish(&mut self, entries: Vec<Arc<Entry>>, end: Position) -> Vec<Arc<Notify>> {
        let mut wake = Vec::new();
        self.publication += 1;
        for entry in entries {
            let number = self.end();
            self.commit_time = entry.change.commit_time;
            self.bytes += entry.bytes();
            self.note(entry.change.document.path().collection_text(), number, &mut wake);
            self.note(EVERYTHING, number, &mut wake);
            self.entries.push_back(entry);
            self.forget_oldest();
        }
        self.position = end;
        wake
    }

    /// Remembers that there was nothing behind the present end.
    pub(super) fn settle(&mut self) {
        self.settled = (self.position.clone(), self.end());
    }

    /// Where history may be read up to, and the number behind that place.
    ///
    /// Not the present end: that may lie in the middle of what the backend gives out in several pages, and on a backend whose
    /// places are snapshots an older place can hold changes that such an end does not hold yet.
    pub(super) fn settled(&self) -> (Position, u64) {
        self.settled.clone()
    }

    fn note(&mut self, name: &str, number: u64, wake: &mut Vec<Arc<Notify>>) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.forget_below(self.first);
        topic.numbers.push_back(number);
        if topic.publication != self.publication {
            topic.publication = self.publication;
            wake.push(Arc::clone(&topic.news));
        }
    }

    fn forget_oldest(&mut self) {
        while self.entries.len() > self.changes_max || self.bytes > BYTES_MAX {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.bytes();
            self.first += 1;
        }
    }

    /// Everybody who waits for news, to be told that none will come.
    pub(super) fn waiting(&self) -> Vec<Arc<Notify>> {
        self.topics.values().map(|topic| Arc::clone(&topic.news)).collect()
    }

    /// How many topics somebody listens to.
    pub(super) fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Makes the topic remember changes from now on.
    pub(super) fn open_topic(&mut self, key: &TopicKey) -> Arc<Notify> {
        let known_from = self.end();
        let topic = self.topics.entry(key.name().to_owned()).or_insert_with(|| Topic {
            numbers: VecDeque::new(),
            known_from,
            subscribers: 0,
            publication: 0,
            news: Arc::default(),
        });
        topic.subscribers += 1;
        Arc::clone(&topic.news)
    }

    pub(super) fn close_topic(&mut self, key: &TopicKey) {
        if let Some(topic) = self.topics.get_mut(key.name()) {
            topic.subscribers -= 1;
            if topic.subscribers == 0 {
                self.topics.remove(key.name());
            }
        }
    }

    /// The number at which an open topic goes on behind `from`, if it knows everything from there on.
    pub(super) fn join(&self, key: &TopicKey, from: &Feed) -> Option<u64> {
        let Feed::After(position) = from else { return None };
        let number = self.number_behind(position)?;
        self.topics.get(key.name()).filter(|topic| topic.known_from <= number).map(|_| number)
    }

    /// Positions are compared for equality only: where their sequences are not in order, the search just finds nothing.
    fn number_behind(&self, position: &Position) -> Option<u64> {
        if *position == self.position {
            return Some(self.end());
        }
        let before = |entry: &Arc<Entry>| entry.change.position.sequence < position.sequence;
        let index = self.entries.partition_point(before);
        let entry = self.entries.get(index)?;
        (entry.change.position == *position).then_some(self.first + index as u64 + 1)
    }

    /// Reads up to `limit` changes of a topic from `number` on.
    pub(super) fn read(&mut self, key: &TopicKey, number: u64, limit: usize) -> Reading {
        let (first, end) = (self.first, self.end());
        let Some(topic) = self.topics.get_mut(key.name()) else { return Reading::Behind };
        topic.forget_below(first);
        if number < topic.known_from {
            return Reading::Behind;
        }
        let start = topic.numbers.partition_point(|known| *known < number);
        let numbers = topic.numbers.range(start..).take(limit);
        let entry = |number: &u64| self.entries.get((number - first) as usize).cloned();
        match numbers.clone().next_back() {
            None => {
                let (position, commit_time) = (self.position.clone(), self.commit_time);
                Reading::Nothing { end, position, commit_time }
            }
            Some(last) => Reading::Changes(numbers.filter_map(entry).collect(), last + 1),
        }
    }
}
