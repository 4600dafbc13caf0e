//! Digests of whole ranges: sums, so that the order in which documents are met does not matter.

use serde::Serialize;
use syntrix_storage_core::DocumentId;

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

impl SideDigest {
    pub(super) fn new() -> Self {
        Self { ranges: vec![Range::default(); RANGES] }
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        let range = &mut self.ranges[range_of(*entry.path.key())];
        range.sum = range.sum.wrapping_add(entry.digest);
        match entry.metadata.deleted {
            true => range.tombstones += 1,
            false => range.documents += 1,
        }
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
