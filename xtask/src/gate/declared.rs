//! What backends declare to offer, and what does not apply to them, held against what is under version control.
//!
//! A capability that is no longer declared takes its cases along, and the documentation would go on promising it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::counts;
use super::report::{Capabilities, Report, Verdict};
use crate::failure::{Context, Failure, Result};

/// Below the repository's root.
const FILE: &str = "tests/conformance-backends.json";

/// By backend.
pub(super) type All = BTreeMap<String, Declared>;

/// What one backend declares, and what of the suite follows from that.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Declared {
    /// What it offers, by store.
    pub(super) capabilities: Capabilities,
    /// How many cases of each group need what it does not offer.
    pub(super) not_applicable: BTreeMap<String, usize>,
}

/// Compares what `reports` say with what is recorded, or records it, as [`counts::check`] does.
///
/// # Errors
///
/// When a backend declares something else than recorded, or the file is unusable.
pub(super) fn check(root: &Path, reports: &[Report], record: bool) -> Result<()> {
    let found = declared(reports);
    let mut recorded = recorded(root)?;
    if record {
        recorded.extend(found);
        println!("recorded in {FILE}");
        return write(&root.join(FILE), &recorded);
    }
    let differs = |(name, found): &(&String, &Declared)| {
        recorded.get(*name).is_none_or(|known| known.capabilities != found.capabilities)
    };
    let others: Vec<_> = found.iter().filter(differs).map(|(name, _)| name.as_str()).collect();
    if others.is_empty() {
        return Ok(());
    }
    let others = others.join(", ");
    Err(Failure::new(format!("{FILE} says otherwise of {others}; `--record` writes it anew")))
}

/// What is recorded; without a file, nothing.
///
/// # Errors
///
/// When the file cannot be read or understood.
pub(super) fn recorded(root: &Path) -> Result<All> {
    let file = root.join(FILE);
    if !file.exists() {
        return Ok(All::new());
    }
    let text = fs::read_to_string(file).context(|| format!("reading {FILE}"))?;
    serde_json::from_str(&text).context(|| format!("reading {FILE}"))
}

fn declared(reports: &[Report]) -> All {
    let mut all = All::new();
    for report in reports {
        all.entry(report.backend.clone()).or_default().capabilities = report.capabilities.clone();
    }
    for (backend, groups) in counts::count(reports, |verdict| verdict == Verdict::NotApplicable) {
        all.entry(backend).or_default().not_applicable = groups;
    }
    all
}

fn write(file: &Path, all: &All) -> Result<()> {
    let text = serde_json::to_string_pretty(all).context(|| format!("writing {FILE}"))?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).context(|| format!("writing {FILE}"))?;
    }
    fs::write(file, text + "\n").context(|| format!("writing {FILE}"))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    fn durable(durable: bool) -> Report {
        let mut report = report("memory", &[("DOC", 3, 0, 1)]);
        let offered = BTreeMap::from([("durable".to_owned(), durable)]);
        report.capabilities = BTreeMap::from([("documents".to_owned(), offered)]);
        report
    }

    #[test]
    fn a_backend_that_declares_something_else_fails() {
        let root = tempfile::tempdir().unwrap();
        check(root.path(), &[durable(true)], true).unwrap();
        check(root.path(), &[durable(true)], false).unwrap();
        let failure = check(root.path(), &[durable(false)], false).unwrap_err().to_string();
        assert!(failure.contains("otherwise of memory"), "{failure}");
    }

    #[test]
    fn what_does_not_apply_is_counted_over_all_parts() {
        let all = declared(&[durable(true), report("memory", &[("VEC", 1, 0, 2)])]);
        let expected = BTreeMap::from([("DOC".to_owned(), 1), ("VEC".to_owned(), 2)]);
        assert_eq!(all["memory"].not_applicable, expected);
    }
}
