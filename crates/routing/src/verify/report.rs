//! What verify says: one line per difference, one last line about all.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use syntrix_storage_core::DocumentPath;

use super::Depth;
use super::digest::SideSummary;

/// How a document's two sides are not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The shadow lacks it.
    Missing,
    /// The shadow has it, or a version of it, that the primary never had.
    Extra,
    /// The shadow has an older version.
    Stale,
    /// Both have the same version with different contents.
    Different,
    /// It changed each time it was looked at, so nothing can be said.
    Unsettled,
}

/// One document that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What is wrong.
    pub verdict: Verdict,
    /// Where. Serialised as text.
    #[serde(serialize_with = "as_text")]
    pub path: DocumentPath,
    /// The key of the record, 32 hexadecimal digits.
    pub id: String,
    /// The primary's version, if it has the document.
    pub primary_version: Option<i64>,
    /// The shadow's version, if it has the document.
    pub shadow_version: Option<i64>,
    /// The first field that differs, if both have the document.
    #[serde(flatten)]
    pub difference: Option<FieldDifference>,
}

/// A field that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDifference {
    /// For example `owner.name`, `tags.2`, `updatedAt`.
    pub field: String,
    /// Its value on the primary, if it has one; only if values are to be shown and it is no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_value: Option<Value>,
    /// Its value on the shadow, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow_value: Option<Value>,
}

impl FieldDifference {
    /// Says that the field differs, and no more.
    pub(super) fn of(field: impl Into<String>) -> Self {
        Self { field: field.into(), primary_value: None, shadow_value: None }
    }

    /// Without its values, unless they are to be shown.
    pub(super) fn shown(self, with_values: bool) -> Self {
        if with_values { self } else { Self::of(self.field) }
    }
}

fn as_text<S: serde::Serializer>(path: &DocumentPath, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path.as_str())
}

/// How many documents got each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictCounts {
    /// [`Verdict::Missing`].
    pub missing: u64,
    /// [`Verdict::Extra`].
    pub extra: u64,
    /// [`Verdict::Stale`].
    pub stale: u64,
    /// [`Verdict::Different`].
    pub different: u64,
    /// [`Verdict::Unsettled`].
    pub unsettled: u64,
}

impl VerdictCounts {
    pub(super) fn count(&mut self, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Missing => &mut self.missing,
            Verdict::Extra => &mut self.extra,
            Verdict::Stale => &mut self.stale,
            Verdict::Different => &mut self.different,
            Verdict::Unsettled => &mut self.unsettled,
        };
        *counter += 1;
    }

    /// Documents that certainly differ.
    pub fn differences(&self) -> u64 {
        self.missing + self.extra + self.stale + self.different
    }
}

/// The last line of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifySummary {
    /// What was compared.
    pub depth: Depth,
    /// Whether nothing differs and everything could be compared.
    pub equal: bool,
    /// How many differ, and how.
    #[serde(flatten)]
    pub counts: VerdictCounts,
    /// Documents that differed at first, were in flight, and turned out to be the same.
    pub settled: u64,
    /// Tombstones whose retention is over and which the shadow gave up already; the primary is about to.
    pub expired: u64,
    /// The primary's side, unsettled documents left out.
    pub primary: SideSummary,
    /// The shadow's side, unsettled documents left out.
    pub shadow: SideSummary,
    /// First bytes of the ids, in hexadecimal digits, whose documents do not have the same digest on both sides.
    pub ranges_differing: Vec<String>,
    /// Up to which path an earlier run, which was interrupted, had compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed_after: Option<String>,
    /// How long it took, that run's part included.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub elapsed: Duration,
}

pub(super) fn as_seconds<S: serde::Serializer>(
    elapsed: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((elapsed.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_finding_tells_the_field_and_its_values_beside_everything_else() {
        let difference = FieldDifference {
            field: "a.b".to_owned(),
            primary_value: Some(json!(1)),
            shadow_value: None,
        };
        let mut finding = Finding {
            verdict: Verdict::Different,
            path: DocumentPath::parse("rooms/lobby").unwrap(),
            id: "ab".to_owned(),
            primary_version: Some(2),
            shadow_version: None,
            difference: Some(difference.clone()),
        };
        let text = |finding: &Finding| serde_json::to_string(finding).unwrap();
        let begin = r#"{"verdict":"different","path":"rooms/lobby","id":"ab","primaryVersion":2,"shadowVersion":null"#;
        assert_eq!(text(&finding), format!(r#"{begin},"field":"a.b","primaryValue":1}}"#));
        finding.difference = Some(difference.shown(false));
        assert_eq!(text(&finding), format!(r#"{begin},"field":"a.b"}}"#));
        finding.difference = None;
        assert_eq!(text(&finding), format!("{begin}}}"));
    }
}
