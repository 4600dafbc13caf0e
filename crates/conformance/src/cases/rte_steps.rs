//! What cases about routes do on either side.

use std::sync::Arc;

use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend, Write};
use syntrix_storage_core::{
    Body, Consistency, Document, DocumentPath, ITEMS_MAX, Metadata, Operation, Timestamp, Version,
};

use crate::harness::Route;
use crate::{CaseResult, Failure, expect_equal, expect_same_documents};

/// A call below the route, which sees the last commit.
const MIGRATE: CallContext =
    CallContext::new(Operation::Migrate).with_consistency(Consistency::Strong);
/// A version that no case comes to by itself.
pub(super) const FAR_AHEAD: Version = Version::new(9);
/// Nothing else was ever written then, so a purge up to the next millisecond takes what a case buries then, and that alone.
const BEFORE_ALL: Timestamp = Timestamp::from_milliseconds(0);
const BEHIND_BURIED: Timestamp = Timestamp::from_milliseconds(1);

/// What one side has at `path`, live or tombstone.
pub(super) async fn find(
    side: &Arc<dyn DocumentBackend>,
    path: &DocumentPath,
) -> CaseResult<Option<Document>> {
    Ok(side.get(path, &MIGRATE).await?)
}

/// What one side must have at `path`.
pub(super) async fn read(
    side: &Arc<dyn DocumentBackend>,
    path: &DocumentPath,
) -> CaseResult<Document> {
    let missing = || Failure::new(format_args!("there is nothing at {path} on one side"));
    find(side, path).await?.ok_or_else(missing)
}

/// The database that follows. A case does not apply where nobody may write it.
pub(super) fn shadow(route: &dyn Route) -> CaseResult<Arc<dyn DocumentBackend>> {
    route.shadow().map_err(Failure::unless_unsupported)
}

/// Once the shadow has everything, both sides have the same at each of `paths`: data, version, times and mark.
pub(super) async fn expect_equal_sides(route: &dyn Route, paths: &[DocumentPath]) -> CaseResult {
    route.drain().await?;
    let (primary, shadow) = (route.primary(), shadow(route)?);
    for path in paths {
        let (primary, shadow) = (read(&primary, path).await?, read(&shadow, path).await?);
        expect_same_documents(&[shadow], &[primary], "what the shadow has")?;
    }
    expect_equal(route.verify().await?, [], "what a verify finds")
}

/// Puts `document` on one side, whatever is there.
pub(super) async fn plant(side: &Arc<dyn DocumentBackend>, document: Document) -> CaseResult {
    let path = document.path().clone();
    let write = match find(side, &path).await? {
        None => Write::Insert(document),
        Some(current) => Write::Replace { expected: current.version(), document },
    };
    match side.write(vec![write], &MIGRATE).await.pop() {
        Some(Ok(Applied::Yes(_))) => Ok(()),
        outcome => Err(Failure::new(format_args!("nothing was planted at {path}: {outcome:?}"))),
    }
}

/// Fails unless one side has just `document` at its path.
pub(super) async fn expect_there(
    side: &Arc<dyn DocumentBackend>,
    document: &Document,
    what: &str,
) -> CaseResult {
    let found = read(side, document.path()).await?;
    expect_same_documents(&[found], std::slice::from_ref(document), what)
}

/// Applies `document` to one side as a mirrored write that comes late; it must find something newer.
pub(super) async fn mirror_late(side: &Arc<dyn DocumentBackend>, document: Document) -> CaseResult {
    let write = Write::ApplyIfNewer(document);
    match side.write(vec![write], &MIGRATE).await.pop() {
        Some(Ok(Applied::No(_))) => Ok(()),
        outcome => Err(Failure::new(format_args!("a late write was not refused: {outcome:?}"))),
    }
}

/// Removes a record from one side without a trace, as damage does. Backends forget tombstones alone.
pub(super) async fn lose(side: &Arc<dyn DocumentBackend>, path: &DocumentPath) -> CaseResult {
    let current = read(side, path).await?;
    let metadata = Metadata { deleted: true, updated_at: BEFORE_ALL, ..current.metadata() };
    plant(side, Document::from_parts(path.clone(), metadata, Body::empty())).await?;
    side.purge(BEHIND_BURIED, ITEMS_MAX).await?;
    expect_equal(find(side, path).await?, None, format_args!("what was lost at {path}"))
}

/// `document`, live, with another version and other data.
pub(super) fn with_data(document: &Document, version: Version, data: &str) -> Document {
    let metadata = Metadata { version, deleted: false, ..document.metadata() };
    Document::from_parts(document.path().clone(), metadata, Body::from_canonical(data))
}

/// `document` as a tombstone of the same version.
pub(super) fn tombstone_of(document: &Document) -> Document {
    let metadata = Metadata { deleted: true, ..document.metadata() };
    Document::from_parts(document.path().clone(), metadata, Body::empty())
}

/// `document` at another path.
pub(super) fn at_path(document: &Document, path: DocumentPath) -> Document {
    Document::from_parts(path, document.metadata(), document.body().clone())
}
