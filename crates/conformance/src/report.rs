//! What a run came to, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};
use syntrix_storage_core::Capabilities;
use syntrix_storage_core::backend::StoreKind;

use crate::case::Group;
use crate::harness::Harness;

/// What became of all cases of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The name the harness gave.
    pub backend: String,
    /// Every case of the selection, in the catalogue's order.
    pub cases: Vec<CaseReport>,
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// How many need what the backend does not offer.
    pub not_applicable: usize,
    /// What the backend declares to offer, for each store it has.
    pub capabilities: BTreeMap<StoreKind, Capabilities>,
}

impl Report {
    /// The report of these cases.
    pub(crate) fn new(harness: &dyn Harness, cases: Vec<CaseReport>) -> Self {
        let offered = |store| Some((store, harness.capabilities(store)?));
        let count = |verdict| cases.iter().filter(|case| case.verdict == verdict).count();
        Self {
            backend: harness.name().to_owned(),
            passed: count(Verdict::Passed),
            failed: count(Verdict::Failed),
            not_applicable: count(Verdict::NotApplicable),
            capabilities: StoreKind::ALL.into_iter().filter_map(offered).collect(),
            cases,
        }
    }

    /// Whether something passed and nothing failed.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// The failed cases, one line each.
    pub fn failures(&self) -> String {
        let failed = self.cases.iter().filter(|case| case.verdict == Verdict::Failed);
        let line = |case: &CaseReport| {
            format!("{} {}: {}", case.id, case.name, case.reason.as_deref().unwrap_or_default())
        };
        failed.map(line).collect::<Vec<_>>().join("\n")
    }
}

/// What became of one case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseReport {
    /// As in the catalogue.
    pub id: String,
    /// Where it belongs.
    pub group: Group,
    /// The statement it checks.
    pub name: String,
    /// Whether the statement holds.
    pub verdict: Verdict,
    /// Why not; `None` only if it does.
    pub reason: Option<String>,
    /// How long it took.
    #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
    pub duration: Duration,
}

/// Whether a case's statement holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does.
    Passed,
    /// It does not.
    Failed,
    /// The backend does not claim what the statement is about.
    NotApplicable,
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
