//! What writers were told, held against the history.
//!
//! Knows nothing of stores, so its own verdicts are tested without one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::findings::Findings;
use crate::fingerprint::Fingerprint;
use crate::history::History;
use crate::journal::Line;

/// A write that was begun.
#[derive(Debug)]
struct Write {
    path: String,
    delete: bool,
    end: End,
}

/// By path, the version that a side has of a document, and what it is.
pub(crate) type Stored = BTreeMap<String, (i64, Fingerprint)>;

/// How it ended for the writer.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Told {
        version: i64,
        left: Fingerprint,
    },
    Refused,
    /// An error that leaves it open, or the writer was killed meanwhile.
    Unsure,
}

/// Everything that writers noted about documents, by mark.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    writes: BTreeMap<String, Write>,
    /// Tokens whose revocation was acknowledged.
    pub(crate) revoked: BTreeSet<String>,
    /// Answers that such a token is valid.
    pub(crate) forgotten: usize,
    /// Answers that the store lost its state.
    pub(crate) state_lost: usize,
}

/// How often each end came, after the history has told what became of the unsure ones.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Settled {
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) ambiguous: usize,
    pub(crate) ambiguous_applied: usize,
}

impl Ledger {
    /// Takes the journal of one writer.
    pub(crate) fn take(&mut self, lines: Vec<Line>) {
        for line in lines {
            match line {
                Line::Begun { mark, path, delete, .. } => {
                    self.writes.insert(mark, Write { path, delete, end: End::Unsure });
                }
                Line::Told { mark, version, left, .. } => {
                    self.end(&mark, End::Told { version, left });
                }
                Line::Refused { mark } => self.end(&mark, End::Refused),
                Line::Unsure { .. } | Line::Revoking { .. } => {}
                Line::Revoked { token, .. } => _ = self.revoked.insert(token),
                Line::Forgotten { .. } => self.forgotten += 1,
                Line::StateLost { .. } => self.state_lost += 1,
            }
        }
    }

    fn end(&mut self, mark: &str, end: End) {
        if let Some(write) = self.writes.get_mut(mark) {
            write.end = end;
        }
    }

    /// Every acknowledged write is in the history as it was told, every other one once or not at all, and nothing else is there.
    pub(crate) fn settle(&self, history: &History, findings: &mut Findings) -> Settled {
        let placed = self.place(history, findings);
        let mut settled = Settled::default();
        let mut told = HashSet::new();
        for (mark, write) in &self.writes {
            let found = placed.get(mark.as_str()).copied();
            match &write.end {
                End::Told { version, left } => {
                    settled.acknowledged += 1;
                    told_as_it_is(history, write, (*version, left), findings);
                    if !told.insert((write.path.as_str(), *version)) {
                        let text = format!("{version} of {} was told to two writers", write.path);
                        findings.doubled.push(text);
                    }
                }
                End::Refused => {
                    settled.refused += 1;
                    if let Some(version) = found {
                        let text = format!("{mark} was refused and is {version} of {}", write.path);
                        findings.wrong.push(text);
                    }
                }
                End::Unsure => {
                    settled.ambiguous += 1;
                    settled.ambiguous_applied += usize::from(found.is_some());
                }
            }
        }
        settled.ambiguous_applied += self.deletes(history, &told, findings);
        settled
    }

    /// Every acknowledged write is on `side` as it was told, or a later one of the same document is.
    pub(crate) fn hold(&self, side: &str, stored: &Stored, findings: &mut Findings) {
        for (mark, write) in &self.writes {
            let End::Told { version, left } = &write.end else { continue };
            let is_held = match stored.get(&write.path) {
                Some((there, is)) if there == version => is == left,
                Some((there, _)) => there > version,
                None => false,
            };
            if !is_held {
                let text =
                    format!("{side}: {mark}, told to be version {version} of {}", write.path);
                findings.lost.push(text);
            }
        }
    }

    /// The version that each mark made. One that made two was applied twice.
    fn place<'a>(&self, history: &'a History, findings: &mut Findings) -> HashMap<&'a str, i64> {
        let mut placed = HashMap::new();
        for (path, changes) in history.documents() {
            for (version, change) in (1..).zip(changes) {
                let Some(mark) = change.mark.as_deref() else { continue };
                if self.writes.get(mark).is_none_or(|write| write.path != path) {
                    findings.wrong.push(format!("nobody wrote version {version} of {path}"));
                }
                if let Some(before) = placed.insert(mark, version) {
                    let text = format!("{mark} is version {before} and {version} of {path}");
                    findings.doubled.push(text);
                }
            }
        }
        placed
    }

    /// Tombstones bear no mark: of a document there may be as many that nobody was told of as deletes that are open.
    /// Returns how many of these were applied.
    fn deletes(
        &self,
        history: &History,
        told: &HashSet<(&str, i64)>,
        findings: &mut Findings,
    ) -> usize {
        let is_open = |write: &&Write| write.delete && write.end == End::Unsure;
        let mut open: HashMap<&str, usize> = HashMap::new();
        self.writes.values().filter(is_open).for_each(|it| *open.entry(&it.path).or_default() += 1);
        let mut applied = 0;
        for (path, changes) in history.documents() {
            let tombstones = (1..).zip(changes).filter(|it| it.1.left == Fingerprint::Deleted);
            let untold = tombstones.filter(|it| !told.contains(&(path, it.0))).count();
            if untold > open.get(path).copied().unwrap_or(0) {
                findings.wrong.push(format!("{path} was deleted more often than anybody asked"));
            }
            applied += untold;
        }
        applied
    }
}

fn told_as_it_is(
    history: &History,
    write: &Write,
    (version, left): (i64, &Fingerprint),
    findings: &mut Findings,
) {
    match history.at(&write.path, version) {
        None => {
            let text = format!("version {version} of {} was acknowledged", write.path);
            findings.lost.push(text);
        }
        Some(change) if change.left != *left => {
            let text = format!("version {version} of {} is not what was acknowledged", write.path);
            findings.wrong.push(text);
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Sight;

    fn begun(mark: &str, delete: bool) -> Line {
        Line::Begun { mark: mark.into(), path: "a".into(), delete, at: 0 }
    }

    fn data(mark: &str) -> Fingerprint {
        Fingerprint::Data(mark.into())
    }

    fn told(mark: &str, version: i64, left: Fingerprint) -> Line {
        Line::Told { mark: mark.into(), path: "a".into(), version, left, at: 0 }
    }

    /// Marks of the versions of `a`; an empty one is a tombstone.
    fn settle(lines: Vec<Line>, marks: &[&str]) -> (Settled, Findings) {
        let sight = |(version, mark): (i64, &&str)| Sight::Change {
            path: "a".into(),
            version,
            left: if mark.is_empty() { Fingerprint::Deleted } else { data(mark) },
            mark: (!mark.is_empty()).then(|| (*mark).to_owned()),
            token: String::new(),
        };
        let sights: Vec<_> = (1..).zip(marks).map(sight).collect();
        let mut findings = Findings::default();
        let history = History::of("w", &sights, &mut findings);
        let mut ledger = Ledger::default();
        ledger.take(lines);
        (ledger.settle(&history, &mut findings), findings)
    }

    #[test]
    fn what_was_told_is_held_by_a_side_that_has_it_or_a_later_version() {
        let lost = |there: Option<(i64, Fingerprint)>| {
            let mut ledger = Ledger::default();
            ledger.take(vec![begun("x", false), told("x", 2, data("x")), begun("open", false)]);
            let stored = there.map(|it| ("a".to_owned(), it)).into_iter().collect();
            let mut findings = Findings::default();
            ledger.hold("the shadow", &stored, &mut findings);
            findings.lost.len()
        };
        assert_eq!((lost(Some((2, data("x")))), lost(Some((3, data("y"))))), (0, 0));
        assert_eq!((lost(Some((2, data("y")))), lost(Some((1, data("x")))), lost(None)), (1, 1, 1));
    }

    #[test]
    fn an_honest_store_passes_also_with_writes_nobody_was_told_of() {
        let lines = vec![
            begun("x", false),
            told("x", 1, data("x")),
            begun("y", false),
            begun("z", true),
            begun("n", false),
            Line::Unsure { mark: "n".into(), error: String::new() },
            begun("r", false),
            Line::Refused { mark: "r".into() },
        ];
        let (settled, findings) = settle(lines, &["x", "y", ""]);
        assert_eq!(findings, Findings::default());
        let expected = Settled { acknowledged: 1, refused: 1, ambiguous: 3, ambiguous_applied: 2 };
        assert_eq!(settled, expected);
    }

    #[test]
    fn a_lost_write_and_one_that_became_another_are_found() {
        let lines = || vec![begun("x", false), told("x", 2, data("x")), begun("y", false)];
        assert_eq!(settle(lines(), &["y"]).1.lost.len(), 1);
        let two = [lines(), vec![begun("z", false)]].concat();
        assert_eq!(settle(two, &["y", "z"]).1.wrong.len(), 1);
    }

    #[test]
    fn a_write_that_was_applied_twice_is_found() {
        let (_, findings) = settle(vec![begun("x", false)], &["x", "x"]);
        assert_eq!(findings.doubled.len(), 1, "{findings:?}");
    }

    #[test]
    fn a_version_told_twice_is_found() {
        let lines = vec![
            begun("x", false),
            told("x", 1, data("x")),
            begun("y", false),
            told("y", 1, data("x")),
        ];
        assert_eq!(settle(lines, &["x"]).1.doubled.len(), 1);
    }

    #[test]
    fn a_refused_write_that_is_there_is_found() {
        let lines = vec![begun("x", false), Line::Refused { mark: "x".into() }];
        assert_eq!(settle(lines, &["x"]).1.wrong.len(), 1);
    }

    #[test]
    fn what_nobody_wrote_or_deleted_is_found() {
        assert_eq!(settle(vec![], &["x"]).1.wrong.len(), 1);
        assert_eq!(settle(vec![begun("x", false)], &["x", ""]).1.wrong.len(), 1);
    }

    #[test]
    fn revocations_are_kept_for_asking() {
        let mut ledger = Ledger::default();
        let (token, at) = ("t".to_owned(), 0);
        ledger.take(vec![
            Line::Revoking { token: "open".into(), at },
            Line::Revoked { token: token.clone(), at },
            Line::Forgotten { token: token.clone(), at },
        ]);
        assert_eq!((ledger.revoked.len(), ledger.forgotten), (1, 1));
    }
}
