//! Broken promises, by kind.

use serde::Serialize;

/// Shown of each kind; the rest is counted.
const SHOWN_MAX: usize = 10;

/// What was found. All empty is what we want.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Acknowledged and not there; or missing in a watcher's journal.
    pub(crate) lost: Vec<String>,
    /// There twice.
    pub(crate) doubled: Vec<String>,
    /// In another order.
    pub(crate) reordered: Vec<String>,
    /// Not what was acknowledged, not what anybody wrote, or against what was promised.
    pub(crate) wrong: Vec<String>,
    /// Tokens whose revocation was acknowledged and that are answered to be valid.
    pub(crate) forgotten: Vec<String>,
}

/// The same as numbers and a few examples.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    lost: usize,
    doubled: usize,
    reordered: usize,
    wrong: usize,
    forgotten: usize,
    examples: Vec<String>,
}

impl Findings {
    pub(crate) fn told(&self) -> Told {
        let kinds = [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("reordered", &self.reordered),
            ("wrong", &self.wrong),
            ("forgotten", &self.forgotten),
        ];
        let some = |(kind, all): (&str, &Vec<String>)| {
            let lines: Vec<_> =
                all.iter().take(SHOWN_MAX).map(|line| format!("{kind}: {line}")).collect();
            lines
        };
        Told {
            lost: self.lost.len(),
            doubled: self.doubled.len(),
            reordered: self.reordered.len(),
            wrong: self.wrong.len(),
            forgotten: self.forgotten.len(),
            examples: kinds.into_iter().flat_map(some).collect(),
        }
    }
}
