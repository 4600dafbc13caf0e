//! What `syntrix-storage conformance --report FILE` writes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::failure::{Failure, Result};

/// One run of the suite, or of the vectors, on one backend.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The backend's name.
    pub(super) backend: String,
    /// Every case, in the order it ran.
    pub(super) cases: Vec<Case>,
    /// How many passed.
    pub(super) passed: usize,
    /// How many failed.
    pub(super) failed: usize,
    /// How many the backend cannot answer, each with a reason.
    pub(super) not_applicable: usize,
    /// What it declares to offer, by store and capability.
    #[serde(default)]
    pub(super) capabilities: Capabilities,
}

/// By store, which of the capabilities it has.
pub(super) type Capabilities = BTreeMap<String, BTreeMap<String, bool>>;

/// One case.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    /// `DOC-01`
    pub(super) id: String,
    /// `DOC`
    pub(super) group: String,
    /// The behaviour, as a sentence.
    pub(super) name: String,
    /// How it ended.
    pub(super) verdict: Verdict,
    /// Why it failed or does not apply.
    pub(super) reason: Option<String>,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It ran and held.
    Passed,
    /// It ran and did not hold.
    Failed,
    /// It did not run, with a reason.
    NotApplicable,
}

impl Report {
    /// The report of `backend` in `text`.
    ///
    /// # Errors
    ///
    /// When it is no report, is another backend's, its totals are not those of its
    /// cases, or a case was left out without a reason: then nothing it says counts.
    pub(super) fn parse(text: &str, backend: &str) -> Result<Self> {
        let report: Self =
            serde_json::from_str(text).map_err(|error| Failure::new(error.to_string()))?;
        report.verify(backend)?;
        Ok(report)
    }

    fn verify(&self, backend: &str) -> Result<()> {
        if self.backend != backend {
            return Err(Failure::new(format!("it is about {:?}", self.backend)));
        }
        let counted = [Verdict::Passed, Verdict::Failed, Verdict::NotApplicable]
            .map(|verdict| self.cases.iter().filter(|case| case.verdict == verdict).count());
        if counted != [self.passed, self.failed, self.not_applicable] {
            return Err(Failure::new(format!(
                "its totals are not those of its cases: {counted:?}"
            )));
        }
        match self.cases.iter().find(|case| case.lacks_reason()) {
            Some(case) => Err(Failure::new(format!("{} was left out without a reason", case.id))),
            None => Ok(()),
        }
    }

    /// One line of totals.
    pub(super) fn summary(&self) -> String {
        let Self { backend, passed, failed, not_applicable, .. } = self;
        format!("{backend}: {passed} passed, {failed} failed, {not_applicable} not applicable")
    }

    /// Whether a case of `group` passed or failed.
    pub(super) fn ran(&self, group: &str) -> bool {
        let of_group = |case: &&Case| case.group == group;
        self.cases.iter().filter(of_group).any(|case| case.verdict != Verdict::NotApplicable)
    }

    /// One line per failed case.
    pub(super) fn failures(&self) -> impl Iterator<Item = String> {
        self.cases.iter().filter(|case| case.verdict == Verdict::Failed).map(|case| {
            let reason = case.reason.as_deref().unwrap_or("no reason given");
            format!("{} {} ({}): {reason}", self.backend, case.id, case.name)
        })
    }
}

impl Case {
    fn lacks_reason(&self) -> bool {
        let reason = self.reason.as_deref().unwrap_or_default();
        self.verdict == Verdict::NotApplicable && reason.trim().is_empty()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A report of `backend` with `(group, passed, failed, not applicable)`.
    pub(in crate::gate) fn report(backend: &str, groups: &[(&str, usize, usize, usize)]) -> Report {
        let mut cases = Vec::new();
        for (group, passed, failed, not_applicable) in groups {
            let verdicts = [
                (Verdict::Passed, *passed),
                (Verdict::Failed, *failed),
                (Verdict::NotApplicable, *not_applicable),
            ];
            for (verdict, count) in verdicts {
                cases.extend((0..count).map(|_| case(group, verdict)));
            }
        }
        let count = |verdict| cases.iter().filter(|case: &&Case| case.verdict == verdict).count();
        let (passed, failed) = (count(Verdict::Passed), count(Verdict::Failed));
        let not_applicable = count(Verdict::NotApplicable);
        let capabilities = Capabilities::default();
        Report { backend: backend.into(), passed, failed, not_applicable, capabilities, cases }
    }

    fn case(group: &str, verdict: Verdict) -> Case {
        Case {
            id: format!("{group}-01"),
            group: group.into(),
            name: "holds".into(),
            verdict,
            reason: (verdict != Verdict::Passed).then(|| "because".into()),
        }
    }

    const TEXT: &str = r#"{"backend": "sqlite", "cases": [
        {"id": "DOC-01", "group": "DOC", "name": "a", "verdict": "passed", "reason": null, "milliseconds": 3},
        {"id": "DOC-42", "group": "DOC", "name": "b", "verdict": "not_applicable", "reason": "JSON only", "milliseconds": 0}],
        "passed": 1, "failed": 0, "notApplicable": 1}"#;

    #[test]
    fn the_agreed_format_is_read() {
        let report = Report::parse(TEXT, "sqlite").unwrap();
        assert_eq!(report.summary(), "sqlite: 1 passed, 0 failed, 1 not applicable");
    }

    #[test]
    fn totals_that_do_not_add_up_are_refused() {
        let text = TEXT.replace("\"passed\": 1", "\"passed\": 2");
        assert!(Report::parse(&text, "sqlite").is_err());
    }

    #[test]
    fn a_case_left_out_without_a_reason_is_refused() {
        let failure = Report::parse(&TEXT.replace("\"JSON only\"", "\" \""), "sqlite").unwrap_err();
        assert!(failure.to_string().contains("DOC-42"));
    }

    #[test]
    fn a_report_of_another_backend_is_refused() {
        assert!(Report::parse(TEXT, "memory").is_err());
    }

    #[test]
    fn a_failed_case_is_listed_with_its_reason() {
        let report = report("memory", &[("DOC", 1, 1, 0)]);
        let lines: Vec<_> = report.failures().collect();
        assert_eq!(lines, ["memory DOC-01 (holds): because"]);
    }
}
