//! What a reader of the feed saw, document by document.

use std::collections::BTreeMap;

use crate::findings::Findings;
use crate::fingerprint::Fingerprint;
use crate::journal::Sight;

/// What one version left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) left: Fingerprint,
    pub(crate) mark: Option<String>,
}

/// Per document, its changes; version 1 comes first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct History(BTreeMap<String, Vec<Change>>);

impl History {
    /// Takes what `reader` saw, in the order in which it did.
    pub(crate) fn of(reader: &str, sights: &[Sight], findings: &mut Findings) -> Self {
        let mut history = Self::default();
        for sight in sights {
            if let Sight::Change { path, version, left, mark, .. } = sight {
                let change = Change { left: left.clone(), mark: mark.clone() };
                history.take(reader, path, *version, change, findings);
            }
        }
        history
    }

    /// The next change of a document must be its next version.
    fn take(
        &mut self,
        reader: &str,
        path: &str,
        version: i64,
        change: Change,
        findings: &mut Findings,
    ) {
        let changes = self.0.entry(path.to_owned()).or_default();
        let next = changes.len() as i64 + 1;
        let text = || format!("{reader}: version {version} of {path} where {next} is next");
        if version == next {
            return changes.push(change);
        }
        if version > next {
            return findings.lost.push(text());
        }
        match at(changes, version) {
            Some(seen) if *seen == change => findings.doubled.push(text()),
            _ => findings.reordered.push(text()),
        }
    }

    /// What `path` was at `version`.
    pub(crate) fn at(&self, path: &str, version: i64) -> Option<&Change> {
        at(self.0.get(path)?, version)
    }

    /// Paths with their changes.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&str, &[Change])> {
        self.0.iter().map(|(path, changes)| (path.as_str(), changes.as_slice()))
    }

    /// Number of changes.
    pub(crate) fn events(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Holds another reader's history against this one, which is the whole.
    pub(crate) fn compare(&self, reader: &str, other: &Self, findings: &mut Findings) {
        for (path, changes) in self.documents() {
            let seen = other.0.get(path).map(Vec::as_slice).unwrap_or_default();
            if seen.len() < changes.len() {
                let missing = changes.len() - seen.len();
                findings.lost.push(format!("{reader}: the last {missing} changes of {path}"));
            }
            let same = seen.iter().zip(changes).all(|(one, two)| one == two);
            if !same || seen.len() > changes.len() {
                findings.wrong.push(format!("{reader}: {path} is not what the history has"));
            }
        }
        for (path, _) in other.documents().filter(|(path, _)| !self.0.contains_key(*path)) {
            findings.wrong.push(format!("{reader}: the history has no {path}"));
        }
    }
}

fn at(changes: &[Change], version: i64) -> Option<&Change> {
    usize::try_from(version).ok()?.checked_sub(1).and_then(|index| changes.get(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, version: i64, mark: &str) -> Sight {
        Sight::Change {
            path: path.into(),
            version,
            left: Fingerprint::Data(mark.into()),
            mark: Some(mark.into()),
            token: "t".into(),
        }
    }

    fn read(sights: &[Sight]) -> (History, Findings) {
        let mut findings = Findings::default();
        (History::of("w", sights, &mut findings), findings)
    }

    #[test]
    fn versions_in_order_are_a_history() {
        let sights = [change("a", 1, "x"), change("b", 1, "y"), change("a", 2, "z")];
        let (history, findings) = read(&sights);
        assert_eq!(findings, Findings::default());
        assert_eq!(history.events(), 3);
        assert_eq!(history.at("a", 2).unwrap().mark.as_deref(), Some("z"));
        assert_eq!(
            (history.at("a", 0), history.at("a", 3), history.at("c", 1)),
            (None, None, None)
        );
    }

    #[test]
    fn a_gap_a_repeat_and_another_order_are_told_apart() {
        let (_, findings) = read(&[change("a", 1, "x"), change("a", 3, "z")]);
        assert_eq!(findings.lost.len(), 1, "{findings:?}");
        let (_, findings) = read(&[change("a", 1, "x"), change("a", 1, "x")]);
        assert_eq!(findings.doubled.len(), 1, "{findings:?}");
        let (_, findings) = read(&[change("a", 1, "x"), change("a", 1, "other")]);
        assert_eq!(findings.reordered.len(), 1, "{findings:?}");
    }

    #[test]
    fn a_reader_that_saw_less_more_or_something_else_is_found() {
        let whole = [change("a", 1, "x"), change("a", 2, "y")];
        let compare = |seen: &[Sight]| {
            let mut findings = Findings::default();
            read(&whole).0.compare("w", &read(seen).0, &mut findings);
            findings
        };
        assert_eq!(compare(&whole), Findings::default());
        assert_eq!(compare(&whole[..1]).lost.len(), 1);
        assert_eq!(compare(&[change("a", 1, "x"), change("a", 2, "z")]).wrong.len(), 1);
        let more = [&whole[..], &[change("a", 3, "z"), change("b", 1, "z")]].concat();
        assert_eq!(compare(&more).wrong.len(), 2);
    }
}
