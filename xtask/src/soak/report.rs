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

/// What was done to whom.
#[derive(Debug, Default)]
pub(super) struct Suffered {
    /// The primary.
    pub(super) strikes: Vec<Strike>,
    pub(super) shadow: Vec<Strike>,
    /// From when to when a stopped process may have been felt by others.
    pub(super) stops: Vec<(u64, u64)>,
    /// Processes that were killed.
    pub(super) kills: usize,
    /// Writers that died by themselves between the two writes.
    pub(super) died: usize,
}

impl Suffered {
    /// When a writer's wait was not for the shadow, sorted.
    fn excused(&self) -> Vec<(u64, u64)> {
        sorted(self.strikes.iter().map(felt).chain(self.stops.iter().copied()))
    }

    /// When anything happened that a writer may feel.
    fn harmed(&self) -> Vec<(u64, u64)> {
        let shadow = self.shadow.iter().map(|strike| (strike.began, strike.felt_until()));
        sorted(shadow.chain(self.excused()))
    }
}

/// From when to when a writer may have no success after a strike on the primary.
fn felt(strike: &Strike) -> (u64, u64) {
    let after = u64::try_from(strike.success_max.as_micros()).unwrap_or(u64::MAX);
    (strike.began, strike.accepted.saturating_add(after))
}

fn sorted(times: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times
}

/// Longest that a writer may be without a success whatever the shadow is doing.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What the shadow went through and what it cost the writers.
#[derive(Debug, Default)]
struct Shadowed {
    kills: usize,
    faults: usize,
    worst: Duration,
    /// The same while nothing happened to anybody: what the machine alone costs.
    otherwise: Duration,
}

/// One row.
#[derive(Debug, Default)]
pub(super) struct Report {
    name: String,
    found: Found,
    kills: usize,
    died: usize,
    stopped: usize,
    faults: usize,
    shadow: Shadowed,
    /// Worst time to first success, and what it came after.
    worst: Option<(Duration, String)>,
    late: Vec<String>,
}

impl Report {
    /// Reads what was found and measures how soon each writer succeeded after each strike.
    pub(super) fn new(found: &Value, suffered: &Suffered, writers: &[Successes]) -> Result<Self> {
        let found = Found::deserialize(found).context(|| "reading the report".into())?;
        let Suffered { strikes, shadow, stops, .. } = suffered;
        let mut report = Self {
            found,
            kills: suffered.kills + count(strikes, Kind::Kill),
            died: suffered.died,
            stopped: stops.len(),
            faults: count(strikes, Kind::Fault),
            ..Self::default()
        };
        report.measure_shadow(shadow, &suffered.excused(), writers);
        let otherwise = writers.iter().map(|it| it.longest_wait_of_all(&suffered.harmed()));
        report.shadow.otherwise = otherwise.max().unwrap_or_default();
        for strike in strikes {
            for first in writers.iter().filter_map(|writer| writer.first_after(strike)) {
                report.measure(strike, first);
            }
        }
        Ok(report)
    }

    fn measure_shadow(
        &mut self,
        strikes: &[Strike],
        excused: &[(u64, u64)],
        writers: &[Successes],
    ) {
        (self.shadow.kills, self.shadow.faults) =
            (count(strikes, Kind::Kill), count(strikes, Kind::Fault));
        for strike in strikes {
            for wait in writers.iter().filter_map(|writer| writer.longest_wait(strike, excused)) {
                self.shadow.worst = self.shadow.worst.max(wait);
                if wait > WAIT_MAX {
                    let (wait, what) = (wait.as_secs_f64(), &strike.what);
                    let most = WAIT_MAX.as_secs_f64();
                    let text = format!(
                        "no success for {wait:.2} s, the shadow: {what} (at most {most} s)"
                    );
                    self.late.push(text);
                }
            }
        }
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
    pub(super) fn named(self, name: String) -> Self {
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

    fn cells(&self) -> [String; 16] {
        let worst = self.worst.as_ref().map_or("-".to_owned(), |(worst, what)| {
            format!("{:.2} s ({what})", worst.as_secs_f64())
        });
        let Found { acknowledged, ambiguous, ambiguous_applied, events, revoked, .. } = self.found;
        let Findings { lost, doubled, reordered, wrong, forgotten, .. } = self.found.findings;
        [
            self.name.clone(),
            self.kills.to_string(),
            format!("{}/{}", self.died, self.stopped),
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
            self.shadow.cell(),
        ]
    }
}

impl Shadowed {
    fn cell(&self) -> String {
        let Self { kills, faults, worst, otherwise } = self;
        if kills + faults == 0 {
            return "-".into();
        }
        let [worst, otherwise] = [worst, otherwise].map(Duration::as_secs_f64);
        format!("{kills}/{faults} (longest wait {worst:.2} s, otherwise {otherwise:.2} s)")
    }
}

fn count(strikes: &[Strike], kind: Kind) -> usize {
    strikes.iter().filter(|strike| strike.kind == kind).count()
}

fn counted_any(findings: &Findings) -> bool {
    findings.lost + findings.doubled + findings.reordered + findings.wrong + findings.forgotten > 0
}

const HEADINGS: [&str; 16] = [
    "backend",
    "kills",
    "died/stopped",
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
    "shadow's kills/faults",
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
