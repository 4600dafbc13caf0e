//! What verify says about accounts and revoked tokens.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{Result, TokenId, UserId};

use super::is_clean;
use crate::verify::report::{FieldDifference, as_seconds};
use crate::verify::{Depth, Verdict, VerdictCounts};

/// Which record. Prints an account's id, and of a token a digest of its id alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum RecordKey {
    /// An account.
    User(UserId),
    /// A revoked token.
    Token(TokenId),
}

impl fmt::Display for RecordKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => formatter.write_str(id.as_str()),
            Self::Token(token) => write!(formatter, "{token:?}"),
        }
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for RecordKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One account or revoked token that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordFinding {
    /// What is wrong.
    pub verdict: Verdict,
    /// Where: an account's id, or a digest of a token's.
    pub record: RecordKey,
    /// The primary's version, if it has the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_version: Option<i64>,
    /// The shadow's version, if it has the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow_version: Option<i64>,
    /// The first field that differs, if both have the record.
    #[serde(flatten)]
    pub difference: Option<FieldDifference>,
}

/// Gets each finding as soon as it is certain. An error ends the run.
pub type RecordReport<'run> = &'run mut (dyn FnMut(RecordFinding) -> Result<()> + Send);

/// The last line of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordsSummary {
    /// `users` or `revocations`.
    pub store: &'static str,
    /// What was compared.
    pub depth: Depth,
    /// Whether nothing differs and everything could be compared.
    pub equal: bool,
    /// How many differ, and how.
    #[serde(flatten)]
    pub counts: VerdictCounts,
    /// Records that were compared.
    pub compared: u64,
    /// Records that differed at first, were on their way, and turned out to be the same.
    pub settled: u64,
    /// Revoked tokens whose record's time is over, or is in less than a minute on one side: it may be gone.
    pub expired: u64,
    /// Tokens that are revoked on the shadow alone: no difference, as they let nobody in, and gone with the token's own time.
    pub beyond: u64,
    /// Whether it was found out what the shadow has too much. Some databases cannot list their tokens.
    pub extras_compared: bool,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub elapsed: Duration,
}

impl RecordsSummary {
    pub(super) fn new(store: StoreKind, depth: Depth) -> Self {
        Self {
            store: store.as_str(),
            depth,
            equal: false,
            counts: VerdictCounts::default(),
            compared: 0,
            settled: 0,
            expired: 0,
            beyond: 0,
            extras_compared: false,
            elapsed: Duration::ZERO,
        }
    }

    pub(super) fn end(&mut self, elapsed: Duration) {
        (self.equal, self.elapsed) = (is_clean(self.counts), elapsed);
    }
}
