//! The table at the end: backend x group, and how the cases ended.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::report::{Report, Verdict};

/// Passed, failed, not applicable.
type Row = [usize; 3];

/// One line per backend and group, in the order of the names, under a heading.
pub(super) fn render(reports: &[Report]) -> String {
    let mut text = format!(
        "{:<10} {:<6} {:>7} {:>7} {:>15}\n",
        "backend", "group", "passed", "failed", "not applicable"
    );
    for ((backend, group), [passed, failed, not_applicable]) in rows(reports) {
        // Writing to a String cannot fail.
        let _ =
            writeln!(text, "{backend:<10} {group:<6} {passed:>7} {failed:>7} {not_applicable:>15}");
    }
    text
}

fn rows(reports: &[Report]) -> BTreeMap<(&str, &str), Row> {
    let mut rows = BTreeMap::<_, Row>::new();
    for report in reports {
        for case in &report.cases {
            let row = rows.entry((report.backend.as_str(), case.group.as_str())).or_default();
            row[column(case.verdict)] += 1;
        }
    }
    rows
}

fn column(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Passed => 0,
        Verdict::Failed => 1,
        Verdict::NotApplicable => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn each_backend_and_group_has_one_line() {
        let text = render(&[
            report("sqlite", &[("DOC", 2, 1, 3)]),
            report("memory", &[("DOC", 5, 0, 0), ("PRE", 1, 0, 0)]),
        ]);
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1], ["memory", "DOC", "5", "0", "0"] as [&str; 5]);
        let last: &Vec<&str> = &lines[3];
        assert_eq!(*last, ["sqlite", "DOC", "2", "1", "3"]);
    }
}
