//! Ranges of paths, read on one side and then on the other.

use std::cmp::Ordering;

use syntrix_storage_core::backend::CallContext;
use syntrix_storage_core::{Document, DocumentPath, ITEMS_MAX, Result};

use super::Verify;
use super::entry::Entry;
use crate::extra::{scan, scan_as};
use crate::page_size::PageSize;

/// Documents of one page are about so large together at most.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where a range begins: behind a path, or at the very first one.
#[derive(Debug)]
pub(super) struct Range(Option<String>);

/// Both ends of a range; the last one has no end.
#[derive(Debug)]
pub(super) struct Bounds {
    after: Option<String>,
    last: Option<String>,
}

impl Range {
    pub(super) fn first() -> Self {
        Self(None)
    }

    /// The one behind a path.
    pub(super) fn behind(path: String) -> Self {
        Self(Some(path))
    }

    /// Where the one before it ended.
    pub(super) fn begins_after(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl Verify<'_> {
    /// The next documents of the primary, the range they make up, and the one behind it.
    pub(super) async fn read_primary(
        &self,
        range: Range,
    ) -> Result<(Vec<Entry>, Bounds, Option<Range>)> {
        let (mut entries, mut after) = (Vec::new(), range.0.clone());
        let mut size = PageSize::new(ITEMS_MAX, PAGE_BYTES_MAX);
        loop {
            let records = size.records();
            let page = scan(&*self.primary, after.clone(), records).await?;
            size.learn(&page);
            entries.extend(page.iter().map(|document| Entry::of(document, self.options.depth)));
            if page.len() < records {
                return Ok((entries, Bounds { after: range.0, last: None }, None));
            }
            after = page.last().map(|last| last.path().as_str().to_owned());
            if entries.len() >= self.options.range_documents_max {
                return Ok((
                    entries,
                    Bounds { after: range.0, last: after.clone() },
                    Some(Range(after)),
                ));
            }
        }
    }

    /// The shadow's documents within `bounds`.
    pub(super) async fn read_shadow(
        &self,
        bounds: &Bounds,
        context: &CallContext,
    ) -> Result<Vec<Entry>> {
        let (mut entries, mut after) = (Vec::new(), bounds.after.clone());
        let mut size = PageSize::new(ITEMS_MAX, PAGE_BYTES_MAX);
        loop {
            let records = size.records();
            let read = || scan_as(&*self.shadow, after.clone(), records, context);
            let page = self.read_when_reached(read).await?;
            size.learn(&page);
            let read = page.len();
            after = page.last().map(|last| last.path().as_str().to_owned());
            let within = |document: &&Document| {
                bounds.last.as_deref().is_none_or(|last| document.path().as_str() <= last)
            };
            let before = entries.len();
            entries.extend(
                page.iter()
                    .take_while(within)
                    .map(|document| Entry::of(document, self.options.depth)),
            );
            if read < records || entries.len() - before < read {
                return Ok(entries);
            }
        }
    }
}

/// Hands the equal ones to `equal` and returns the paths of the others. Both sides are in order.
pub(super) fn compare(
    primary: &[Entry],
    shadow: &[Entry],
    mut equal: impl FnMut(&Entry),
) -> Vec<DocumentPath> {
    let (mut left, mut right) = (primary.iter().peekable(), shadow.iter().peekable());
    let mut doubtful = Vec::new();
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return doubtful,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.text().cmp(right.text()),
        };
        let of_primary = if order.is_le() { left.next() } else { None };
        let of_shadow = if order.is_ge() { right.next() } else { None };
        match (of_primary, of_shadow) {
            (Some(one), Some(other)) if one.digest == other.digest => equal(one),
            (Some(one), _) | (None, Some(one)) => doubtful.push(one.path.clone()),
            (None, None) => return doubtful,
        }
    }
}
