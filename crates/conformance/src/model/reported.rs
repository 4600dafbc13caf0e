//! The model test as cases of a report.

use std::sync::Arc;
use std::time::Instant;

use super::{Options, run_one};
use crate::case::Group;
use crate::harness::Harness;
use crate::report::{CaseReport, Report, Verdict};

/// As [`run`](super::run), with a report in which each script is a case `MOD-001`, `MOD-002`, …; calls `progress` after each.
///
/// The first disagreement ends the run: the cases behind it are not in the report.
///
/// # Cancellation
///
/// If the future is dropped, the namespaces of the script under way stay.
pub async fn run_reported(
    subject: Arc<dyn Harness>,
    reference: Arc<dyn Harness>,
    options: &Options,
    mut progress: impl FnMut(&CaseReport) + Send,
) -> Report {
    let mut cases = Vec::new();
    for number in 0..options.cases {
        let case = case(&subject, &reference, options, number).await;
        progress(&case);
        let failed = case.verdict == Verdict::Failed;
        cases.push(case);
        if failed {
            break;
        }
    }
    Report::new(&*subject, cases)
}

async fn case(
    subject: &Arc<dyn Harness>,
    reference: &Arc<dyn Harness>,
    options: &Options,
    number: u64,
) -> CaseReport {
    let (id, started) = (format!("MOD-{:03}", number + 1), Instant::now());
    let seed = options.seed.wrapping_add(number);
    let name = format!("random operations of seed {seed} answer as on {}", reference.name());
    let (verdict, reason) = match run_one(subject, reference, options, number).await {
        Ok(_) => (Verdict::Passed, None),
        Err(disagreement) => (Verdict::Failed, Some(disagreement.to_string())),
    };
    CaseReport { id, group: Group::Mod, name, verdict, reason, duration: started.elapsed() }
}
