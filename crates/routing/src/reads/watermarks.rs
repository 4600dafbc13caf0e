//! What the callers of one handle have seen, in the primary's own watermarks: for native replicas, which are held against one inside
//! each read.
//!
//! A sight has no watermark at first. Somebody asks the primary for one, which then covers all that was seen before the question:
//! writes pay nothing for it, and many share one question.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::Watermark;
use syntrix_storage_core::{DocumentId, DocumentPath, SeenWrite};
use tokio::sync::Notify;

/// Documents remembered one by one; more become one watermark for all.
const REMEMBERED_MAX: usize = 10_000;
/// Watermarks kept with the moment they were asked for.
const SAMPLES_MAX: usize = 4096;

/// What a read needs of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    /// This much; nothing if `None`.
    Reached(Option<Watermark>),
    /// Not known yet: the primary was not asked since something was seen.
    Unknown,
}

/// The memory of one handle.
#[derive(Debug, Default)]
pub(crate) struct Watermarks {
    state: Mutex<State>,
    /// Told when the primary has to be asked.
    pub(crate) news: Notify,
    /// Told when it was.
    pub(crate) answered: Notify,
}

#[derive(Debug, Default)]
struct State {
    seen: HashMap<DocumentId, Sight>,
    /// Seen and without a watermark, oldest first.
    unknown: VecDeque<(u64, DocumentId)>,
    /// Counts what is seen.
    moment: u64,
    /// When something was seen that concerns every document, and has no watermark yet.
    unknown_all: Option<u64>,
    /// What every read needs.
    floor: Option<Watermark>,
    /// What covers everything that has a watermark.
    newest: Option<Watermark>,
    /// When the primary was asked, and what it had then.
    samples: VecDeque<(Instant, Watermark)>,
}

#[derive(Debug)]
struct Sight {
    write: SeenWrite,
    moment: u64,
    watermark: Option<Watermark>,
}

impl Watermarks {
    /// Begins with what was seen before, whatever it was.
    pub(crate) fn begin() -> Self {
        let marks = Self::default();
        marks.saw_all();
        marks
    }

    /// A caller is told of this version.
    pub(crate) fn saw(&self, write: SeenWrite) {
        let mut state = self.state();
        let key = *write.path.key();
        // Who reads what was remembered already learns nothing new.
        if state.seen.get(&key).is_some_and(|known| known.write == write) {
            return;
        }
        state.moment += 1;
        let moment = state.moment;
        state.make_room();
        state.seen.insert(key, Sight { write, moment, watermark: None });
        state.unknown.push_back((moment, key));
        drop(state);
        self.news.notify_one();
    }

    /// A caller is told what is there and, without a word, what is not.
    pub(crate) fn saw_all(&self) {
        let mut state = self.state();
        state.moment += 1;
        state.unknown_all = Some(state.moment);
        drop(state);
        self.news.notify_one();
    }

    /// Now, for a question that begins; `None` if there is nothing to ask for.
    pub(crate) fn question(&self) -> Option<u64> {
        let state = self.state();
        let is_known = state.unknown.is_empty() && state.unknown_all.is_none();
        (!is_known).then_some(state.moment)
    }

    /// The primary said `watermark` to a question of `moment`, which was asked at `asked`.
    pub(crate) fn learned(&self, moment: u64, asked: Instant, watermark: Watermark) {
        let mut state = self.state();
        state.newest = state.newest.max(Some(watermark));
        while let Some((_, key)) =
            state.unknown.front().copied().filter(|(seen, _)| *seen <= moment)
        {
            state.unknown.pop_front();
            let sight = state.seen.get_mut(&key).filter(|sight| sight.moment <= moment);
            sight.into_iter().for_each(|sight| sight.watermark = Some(watermark));
        }
        if state.unknown_all.is_some_and(|seen| seen <= moment) {
            state.unknown_all = None;
            state.floor = state.floor.max(Some(watermark));
        }
        state.sample(asked, watermark);
        drop(state);
        self.answered.notify_waiters();
    }

    /// What a read of `paths` needs.
    pub(crate) fn needed<'paths>(
        &self,
        mut paths: impl Iterator<Item = &'paths DocumentPath>,
    ) -> Needed {
        let state = self.state();
        let mut needed = state.floor;
        let is_known = paths.all(|path| match state.seen.get(path.key()) {
            Some(sight) => {
                needed = needed.max(sight.watermark);
                sight.watermark.is_some()
            }
            None => true,
        });
        match is_known && state.unknown_all.is_none() {
            true => Needed::Reached(needed),
            false => Needed::Unknown,
        }
    }

    /// What a list needs.
    pub(crate) fn needed_by_all(&self) -> Needed {
        let state = self.state();
        match state.unknown.is_empty() && state.unknown_all.is_none() {
            true => Needed::Reached(state.newest),
            false => Needed::Unknown,
        }
    }

    /// What any replica of this primary has.
    pub(crate) fn least(&self) -> Option<Watermark> {
        self.state().newest.map(|newest| Watermark { timeline: 0, reached: 0, ..newest })
    }

    /// What a replica needs that has everything that was acknowledged `age` ago, if that is known.
    pub(crate) fn needed_by_age(&self, age: Duration) -> Option<Watermark> {
        let state = self.state();
        // The oldest one that is young enough asks for the least.
        let young = state.samples.iter().find(|(asked, _)| asked.elapsed() <= age);
        young.map(|(_, watermark)| *watermark)
    }

    /// Nothing under this lock can panic half-way.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is remembered becomes a need of every read before there is too much of it.
    fn make_room(&mut self) {
        if self.seen.len() < REMEMBERED_MAX {
            return;
        }
        if !self.unknown.is_empty() {
            self.unknown_all = Some(self.moment);
        }
        self.floor = self.newest;
        self.seen.clear();
        self.unknown.clear();
    }

    fn sample(&mut self, asked: Instant, watermark: Watermark) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back((asked, watermark));
    }
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::{Timestamp, Version};

    use super::*;

    fn mark(reached: u64) -> Watermark {
        Watermark { cluster: 1, timeline: 1, reached }
    }

    fn write(name: &str, version: i64) -> SeenWrite {
        let path = DocumentPath::parse(&format!("rooms/{name}")).unwrap();
        SeenWrite { path, version: Version::new(version), created_at: Timestamp::default() }
    }

    fn needed(marks: &Watermarks, name: &str) -> Needed {
        marks.needed([&write(name, 1).path].into_iter())
    }

    /// What was seen before is covered by the first answer.
    fn begun() -> Watermarks {
        let marks = Watermarks::begin();
        assert_eq!(needed(&marks, "a"), Needed::Unknown);
        marks.learned(marks.question().unwrap(), Instant::now(), mark(10));
        marks
    }

    #[test]
    fn each_document_needs_what_covers_its_last_sight() {
        let marks = begun();
        marks.saw(write("a", 1));
        assert_eq!(needed(&marks, "a"), Needed::Unknown);
        assert_eq!(needed(&marks, "b"), Needed::Reached(Some(mark(10))));
        let question = marks.question().unwrap();
        marks.saw(write("a", 2));
        marks.learned(question, Instant::now(), mark(20));
        assert_eq!(needed(&marks, "a"), Needed::Unknown, "it was seen behind the question");
        assert_eq!(marks.needed_by_all(), Needed::Unknown);
        marks.learned(marks.question().unwrap(), Instant::now(), mark(30));
        assert_eq!(needed(&marks, "a"), Needed::Reached(Some(mark(30))));
        assert_eq!(needed(&marks, "b"), Needed::Reached(Some(mark(10))));
        assert_eq!(marks.needed_by_all(), Needed::Reached(Some(mark(30))));
        assert_eq!(marks.question(), None);
    }

    #[test]
    fn what_was_seen_before_is_no_news() {
        let marks = begun();
        marks.saw(write("a", 1));
        marks.learned(marks.question().unwrap(), Instant::now(), mark(20));
        marks.saw(write("a", 1));
        assert_eq!(marks.question(), None);
    }

    #[test]
    fn a_page_of_the_primary_concerns_every_document() {
        let marks = begun();
        marks.saw_all();
        assert_eq!(needed(&marks, "a"), Needed::Unknown);
        marks.learned(marks.question().unwrap(), Instant::now(), mark(20));
        assert_eq!(needed(&marks, "a"), Needed::Reached(Some(mark(20))));
    }

    #[test]
    fn more_than_is_remembered_becomes_a_need_of_all() {
        let marks = begun();
        (0..REMEMBERED_MAX).for_each(|number| marks.saw(write(&number.to_string(), 1)));
        marks.learned(marks.question().unwrap(), Instant::now(), mark(20));
        marks.saw(write("last", 1));
        assert_eq!(needed(&marks, "0"), Needed::Reached(Some(mark(20))));
        assert_eq!(needed(&marks, "last"), Needed::Unknown);
    }

    #[test]
    fn an_age_needs_the_oldest_watermark_that_is_young_enough() {
        let marks = begun();
        assert_eq!(marks.needed_by_age(Duration::ZERO), None);
        marks.learned(0, Instant::now(), mark(40));
        assert_eq!(marks.needed_by_age(Duration::from_secs(60)), Some(mark(10)));
    }
}
