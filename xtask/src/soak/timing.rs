//! How soon writers succeeded again.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::cluster::Strike;
use crate::failure::{Context, Result};

/// Microseconds since 1970, as the processes have it in their journals.
pub(super) fn now() -> u64 {
    since_1970(SystemTime::now())
}

fn since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A process may take so long to open its stores; how long that is, is nobody's success.
const OPENING_MICROS: u64 = 5_000_000;

/// A writer's life.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) journal: PathBuf,
    pub(super) started: u64,
    pub(super) ended: u64,
}

impl Life {
    /// Of one that died by itself: it wrote without a pause, so that it died with its journal.
    pub(super) fn until_last_line(journal: &Path, started: u64) -> Self {
        let written = std::fs::metadata(journal).and_then(|file| file.modified());
        let ended = written.map_or(started, since_1970);
        Self { journal: journal.to_owned(), started, ended }
    }
}

/// The successes of a writer's life: when each was begun and when it was acknowledged.
#[derive(Debug)]
pub(super) struct Successes {
    started: u64,
    ended: u64,
    calls: Vec<(u64, u64)>,
    /// When documents were acknowledged; revocations have no shadow.
    documents: Vec<u64>,
}

impl Successes {
    /// Reads them from its journal.
    pub(super) fn of(life: &Life) -> Result<Self> {
        let (calls, documents) = (Vec::new(), Vec::new());
        let mut read = Self { started: life.started, ended: life.ended, calls, documents };
        read.take(&std::fs::read_to_string(&life.journal).unwrap_or_default())?;
        Ok(read)
    }

    fn take(&mut self, journal: &str) -> Result<()> {
        let complete = journal.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let mut begun = std::collections::HashMap::new();
        for line in complete {
            let line: Value = serde_json::from_str(line).context(|| "reading a journal".into())?;
            for (kind, name) in [("begun", "mark"), ("revoking", "token")] {
                if let Some((name, at)) = noted(&line[kind], name) {
                    begun.insert(name.to_owned(), at);
                }
            }
            for (kind, name) in [("told", "mark"), ("revoked", "token")] {
                if let Some((name, at)) = noted(&line[kind], name) {
                    self.calls.push((begun.remove(name).unwrap_or(at), at));
                    self.documents.extend((kind == "told").then_some(at));
                }
            }
        }
        // Tasks write their lines side by side.
        self.documents.sort_unstable();
        Ok(())
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

    /// The longest time without a success while the shadow went through `strike`, and a moment longer. What is `excused`, sorted,
    /// does not count. None if this writer lived at another time.
    pub(super) fn longest_wait(&self, strike: &Strike, excused: &[(u64, u64)]) -> Option<Duration> {
        let begin = strike.began.max(self.started.saturating_add(OPENING_MICROS));
        let end = strike.felt_until().min(self.ended);
        (begin < end).then(|| self.longest_within(begin, end, excused))
    }

    /// The longest time without a success, from the first one on.
    pub(super) fn longest_wait_of_all(&self, excused: &[(u64, u64)]) -> Duration {
        let first = self.documents.first().copied().unwrap_or(self.ended);
        self.longest_within(first, self.ended.max(first), excused)
    }

    fn longest_within(&self, begin: u64, end: u64, excused: &[(u64, u64)]) -> Duration {
        let within = self.documents.iter().copied().filter(|at| (begin..end).contains(at));
        let edges: Vec<u64> = std::iter::once(begin).chain(within).chain([end]).collect();
        let waits = edges.windows(2).map(|pair| unexcused(pair[0], pair[1], excused));
        Duration::from_micros(waits.max().unwrap_or(0))
    }
}

/// What a line of a journal is about, and when it was written.
fn noted<'line>(line: &'line Value, name: &str) -> Option<(&'line str, u64)> {
    Some((line[name].as_str()?, line["at"].as_u64()?))
}

/// How much of the time is not excused.
fn unexcused(from: u64, to: u64, excused: &[(u64, u64)]) -> u64 {
    let (mut at, mut counted) = (from, 0);
    for (begin, end) in excused.iter().filter(|it| it.1 > from && it.0 < to) {
        counted += begin.saturating_sub(at);
        at = at.max(*end).min(to);
    }
    counted + (to - at)
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
        let (calls, documents) = (calls.to_vec(), Vec::new());
        Successes { started, ended, calls, documents }.first_after(&strike())
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

    fn wait(documents: &[u64], excused: &[(u64, u64)]) -> Option<Duration> {
        let (calls, documents) = (Vec::new(), documents.to_vec());
        let writer = Successes { started: 0, ended: 9_000_000, calls, documents };
        let (began, accepted) = (6_000_000, 7_000_000);
        writer.longest_wait(&Strike { began, accepted, ..strike() }, excused)
    }

    #[test]
    fn the_longest_wait_is_between_two_successes_or_an_edge() {
        let often = [6_100_000, 6_500_000, 7_100_000, 7_900_000];
        assert_eq!(wait(&often, &[]), Some(Duration::from_millis(800)));
        assert_eq!(wait(&[5_000_000], &[]), Some(Duration::from_secs(2)));
    }

    #[test]
    fn what_is_excused_is_no_wait_though_it_be_excused_twice() {
        let excused = [(5_000_000, 6_500_000), (6_200_000, 6_800_000), (7_500_000, 9_000_000)];
        assert_eq!(wait(&[], &excused), Some(Duration::from_millis(700)));
    }

    #[test]
    fn a_call_that_was_answered_while_it_lasted_was_not_in_need_of_anything() {
        assert_eq!(first(&[(1_980_000, 1_990_000)], 0, 9_000_000), Some(Duration::ZERO));
        let before = [(1_200_000, 1_300_000), (2_000_100, 2_100_000)];
        assert_eq!(first(&before, 0, 9_000_000), Some(Duration::from_millis(100)));
    }
}
