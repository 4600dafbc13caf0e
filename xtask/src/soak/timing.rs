//! How soon writers succeeded again.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::cluster::Strike;
use crate::failure::{Context, Result};

/// Microseconds since 1970, as the processes have it in their journals.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A writer's life.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) journal: PathBuf,
    pub(super) started: u64,
    pub(super) ended: u64,
}

/// The successes of a writer's life: when each was begun and when it was acknowledged.
#[derive(Debug)]
pub(super) struct Successes {
    started: u64,
    ended: u64,
    calls: Vec<(u64, u64)>,
}

impl Successes {
    /// Reads them from its journal.
    pub(super) fn of(life: &Life) -> Result<Self> {
        let calls = calls(&life.journal)?;
        Ok(Self { started: life.started, ended: life.ended, calls })
    }

    /// From the moment when the server accepted again to this writer's first success. None if the writer
    /// did not live through it; its end, if there was no success before.
    pub(super) fn first_after(&self, strike: &Strike) -> Option<Duration> {
        let enough = u64::try_from(strike.success_max.as_micros()).unwrap_or(u64::MAX);
        if self.started > strike.began || self.ended < strike.accepted.saturating_add(enough) {
            return None;
        }
        // One that was begun and acknowledged while the strike lasted shows that this writer did not even notice.
        let unharmed = self.calls.iter().any(|(begun, told)| {
            *begun >= strike.began.max(strike.accepted.saturating_sub(50_000))
                && *told <= strike.accepted
        });
        let first = self.calls.iter().map(|(_, told)| *told).filter(|it| *it >= strike.accepted);
        let first = if unharmed { strike.accepted } else { first.min().unwrap_or(self.ended) };
        Some(Duration::from_micros(first - strike.accepted))
    }
}

fn calls(journal: &Path) -> Result<Vec<(u64, u64)>> {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let mut begun = std::collections::HashMap::new();
    let mut calls = Vec::new();
    for line in complete {
        let line: Value = serde_json::from_str(line).context(|| "reading a journal".into())?;
        for (kind, name) in [("begun", "mark"), ("revoking", "token")] {
            if let (Some(name), Some(at)) = (line[kind][name].as_str(), line[kind]["at"].as_u64()) {
                begun.insert(name.to_owned(), at);
            }
        }
        for (kind, name) in [("told", "mark"), ("revoked", "token")] {
            if let (Some(name), Some(at)) = (line[kind][name].as_str(), line[kind]["at"].as_u64()) {
                calls.push((begun.remove(name).unwrap_or(at), at));
            }
        }
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::super::cluster::Kind;
    use super::*;

    fn strike() -> Strike {
        Strike {
            what: "kill".into(),
            kind: Kind::Kill,
            began: 1_000_000,
            accepted: 2_000_000,
            success_max: Duration::from_secs(1),
        }
    }

    fn first(calls: &[(u64, u64)], started: u64, ended: u64) -> Option<Duration> {
        Successes { started, ended, calls: calls.to_vec() }.first_after(&strike())
    }

    #[test]
    fn the_first_success_counts_from_the_moment_the_server_accepts() {
        let calls = [(900_000, 990_000), (1_500_000, 2_400_000), (2_500_000, 2_600_000)];
        assert_eq!(first(&calls, 0, 9_000_000), Some(Duration::from_millis(400)));
    }

    #[test]
    fn a_writer_without_a_success_is_as_late_as_its_end() {
        assert_eq!(first(&[(900_000, 990_000)], 0, 9_000_000), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_writer_that_came_later_or_left_earlier_says_nothing() {
        assert_eq!(first(&[], 1_500_000, 9_000_000), None);
        assert_eq!(first(&[], 0, 2_500_000), None);
    }

    #[test]
    fn a_call_that_was_answered_while_it_lasted_was_not_in_need_of_anything() {
        assert_eq!(first(&[(1_980_000, 1_990_000)], 0, 9_000_000), Some(Duration::ZERO));
        let before = [(1_200_000, 1_300_000), (2_000_100, 2_100_000)];
        assert_eq!(first(&before, 0, 9_000_000), Some(Duration::from_millis(100)));
    }
}
