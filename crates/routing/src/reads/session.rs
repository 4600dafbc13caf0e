//! What the callers of one handle have seen and the shadow may not have yet.
//!
//! No places of two databases are ever compared. A remembered document is one of which a version was seen that the shadow was
//! not yet seen to have; it is forgotten when the shadow shows that version, or lacks the document behind a barrier as the primary
//! does. What only a barrier can settle (a page that lacks a deleted document, more documents than are remembered) sends every
//! read to the primary until one was passed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use syntrix_storage_core::{Document, DocumentId, DocumentPath, SeenWrite};
use tokio::sync::Notify;

/// Documents remembered one by one; more need a barrier.
const REMEMBERED_MAX: usize = 10_000;
/// Barriers in a row that were passed too late for a newer page; from then on lists wait for one, so that there is no newer page.
const LATE_MAX: u32 = 3;

/// The memory of one handle.
#[derive(Debug, Default)]
pub(crate) struct Session {
    state: Mutex<State>,
    /// Told when there is something to settle.
    pub(crate) news: Notify,
    /// Told when a barrier was passed.
    pub(crate) barriers: Notify,
}

#[derive(Debug, Default)]
struct State {
    seen: HashMap<DocumentId, Seen>,
    /// Where the next look among them begins.
    looked_at: usize,
    /// Counts what is remembered, so that a barrier knows what came before it.
    moment: u64,
    /// A barrier that begins at this moment or later is needed.
    barrier_needed: Option<u64>,
    /// How many barriers in a row left one that is needed.
    late: u32,
}

#[derive(Debug)]
struct Seen {
    write: SeenWrite,
    /// It was seen deleted: a shadow that lacks it shows the same.
    is_tombstone: bool,
    /// When it was remembered.
    moment: u64,
}

/// What is remembered of one document that the shadow lacks.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    pub(crate) path: DocumentPath,
    pub(crate) is_tombstone: bool,
}

impl Session {
    /// A caller is told about `document`.
    pub(crate) fn remember(&self, document: &Document) {
        let write = SeenWrite::of(document);
        let mut state = self.state();
        state.moment += 1;
        let moment = state.moment;
        if let Some(known) = state.seen.get_mut(write.path.key()) {
            // Answers overtake each other: the newest counts, whichever comes last.
            if !is_newer(&known.write, &write) {
                *known = Seen { write, is_tombstone: document.is_deleted(), moment };
            }
        } else if state.seen.len() < REMEMBERED_MAX {
            let is_tombstone = document.is_deleted();
            state.seen.insert(*write.path.key(), Seen { write, is_tombstone, moment });
        } else {
            state.seen.clear();
            state.barrier_needed = Some(moment);
        }
        drop(state);
        self.news.notify_one();
    }

    /// A caller is told what is there and, without a word, what is not.
    pub(crate) fn remember_all(&self) {
        let mut state = self.state();
        state.moment += 1;
        state.barrier_needed = Some(state.moment);
        drop(state);
        self.news.notify_one();
    }

    /// Whether the shadow may be asked for the document at `path`.
    pub(crate) fn allows(&self, path: &DocumentPath) -> bool {
        let state = self.state();
        state.barrier_needed.is_none()
            && (state.seen.is_empty() || !state.seen.contains_key(path.key()))
    }

    /// Whether the shadow may be asked for lists.
    pub(crate) fn allows_all(&self) -> bool {
        let state = self.state();
        state.barrier_needed.is_none() && state.seen.is_empty()
    }

    /// The shadow has `document`.
    pub(crate) fn found(&self, document: &Document) {
        let mut state = self.state();
        let key = *document.path().key();
        if state.seen.get(&key).is_some_and(|known| known.write.is_in(Some(document))) {
            state.seen.remove(&key);
        }
    }

    /// Now, for a barrier that begins.
    pub(crate) fn moment(&self) -> u64 {
        self.state().moment
    }

    /// The shadow has all that was there at `moment`, but for documents that it refuses: single ones stay remembered.
    pub(crate) fn passed(&self, moment: u64) {
        let mut state = self.state();
        state.barrier_needed = state.barrier_needed.filter(|needed| *needed > moment);
        state.late = if state.barrier_needed.is_some() { state.late.saturating_add(1) } else { 0 };
        drop(state);
        self.barriers.notify_waiters();
    }

    /// Whether a list should wait for a barrier rather than make a newer one needed.
    pub(crate) fn is_late(&self) -> bool {
        let state = self.state();
        state.seen.is_empty() && state.barrier_needed.is_some() && state.late >= LATE_MAX
    }

    /// Those of `paths` that are still what was remembered at `moment` or before.
    pub(crate) fn missing(&self, paths: &[DocumentPath], moment: u64) -> Vec<Missing> {
        let state = self.state();
        let seen =
            |path: &DocumentPath| state.seen.get(path.key()).filter(|seen| seen.moment <= moment);
        let missing = |path: &DocumentPath| {
            seen(path).map(|seen| Missing { path: path.clone(), is_tombstone: seen.is_tombstone })
        };
        paths.iter().filter_map(missing).collect()
    }

    /// Neither side has it any more, as of `moment`.
    pub(crate) fn is_gone(&self, path: &DocumentPath, moment: u64) {
        let mut state = self.state();
        if state.seen.get(path.key()).is_some_and(|seen| seen.moment <= moment) {
            state.seen.remove(path.key());
        }
    }

    /// Whether only a barrier helps.
    pub(crate) fn needs_barrier(&self) -> bool {
        self.state().barrier_needed.is_some()
    }

    /// Some of what is remembered, to be looked for on the shadow; others each time, if there are many.
    pub(crate) fn some(&self, limit: usize) -> Vec<DocumentPath> {
        let mut state = self.state();
        let (count, begin) = (state.seen.len(), state.looked_at);
        state.looked_at = if count > limit { (begin + limit) % count } else { 0 };
        let all = state.seen.values().cycle().skip(begin.min(count)).take(limit.min(count));
        all.map(|known| known.write.path.clone()).collect()
    }

    /// Nothing under this lock can panic half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `known` is newer than `other`; of two lives neither is, so that the later answer counts.
fn is_newer(known: &SeenWrite, other: &SeenWrite) -> bool {
    known.created_at >= other.created_at && known.version > other.version
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::{Body, Timestamp};

    use super::*;

    fn document(name: &str, version: i64) -> Document {
        let path = DocumentPath::parse(&format!("rooms/{name}")).unwrap();
        let mut document = Document::first(path, Timestamp::default(), Body::empty());
        for _ in 1..version {
            document = document.replaced(Timestamp::default(), Body::empty());
        }
        document
    }

    #[test]
    fn a_document_is_remembered_until_the_shadow_shows_its_version() {
        let session = Session::default();
        session.remember(&document("a", 3));
        session.remember(&document("a", 2));
        assert!(!session.allows(document("a", 1).path()) && !session.allows_all());
        assert!(session.allows(document("b", 1).path()));
        session.found(&document("a", 2));
        assert!(!session.allows(document("a", 1).path()), "an older version settles nothing");
        session.found(&document("a", 3));
        assert!(session.allows(document("a", 1).path()) && session.allows_all());
    }

    #[test]
    fn a_barrier_settles_no_single_document_and_nothing_later() {
        let session = Session::default();
        session.remember(&document("a", 1));
        session.remember_all();
        let moment = session.moment();
        session.remember_all();
        session.passed(moment);
        assert!(session.needs_barrier(), "a later page needs a later barrier");
        session.passed(session.moment());
        assert!(!session.allows(document("a", 1).path()), "the shadow may refuse it");
        assert!(session.allows(document("b", 1).path()));
    }

    #[test]
    fn what_neither_side_has_is_forgotten_unless_it_was_remembered_later() {
        let session = Session::default();
        let tombstone = document("a", 1).tombstone(Timestamp::default());
        session.remember(&tombstone);
        let (moment, paths) = (session.moment(), [tombstone.path().clone()]);
        assert!(session.missing(&paths, moment)[0].is_tombstone);
        session.remember(&document("a", 3));
        assert!(session.missing(&paths, moment).is_empty());
        session.is_gone(&paths[0], moment);
        assert!(!session.allows(&paths[0]), "it was created again since");
        session.is_gone(&paths[0], session.moment());
        assert!(session.allows_all());
    }

    #[test]
    fn lists_wait_when_barriers_are_always_too_late_for_the_last_page() {
        let session = Session::default();
        session.remember_all();
        for _ in 0..LATE_MAX {
            assert!(!session.is_late());
            let moment = session.moment();
            session.remember_all();
            session.passed(moment);
        }
        assert!(session.is_late());
        session.passed(session.moment());
        assert!(!session.is_late() && session.allows_all());
    }

    #[test]
    fn a_page_of_the_primary_keeps_every_read_there_until_a_barrier() {
        let session = Session::default();
        session.remember_all();
        assert!(!session.allows(document("a", 1).path()) && session.needs_barrier());
        session.passed(session.moment());
        assert!(session.allows(document("a", 1).path()) && session.allows_all());
    }

    #[test]
    fn more_than_can_be_remembered_needs_a_barrier() {
        let session = Session::default();
        for number in 0..=REMEMBERED_MAX {
            session.remember(&document(&number.to_string(), 1));
        }
        assert!(session.needs_barrier() && !session.allows(document("z", 1).path()));
    }
}
