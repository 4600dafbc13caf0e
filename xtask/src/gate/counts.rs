//! How many cases of each group ran and what backends declare, held against what is under version control.
//!
//! A case that silently stops running looks like success. So the numbers are written
//! down, fewer of them fail the run, and lowering one is a change somebody reviews.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::report::{Report, Verdict};
use crate::failure::{Context, Failure, Result};

/// Below the repository's root.
const FILE: &str = "tests/conformance-counts.json";

/// Backend, group, number of cases.
pub(super) type Counts = BTreeMap<String, BTreeMap<String, usize>>;

/// Compares what `reports` executed with the recorded numbers, or records them.
///
/// Recording replaces the numbers of the backends that ran and keeps those of others.
///
/// # Errors
///
/// When a group ran fewer cases than recorded, a backend has no recorded numbers, or the file is unusable.
pub(super) fn check(root: &Path, reports: &[Report], record: bool) -> Result<()> {
    let file = root.join(FILE);
    let executed = executed(reports);
    let mut recorded = read(&file)?;
    if record {
        recorded.extend(executed);
        println!("recorded in {FILE}");
        return write(&file, &recorded);
    }
    let (missing, grown) = compare(&recorded, &executed);
    grown.iter().for_each(|line| println!("note: {line}; `--record` keeps it"));
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("cases that once ran did not ({FILE}): {}", missing.join("; "))))
}

/// The recorded numbers.
///
/// # Errors
///
/// When the file cannot be read or understood.
pub(super) fn recorded(root: &Path) -> Result<Counts> {
    read(&root.join(FILE))
}

/// Cases that ran to a verdict; a case that does not apply did not run.
fn executed(reports: &[Report]) -> Counts {
    count(reports, |verdict| verdict != Verdict::NotApplicable)
}

/// By backend and group, the cases that ended as wanted.
pub(super) fn count(reports: &[Report], wanted: fn(Verdict) -> bool) -> Counts {
    let mut counts = Counts::new();
    for report in reports {
        let groups = counts.entry(report.backend.clone()).or_default();
        for case in report.cases.iter().filter(|case| wanted(case.verdict)) {
            *groups.entry(case.group.clone()).or_default() += 1;
        }
    }
    counts
}

/// What fell short, and what grew and is not recorded yet.
fn compare(recorded: &Counts, executed: &Counts) -> (Vec<String>, Vec<String>) {
    let (mut missing, mut grown) = (Vec::new(), Vec::new());
    for (backend, groups) in executed {
        let Some(expected) = recorded.get(backend) else {
            missing.push(format!("{backend} has no recorded numbers, write them with `--record`"));
            continue;
        };
        let names = groups.keys().chain(expected.keys()).collect::<std::collections::BTreeSet<_>>();
        for group in names {
            let ran = groups.get(group).copied().unwrap_or(0);
            let once = expected.get(group).copied().unwrap_or(0);
            let line = format!("{backend} {group} ran {ran}, recorded {once}");
            match ran.cmp(&once) {
                std::cmp::Ordering::Less => missing.push(line),
                std::cmp::Ordering::Greater => grown.push(line),
                std::cmp::Ordering::Equal => {}
            }
        }
    }
    (missing, grown)
}

fn read(file: &Path) -> Result<Counts> {
    if !file.exists() {
        return Ok(Counts::new());
    }
    let text = fs::read_to_string(file).context(|| format!("reading {FILE}"))?;
    serde_json::from_str(&text).context(|| format!("reading {FILE}"))
}

fn write(file: &Path, counts: &Counts) -> Result<()> {
    let text = serde_json::to_string_pretty(counts).context(|| format!("writing {FILE}"))?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).context(|| format!("writing {FILE}"))?;
    }
    fs::write(file, text + "\n").context(|| format!("writing {FILE}"))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn fewer_executed_cases_than_recorded_fail() {
        let root = tempfile::tempdir().unwrap();
        check(root.path(), &[report("memory", &[("DOC", 3, 0, 1), ("VEC", 2, 0, 0)])], true)
            .unwrap();
        check(root.path(), &[report("memory", &[("DOC", 2, 1, 1), ("VEC", 5, 0, 0)])], false)
            .unwrap();

        let fewer = [report("memory", &[("DOC", 2, 0, 2)])];
        let failure = check(root.path(), &fewer, false).unwrap_err().to_string();
        assert!(failure.contains("DOC ran 2, recorded 3"), "{failure}");
        assert!(failure.contains("VEC ran 0, recorded 2"), "{failure}");
    }

    #[test]
    fn recording_one_backend_keeps_the_numbers_of_the_other() {
        let root = tempfile::tempdir().unwrap();
        check(root.path(), &[report("memory", &[("DOC", 3, 0, 0)])], true).unwrap();
        check(root.path(), &[report("sqlite", &[("DOC", 9, 0, 0)])], true).unwrap();
        assert!(check(root.path(), &[report("memory", &[("DOC", 2, 0, 0)])], false).is_err());
    }

    #[test]
    fn a_backend_nobody_recorded_fails() {
        let root = tempfile::tempdir().unwrap();
        let failure = check(root.path(), &[report("memory", &[("DOC", 1, 0, 0)])], false);
        assert!(failure.unwrap_err().to_string().contains("--record"));
    }

    #[test]
    fn suite_and_vectors_of_one_backend_add_up() {
        let parts = [report("memory", &[("DOC", 3, 0, 0)]), report("memory", &[("VEC", 4, 0, 0)])];
        let counts = executed(&parts);
        assert_eq!(counts["memory"]["DOC"], 3);
        assert_eq!(counts["memory"]["VEC"], 4);
    }
}
