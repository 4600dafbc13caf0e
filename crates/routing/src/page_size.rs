//! How many records to ask for at once, so that a page is bounded in bytes, whatever their size.

use syntrix_storage_core::Document;

/// Records of the first page, before anything is known of their size.
const FIRST: usize = 50;
const MIN: usize = 8;
/// A page of small records tells little of the next one, so it grows step by step.
const GROWTH_MAX: usize = 2;
/// What a record takes beside its data.
const OVERHEAD_BYTES: usize = 200;

/// The size of the next page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageSize {
    records: usize,
    records_max: usize,
    bytes_max: usize,
}

impl PageSize {
    pub(crate) fn new(records_max: usize, bytes_max: usize) -> Self {
        Self { records: FIRST.min(records_max), records_max, bytes_max }
    }

    pub(crate) fn records(self) -> usize {
        self.records
    }

    /// Learns from a page.
    pub(crate) fn learn<'page>(&mut self, page: impl IntoIterator<Item = &'page Document>) {
        let (mut count, mut bytes) = (0, 0);
        for document in page {
            count += 1;
            bytes += document.raw().len() + OVERHEAD_BYTES;
        }
        if count == 0 {
            return;
        }
        let fitting = self.bytes_max * count / bytes;
        let grown = fitting.min(self.records * GROWTH_MAX);
        self.records = grown.max(MIN).min(self.records_max);
    }
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::{Body, DocumentPath, Timestamp};

    use super::*;

    fn page(count: usize, bytes: usize) -> Vec<Document> {
        let body = Body::from_canonical(format!("{{\"t\":\"{}\"}}", "x".repeat(bytes)));
        let path = DocumentPath::parse("a/1").unwrap();
        vec![Document::first(path, Timestamp::default(), body); count]
    }

    #[test]
    fn a_page_grows_step_by_step_and_shrinks_at_once() {
        let mut size = PageSize::new(1000, 1 << 20);
        for expected in [100, 200, 400, 800, 1000] {
            size.learn(&page(size.records(), 10));
            assert_eq!(size.records(), expected);
        }
        size.learn(&page(1000, 1 << 16));
        assert_eq!(size.records(), 15);
        size.learn(&page(15, 1 << 20));
        assert_eq!(size.records(), MIN);
        size.learn(&[]);
        assert_eq!(size.records(), MIN);
    }
}
