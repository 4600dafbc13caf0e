//! Which accounts were written last: one number for each, from a count of all writes.

use std::collections::{BTreeMap, HashMap};

use syntrix_storage_core::{Error, ExpiredReason, Position, Result, UserId};
use tokio::sync::watch;

/// The last write of every account.
#[derive(Debug)]
pub(crate) struct Journal {
    by_number: BTreeMap<u64, UserId>,
    numbers: HashMap<UserId, u64>,
    last: watch::Sender<u64>,
}

/// Ids in the order of their last writes.
pub(crate) struct Page {
    pub(crate) ids: Vec<UserId>,
    pub(crate) end: Position,
    pub(crate) more: bool,
}

impl Default for Journal {
    fn default() -> Self {
        Self { by_number: BTreeMap::new(), numbers: HashMap::new(), last: watch::Sender::new(0) }
    }
}

impl Journal {
    /// Notes a write of `id`, and tells who waits for it.
    pub(crate) fn note(&mut self, id: UserId) {
        let number = *self.last.borrow() + 1;
        if let Some(old) = self.numbers.insert(id.clone(), number) {
            self.by_number.remove(&old);
        }
        self.by_number.insert(number, id);
        self.last.send_replace(number);
    }

    /// The place behind the last write.
    pub(crate) fn end(&self) -> Position {
        place(*self.last.borrow())
    }

    /// Hears the number of each write.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// At most `limit` accounts behind `from`.
    pub(crate) fn since(&self, from: &Position, limit: usize) -> Result<Page> {
        if from.sequence > *self.last.borrow() {
            return Err(Error::token_expired(ExpiredReason::Diverged, None));
        }
        let mut behind = self.by_number.range(from.sequence + 1..);
        let taken: Vec<_> = behind.by_ref().take(limit.max(1)).collect();
        let end = taken.last().map_or_else(|| from.clone(), |(number, _)| place(**number));
        let ids = taken.into_iter().map(|(_, id)| id.clone()).collect();
        Ok(Page { ids, end, more: behind.next().is_some() })
    }
}

fn place(sequence: u64) -> Position {
    Position { sequence, ..Position::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_stands_where_it_was_written_last() {
        let mut journal = Journal::default();
        let id = |text| UserId::parse(text).expect("id");
        let beginning = journal.end();
        ["a", "b", "c", "a"].map(id).into_iter().for_each(|id| journal.note(id));
        let page = journal.since(&beginning, 2).expect("page");
        assert_eq!((page.ids, page.more), (vec![id("b"), id("c")], true));
        let rest = journal.since(&page.end, 2).expect("rest");
        assert_eq!((rest.ids, rest.more, rest.end), (vec![id("a")], false, journal.end()));
        let ahead = Position { sequence: 9, ..Position::default() };
        assert!(journal.since(&ahead, 1).is_err());
    }
}
