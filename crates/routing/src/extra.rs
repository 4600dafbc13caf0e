//! All records of a side, and how one that a shadow has too much is removed from it.

use syntrix_storage_core::backend::{CallContext, DocumentBackend};
use syntrix_storage_core::{
    Body, Consistency, Document, Metadata, Operation, Result, ScanRequest, Timestamp,
};

/// Nothing was ever written then.
const BEFORE_ALL: Timestamp = Timestamp::from_milliseconds(0);
/// A purge up to here takes away what was removed and nothing that anybody wrote.
pub(crate) const BEHIND_REMOVED: Timestamp = Timestamp::from_milliseconds(1);

/// Reads and writes that name their database and see its last commit.
pub(crate) fn migrate() -> CallContext {
    CallContext::new(Operation::Migrate).with_consistency(Consistency::Strong)
}

/// Records behind `after` by path, tombstones too.
pub(crate) async fn scan(
    side: &dyn DocumentBackend,
    after: Option<String>,
    records: usize,
) -> Result<Vec<Document>> {
    scan_as(side, after, records, &migrate()).await
}

/// As [`scan`], of a side that must have reached something.
pub(crate) async fn scan_as(
    side: &dyn DocumentBackend,
    after: Option<String>,
    records: usize,
    context: &CallContext,
) -> Result<Vec<Document>> {
    let mut request = ScanRequest::of(None, true);
    (request.show_deleted, request.after, request.limit) = (true, after, records);
    side.scan(&request, context).await
}

/// What takes the place of a record that the primary does not have, until it is purged: backends forget tombstones alone.
pub(crate) fn removed(extra: &Document) -> Document {
    let metadata = Metadata {
        version: extra.version().next(),
        updated_at: BEFORE_ALL,
        deleted: true,
        ..extra.metadata()
    };
    Document::from_parts(extra.path().clone(), metadata, Body::empty())
}
