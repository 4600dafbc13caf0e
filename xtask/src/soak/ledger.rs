//! What must be true: acknowledgements, events and stored documents held against each other.
//!
//! Knows nothing of stores, so its own verdicts are tested without one.

use std::collections::{BTreeMap, BTreeSet};

use super::fingerprint::Fingerprint;
use super::journal::Entry;
use crate::failure::{Failure, Result};

/// Everything that was acknowledged and everything the feed showed.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    acknowledged: Vec<Entry>,
    /// Per document, what each version left; version 1 comes first.
    histories: BTreeMap<String, Vec<Fingerprint>>,
    /// How many of `acknowledged` were found in the feed already.
    settled: usize,
    /// Path and version of those.
    told: BTreeSet<(String, i64)>,
}

impl Ledger {
    /// Takes down what a writer was told.
    pub(super) fn acknowledge(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.acknowledged.extend(entries);
    }

    /// The same acknowledgements, for a feed that is read again from its beginning.
    pub(super) fn without_events(&self) -> Self {
        Self { acknowledged: self.acknowledged.clone(), ..Self::default() }
    }

    /// Takes the next event of the feed.
    ///
    /// # Errors
    ///
    /// When it is not the next version of its document: lost, doubled or out of order.
    pub(super) fn event(&mut self, path: &str, version: i64, left: Fingerprint) -> Result<()> {
        let history = self.histories.entry(path.to_owned()).or_default();
        let next = history.len() as i64 + 1;
        if version != next {
            return Err(Failure::new(format!(
                "the feed brought version {version} of {path} where version {next} is next"
            )));
        }
        history.push(left);
        Ok(())
    }

    /// Checks that every write acknowledged so far is exactly one event. Call when the feed was read to its end.
    ///
    /// # Errors
    ///
    /// When one is missing, differs, or two were told the same version.
    pub(super) fn settle(&mut self) -> Result<()> {
        for entry in &self.acknowledged[self.settled..] {
            self.check(entry)?;
            if !self.told.insert((entry.path.clone(), entry.version)) {
                return Err(broken(entry, "was told to two writers"));
            }
        }
        self.settled = self.acknowledged.len();
        Ok(())
    }

    fn check(&self, entry: &Entry) -> Result<()> {
        match self.histories.get(&entry.path).and_then(|history| at(history, entry)) {
            None => Err(broken(entry, "was acknowledged and is lost")),
            Some(left) if *left != entry.left => Err(broken(entry, "is not what was acknowledged")),
            Some(_) => Ok(()),
        }
    }

    /// Compares the stored documents, tombstones included, with the last event of each.
    ///
    /// # Errors
    ///
    /// When one is missing, unknown to the feed, or not what its last event said.
    pub(super) fn compare(&self, stored: &BTreeMap<String, (i64, Fingerprint)>) -> Result<()> {
        for (path, history) in &self.histories {
            let expected = history.last().map(|left| (history.len() as i64, left.clone()));
            let found = stored.get(path);
            if found != expected.as_ref() {
                let found = found.map(|(version, _)| version);
                return Err(Failure::new(format!(
                    "{path} is stored with version {found:?}, its last event has {}",
                    history.len()
                )));
            }
        }
        match stored.keys().find(|path| !self.histories.contains_key(*path)) {
            Some(path) => {
                Err(Failure::new(format!("{path} is stored and the feed never brought it")))
            }
            None => Ok(()),
        }
    }

    /// Number of acknowledged writes.
    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Number of events.
    pub(super) fn events(&self) -> usize {
        self.histories.values().map(Vec::len).sum()
    }

    /// Number of documents.
    pub(super) fn documents(&self) -> usize {
        self.histories.len()
    }
}

fn broken(entry: &Entry, what: &str) -> Failure {
    Failure::new(format!("version {} of {} {what}", entry.version, entry.path))
}

/// What the version of `entry` left, if there is that version.
fn at<'a>(history: &'a [Fingerprint], entry: &Entry) -> Option<&'a Fingerprint> {
    usize::try_from(entry.version).ok()?.checked_sub(1).and_then(|index| history.get(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Fingerprint {
        Fingerprint::Data(text.into())
    }

    fn told(version: i64, left: Fingerprint) -> Entry {
        Entry { path: "a".into(), version, left }
    }

    /// Created, updated, deleted; the middle write was never acknowledged.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.acknowledge([told(1, data("x")), told(3, Fingerprint::Deleted)]);
        for (version, left) in [(1, data("x")), (2, data("y")), (3, Fingerprint::Deleted)] {
            ledger.event("a", version, left).unwrap();
        }
        ledger
    }

    fn stored(version: i64, left: Fingerprint) -> BTreeMap<String, (i64, Fingerprint)> {
        BTreeMap::from([("a".to_owned(), (version, left))])
    }

    fn says<T: std::fmt::Debug>(result: Result<T>, part: &str) {
        let failure = result.unwrap_err().to_string();
        assert!(failure.contains(part), "{failure}");
    }

    #[test]
    fn an_honest_store_passes_also_with_a_write_nobody_was_told_of() {
        let mut ledger = ledger();
        ledger.settle().unwrap();
        ledger.compare(&stored(3, Fingerprint::Deleted)).unwrap();
    }

    #[test]
    fn a_lost_write_is_found() {
        let mut ledger = ledger();
        ledger.settle().unwrap();
        ledger.acknowledge([told(4, data("z"))]);
        says(ledger.settle(), "version 4 of a was acknowledged and is lost");
    }

    #[test]
    fn a_write_that_became_another_is_found() {
        let mut ledger = ledger();
        ledger.acknowledge([told(2, data("w"))]);
        says(ledger.settle(), "not what was acknowledged");
    }

    #[test]
    fn a_version_told_twice_is_found_also_in_different_lives_of_the_writer() {
        let mut ledger = ledger();
        ledger.settle().unwrap();
        ledger.acknowledge([told(1, data("x"))]);
        says(ledger.settle(), "told to two writers");
    }

    #[test]
    fn a_gap_a_repeat_and_a_reordered_event_are_found() {
        says(ledger().event("a", 5, data("z")), "version 5 of a where version 4 is next");
        says(ledger().event("a", 3, Fingerprint::Deleted), "where version 4 is next");
        says(ledger().event("b", 2, data("z")), "where version 1 is next");
    }

    #[test]
    fn a_stored_document_that_is_not_its_last_event_is_found() {
        says(ledger().compare(&stored(2, data("y"))), "a is stored with version Some(2)");
        says(ledger().compare(&stored(3, data("y"))), "a is stored");
        says(ledger().compare(&BTreeMap::new()), "version None");
        let mut more = stored(3, Fingerprint::Deleted);
        more.insert("b".into(), (1, data("z")));
        says(ledger().compare(&more), "b is stored and the feed never brought it");
    }

    #[test]
    fn a_feed_read_afresh_is_held_to_the_same_acknowledgements() {
        let mut afresh = ledger().without_events();
        says(afresh.settle(), "lost");
    }
}
