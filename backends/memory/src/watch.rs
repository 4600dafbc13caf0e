//! The change log: what was committed, in order, as far back as its bounds reach.

use std::collections::VecDeque;

use syntrix_storage_core::backend::{Change, Feed, FeedPage};
use syntrix_storage_core::{
    Document, Error, EventType, ExpiredReason, Position, Result, Timestamp, TokenSeal,
};

/// The backend's number in tokens.
const TOKEN_KIND: u8 = 1;
/// Bounds beside the age, so that a store that nobody trims cannot eat the machine.
const CHANGES_MAX: usize = 1_000_000;
const BYTES_MAX: usize = 256 << 20;

/// The seal of a store that lives in one process.
///
/// Key and store id are the same in every process, on purpose. A position is worth nothing to a forger, who could only read
/// what he may read anyway; and a token from before a restart has to open, so that its other epoch is seen and the caller
/// learns that the store was restarted instead of being told that the token is damaged.
pub(crate) fn token_seal(namespace: Option<&str>, epoch: u64) -> TokenSeal {
    let namespace = namespace.unwrap_or_default().as_bytes();
    let id = blake3::derive_key("syntrix-storage memory backend, store id", namespace);
    let key = blake3::derive_key("syntrix-storage memory backend, token key", namespace);
    let mut store_id = [0; 8];
    store_id.copy_from_slice(&id[..8]);
    TokenSeal::new(TOKEN_KIND, store_id, epoch, key)
}

/// Changes in commit order. Numbers start at 1 and leave no gap.
#[derive(Debug)]
pub(crate) struct Log {
    changes: VecDeque<Change>,
    /// The last change that was forgotten: the oldest place from which a reader can still continue.
    floor: Position,
    /// The last change that was committed, and when.
    last: Position,
    last_time: Timestamp,
    bytes: usize,
    changes_max: usize,
    bytes_max: usize,
    random: fastrand::Rng,
}

impl Log {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            changes: VecDeque::new(),
            floor: Position::default(),
            last: Position::default(),
            last_time: Timestamp::default(),
            bytes: 0,
            changes_max: CHANGES_MAX,
            bytes_max: BYTES_MAX,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Notes that `document` was stored over `previous`.
    pub(crate) fn push(&mut self, previous: Option<Document>, document: Document, now: Timestamp) {
        let before = previous.filter(|document| !document.is_deleted());
        let nonce = self.random.u64(1..);
        self.last = Position { sequence: self.last.sequence + 1, nonce, state: Vec::new() };
        self.last_time = now.max(self.last_time);
        let change = Change {
            event_type: event_type(before.is_some(), &document),
            document,
            before,
            commit_time: self.last_time,
            position: self.last.clone(),
        };
        self.bytes += bytes_of(&change);
        self.changes.push_back(change);
        while self.changes.len() > self.changes_max || self.bytes > self.bytes_max {
            self.forget_oldest();
        }
    }

    /// The place behind the last change, and its time.
    pub(crate) fn end(&self) -> (Position, Timestamp) {
        (self.last.clone(), self.last_time)
    }

    /// How many changes are kept.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Changes behind `from`, at most `limit`, none behind `until`.
    pub(crate) fn read(
        &self,
        from: &Feed,
        until: Option<&Position>,
        limit: usize,
    ) -> Result<FeedPage> {
        let start = match from {
            Feed::Oldest => self.floor.clone(),
            Feed::After(position) => self.check(position)?.clone(),
        };
        let skipped = self.count_until(start.sequence);
        let ready = match until {
            Some(until) => self.count_until(until.sequence).saturating_sub(skipped),
            None => self.changes.len() - skipped,
        };
        let count = ready.min(limit);
        let changes: Vec<_> = self.changes.range(skipped..skipped + count).cloned().collect();
        let end = changes.last().map_or(start, |change| change.position.clone());
        Ok(FeedPage { changes, end, more: ready > count })
    }

    /// How many kept changes have a number up to `sequence`.
    fn count_until(&self, sequence: u64) -> usize {
        let count = sequence.saturating_sub(self.floor.sequence);
        usize::try_from(count).map_or(self.changes.len(), |count| count.min(self.changes.len()))
    }

    /// Whether the place lies in this history and nothing behind it was forgotten.
    fn check<'position>(&self, position: &'position Position) -> Result<&'position Position> {
        if position.sequence < self.floor.sequence {
            let oldest = self.changes.front().map(|change| change.commit_time);
            return Err(Error::token_expired(ExpiredReason::Trimmed, oldest));
        }
        let known = match self.count_until(position.sequence).checked_sub(1) {
            None => &self.floor,
            Some(index) => &self.changes[index].position,
        };
        if known == position {
            return Ok(position);
        }
        Err(Error::token_expired(ExpiredReason::Diverged, None))
    }

    /// Forgets changes committed before `before`, at most `limit`.
    pub(crate) fn trim(&mut self, before: Timestamp, limit: usize) -> usize {
        let old = self.changes.iter().take(limit).take_while(|change| change.commit_time < before);
        let count = old.count();
        (0..count).for_each(|_| self.forget_oldest());
        count
    }

    fn forget_oldest(&mut self) {
        if let Some(change) = self.changes.pop_front() {
            self.bytes -= bytes_of(&change);
            self.floor = change.position;
        }
    }
}

fn event_type(was_live: bool, document: &Document) -> EventType {
    match (was_live, document.is_deleted()) {
        (_, true) => EventType::Delete,
        (false, false) => EventType::Create,
        (true, false) => EventType::Update,
    }
}

/// An upper bound: the image before is shared with the change that made it.
fn bytes_of(change: &Change) -> usize {
    let image = |document: &Document| document.raw().len() + document.path().as_str().len();
    size_of::<Change>() + image(&change.document) + change.before.as_ref().map_or(0, image)
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::{Body, DocumentPath};

    use super::*;

    fn log_of(count: i64) -> Log {
        let mut log = Log::new(1);
        for number in 1..=count {
            let path = DocumentPath::parse(&format!("c/{number}")).unwrap();
            let now = Timestamp::from_milliseconds(number);
            log.push(None, Document::first(path, now, Body::from_canonical("{}")), now);
        }
        log
    }

    fn sequences(log: &Log) -> Vec<u64> {
        let page = log.read(&Feed::Oldest, None, 100).unwrap();
        page.changes.iter().map(|change| change.position.sequence).collect()
    }

    #[test]
    fn the_oldest_changes_go_when_there_are_too_many() {
        let mut log = log_of(0);
        log.changes_max = 3;
        for number in 1..=5 {
            let path = DocumentPath::parse("c/1").unwrap();
            let now = Timestamp::from_milliseconds(number);
            log.push(None, Document::first(path, now, Body::from_canonical("{}")), now);
        }
        assert_eq!(sequences(&log), [3, 4, 5]);
    }

    #[test]
    fn the_oldest_changes_go_when_they_hold_too_many_bytes() {
        let mut log = log_of(4);
        log.bytes_max = log.bytes / 2;
        let path = DocumentPath::parse("c/5").unwrap();
        let now = Timestamp::from_milliseconds(5);
        log.push(None, Document::first(path, now, Body::from_canonical("{}")), now);
        assert_eq!(sequences(&log), [4, 5]);
        assert_eq!(log.bytes, log.changes.iter().map(bytes_of).sum::<usize>());
    }

    #[test]
    fn commit_times_never_go_back_when_the_clock_does() {
        let mut log = log_of(3);
        let path = DocumentPath::parse("c/late").unwrap();
        let now = Timestamp::from_milliseconds(1);
        log.push(None, Document::first(path, now, Body::from_canonical("{}")), now);
        assert_eq!(log.end().1, Timestamp::from_milliseconds(3));
    }
}
