//! What cases about routes do on either side.

use std::sync::Arc;

use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend, Write};
use syntrix_storage_core::{
    Body, Consistency, Document, DocumentPath, Metadata, Operation, Timestamp, Version,
};

use crate::harness::Route;
use crate::{CaseResult, Failure, expect_equal, expect_same_documents};

/// A call below the route, which sees the last commit.
const CALL: CallContext =
    CallContext::new(Operation::Migrate).with_consistency(Consistency::Strong);
/// A version that no case comes to by itself.
pub(super) const FAR_AHEAD: Version = Version::new(9);

/// What one side has at `path`, live or tombstone.
pub(super) async fn at(
    side: &Arc<dyn DocumentBackend>,
    path: &DocumentPath,
) -> CaseResult<Option<Document>> {
    Ok(side.get(path, &CALL).await?)
}

/// What one side must have at `path`.
pub(super) async fn there(
    side: &Arc<dyn DocumentBackend>,
    path: &DocumentPath,
) -> CaseResult<Document> {
    let missing = || Failure::new(format_args!("there is nothing at {path} on one side"));
    at(side, path).await?.ok_or_else(missing)
}

/// Once the shadow has everything, both sides have the same at each of `paths`: data, version, times and mark.
pub(super) async fn expect_same_sides(route: &dyn Route, paths: &[DocumentPath]) -> CaseResult {
    route.drain().await?;
    let (primary, shadow) = (route.primary(), route.shadow());
    for path in paths {
        let sides = [there(&primary, path).await?, there(&shadow, path).await?];
        let [primary, shadow] = sides.each_ref().map(std::slice::from_ref);
        expect_same_documents(shadow, primary, "what the shadow has")?;
    }
    expect_equal(route.verify().await?, [], "what a verify finds")
}

/// Puts `document` on one side, whatever is there.
pub(super) async fn plant(side: &Arc<dyn DocumentBackend>, document: Document) -> CaseResult {
    let path = document.path().clone();
    let write = match at(side, &path).await? {
        None => Write::Insert(document),
        Some(current) => Write::Replace { expected: current.version(), document },
    };
    match side.write(vec![write], &CALL).await.pop() {
        Some(Ok(Applied::Yes(_))) => Ok(()),
        outcome => Err(Failure::new(format_args!("nothing was planted at {path}: {outcome:?}"))),
    }
}

/// Removes a record from one side without a trace, as damage does.
pub(super) async fn lose(side: &Arc<dyn DocumentBackend>, path: &DocumentPath) -> CaseResult {
    let current = there(side, path).await?;
    let metadata =
        Metadata { deleted: true, updated_at: Timestamp::default(), ..current.metadata() };
    plant(side, Document::from_parts(path.clone(), metadata, Body::empty())).await?;
    side.purge(Timestamp::from_milliseconds(1), 1000).await?;
    expect_equal(at(side, path).await?, None, format_args!("what was lost at {path}"))
}

/// `document` with another version and other data.
pub(super) fn changed(document: &Document, version: Version, data: &'static str) -> Document {
    let metadata = Metadata { version, ..document.metadata() };
    Document::from_parts(document.path().clone(), metadata, Body::from_canonical(data))
}

/// `document` as a tombstone of the same version.
pub(super) fn buried(document: &Document) -> Document {
    let metadata = Metadata { deleted: true, ..document.metadata() };
    Document::from_parts(document.path().clone(), metadata, Body::empty())
}

/// `document` at another path.
pub(super) fn copied(document: &Document, path: DocumentPath) -> Document {
    Document::from_parts(path, document.metadata(), document.body().clone())
}
