//! Digests of whole ranges: sums, so that the order in which documents are met does not matter.

use serde::{Deserialize, Serialize};
use syntrix_storage_core::{DocumentId, Error, ErrorKind, Result};

use super::entry::Entry;

/// One range per value of the first byte of the id, which is a hash.
const RANGES: usize = 256;

/// One side of a comparison.
#[derive(Clone, Debug)]
pub(super) struct SideDigest {
    ranges: Vec<Range>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    documents: u64,
    tombstones: u64,
    sum: u128,
}

/// A range as it is noted: documents, tombstones, and the sum in hexadecimal digits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RangeBody(u64, u64, String);

/// What a side's digests say as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SideSummary {
    /// Live documents.
    pub documents: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// BLAKE3 over the table of ranges, 32 hexadecimal digits.
    pub digest: String,
}

impl Default for SideDigest {
    fn default() -> Self {
        Self { ranges: vec![Range::default(); RANGES] }
    }
}

impl SideDigest {
    pub(super) fn add(&mut self, entry: &Entry) {
        let range = &mut self.ranges[range_of(*entry.path.key())];
        range.sum = range.sum.wrapping_add(entry.digest);
        match entry.metadata.deleted {
            true => range.tombstones += 1,
            false => range.documents += 1,
        }
    }

    pub(super) fn bodies(&self) -> Vec<RangeBody> {
        let body = |range: &Range| {
            RangeBody(range.documents, range.tombstones, format!("{:x}", range.sum))
        };
        self.ranges.iter().map(body).collect()
    }

    pub(super) fn from_bodies(bodies: &[RangeBody]) -> Result<Self> {
        let range = |RangeBody(documents, tombstones, sum): &RangeBody| {
            let sum = u128::from_str_radix(sum, 16).ok()?;
            Some(Range { documents: *documents, tombstones: *tombstones, sum })
        };
        let ranges: Option<Vec<_>> = bodies.iter().map(range).collect();
        ranges.filter(|ranges| ranges.len() == RANGES).map(|ranges| Self { ranges }).ok_or_else(
            || {
                Error::new(ErrorKind::Internal, "verify").with_message(
                    "what was noted of an interrupted comparison is damaged; begin anew",
                )
            },
        )
    }

    pub(super) fn summary(&self) -> SideSummary {
        let mut hasher = blake3::Hasher::new();
        for range in &self.ranges {
            hasher.update(&range.documents.to_be_bytes());
            hasher.update(&range.tombstones.to_be_bytes());
            hasher.update(&range.sum.to_be_bytes());
        }
        SideSummary {
            documents: self.ranges.iter().map(|range| range.documents).sum(),
            tombstones: self.ranges.iter().map(|range| range.tombstones).sum(),
            digest: hasher.finalize().to_hex()[..32].to_owned(),
        }
    }

    /// The id prefixes, two hexadecimal digits each, in which `self` and `other` are not the same.
    pub(super) fn differing(&self, other: &Self) -> Vec<String> {
        let pairs = self.ranges.iter().zip(&other.ranges).enumerate();
        pairs
            .filter(|(_, (left, right))| left != right)
            .map(|(at, _)| format!("{at:02x}"))
            .collect()
    }
}

fn range_of(id: DocumentId) -> usize {
    usize::from(id.as_bytes()[0])
}
