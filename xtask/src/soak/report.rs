//! What a campaign proved, as a row of a table.

use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::cluster::{Kind, Strike};
use super::timing::Successes;
use crate::failure::{Context, Result};

/// What `verify` prints.
#[derive(Debug, Default, Deserialize)]
struct Found {
    acknowledged: usize,
    ambiguous: usize,
    ambiguous_applied: usize,
    events: usize,
    revoked: usize,
    state_lost: usize,
    reopened: usize,
    findings: Findings,
}

#[derive(Debug, Default, Deserialize)]
struct Findings {
    lost: usize,
    doubled: usize,
    reordered: usize,
    wrong: usize,
    forgotten: usize,
    examples: Vec<String>,
}

/// One row.
#[derive(Debug, Default)]
pub(super) struct Report {
    name: &'static str,
    found: Found,
    kills: usize,
    faults: usize,
    /// Worst time to first success, and what it came after.
    worst: Option<(Duration, String)>,
    late: Vec<String>,
}

impl Report {
    /// Reads what was found and measures how soon each writer succeeded after each strike.
    pub(super) fn new(
        found: &Value,
        strikes: &[Strike],
        writers: &[Successes],
        kills: usize,
    ) -> Result<Self> {
        let found = Found::deserialize(found).context(|| "reading the report".into())?;
        let of = |kind| strikes.iter().filter(|strike| strike.kind == kind).count();
        let mut report = Self {
            found,
            kills: kills + of(Kind::Kill),
            faults: of(Kind::Fault),
            ..Self::default()
        };
        for strike in strikes {
            for first in writers.iter().filter_map(|writer| writer.first_after(strike)) {
                report.measure(strike, first);
            }
        }
        Ok(report)
    }

    fn measure(&mut self, strike: &Strike, first: Duration) {
        if first > strike.success_max {
            self.late.push(format!(
                "first success {:.2} s after {} (at most {} s)",
                first.as_secs_f64(),
                strike.what,
                strike.success_max.as_secs_f64()
            ));
        }
        if self.worst.as_ref().is_none_or(|(worst, _)| first > *worst) {
            self.worst = Some((first, strike.what.clone()));
        }
    }

    /// The same row under this name.
    pub(super) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Whether there was nothing to lose.
    pub(super) fn is_empty(&self) -> bool {
        self.found.acknowledged + self.found.revoked == 0
    }

    /// Every first success that came too late.
    pub(super) fn late(&self) -> Vec<String> {
        self.late.iter().map(|late| format!("{}: {late}", self.name)).collect()
    }

    /// Every broken promise but being late.
    pub(super) fn failures(&self) -> Vec<String> {
        let findings = &self.found.findings;
        let mut failures = Vec::new();
        let counted = [
            ("lost", findings.lost),
            ("doubled", findings.doubled),
            ("reordered", findings.reordered),
            ("wrong", findings.wrong),
            ("forgotten revocations", findings.forgotten),
        ];
        for (what, count) in counted.into_iter().filter(|(_, count)| *count > 0) {
            failures.push(format!("{count} {what}"));
        }
        if counted_any(findings) && !failures.is_empty() {
            failures.extend(findings.examples.iter().cloned());
        }
        failures.iter().map(|failure| format!("{}: {failure}", self.name)).collect()
    }

    fn cells(&self) -> [String; 14] {
        let worst = self.worst.as_ref().map_or("-".to_owned(), |(worst, what)| {
            format!("{:.2} s ({what})", worst.as_secs_f64())
        });
        let Found { acknowledged, ambiguous, ambiguous_applied, events, revoked, .. } = self.found;
        let Findings { lost, doubled, reordered, wrong, forgotten, .. } = self.found.findings;
        [
            self.name.to_owned(),
            self.kills.to_string(),
            self.faults.to_string(),
            acknowledged.to_string(),
            format!("{ambiguous} ({ambiguous_applied} applied)"),
            events.to_string(),
            lost.to_string(),
            doubled.to_string(),
            reordered.to_string(),
            wrong.to_string(),
            revoked.to_string(),
            forgotten.to_string(),
            format!("{}/{}", self.found.state_lost, self.found.reopened),
            worst,
        ]
    }
}

fn counted_any(findings: &Findings) -> bool {
    findings.lost + findings.doubled + findings.reordered + findings.wrong + findings.forgotten > 0
}

const HEADINGS: [&str; 14] = [
    "backend",
    "kills",
    "faults",
    "acknowledged",
    "ambiguous",
    "events",
    "lost",
    "doubled",
    "reordered",
    "wrong",
    "revoked",
    "forgotten",
    "state lost/reopened",
    "worst first success",
];

/// The table.
pub(super) fn render(reports: &[Report]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(reports.iter().map(Report::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..HEADINGS.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}
