//! Brings images of the primary to the shadow, in any order and as often as it may be.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;
use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend, Write};
use syntrix_storage_core::{
    Consistency, Document, DocumentPath, Error, ErrorKind, Operation, Result, Retry,
};

use crate::content::same_content;
use crate::options::ReplicationOptions;
use crate::replicator::Backoff;
use crate::replicator::dead_letters::DeadLetters;
use crate::replicator::status::Counts;

/// Most documents in one call of the shadow.
const WRITES_MAX: usize = 250;
/// How often what failed is tried again before the whole batch is.
const RETRIES_MAX: usize = 6;
/// How often a document is settled again that others write meanwhile.
const ATTEMPTS_MAX: usize = 20;

/// Applies to one shadow.
#[derive(Debug)]
pub(crate) struct Applier {
    pub(crate) primary: Arc<dyn DocumentBackend>,
    pub(crate) shadow: Arc<dyn DocumentBackend>,
    pub(crate) dead: DeadLetters,
    pub(crate) counts: Arc<Counts>,
    pub(crate) options: ReplicationOptions,
}

impl Applier {
    /// Applies all of `images`, which hold a path once at most. Either all are on the shadow afterwards, or newer ones, or a
    /// dead letter tells of them; or it is an error and some may be.
    pub(crate) async fn apply(&self, images: Vec<Document>) -> Result<()> {
        let lanes = self.options.lanes.max(1);
        let mut parts: Vec<Vec<Document>> = vec![Vec::new(); lanes];
        for image in images {
            parts[usize::from(image.path().key().as_bytes()[0]) % lanes].push(image);
        }
        try_join_all(parts.into_iter().map(|part| self.apply_part(part))).await.map(drop)
    }

    async fn apply_part(&self, mut part: Vec<Document>) -> Result<()> {
        while !part.is_empty() {
            let rest = part.split_off(part.len().min(WRITES_MAX));
            self.apply_some(&part).await?;
            part = rest;
        }
        Ok(())
    }

    /// Those that fail are tried again by themselves: one of many that fails now and then does not hold up all.
    async fn apply_some(&self, images: &[Document]) -> Result<()> {
        let mut backoff = Backoff::default();
        let mut failed = self.apply_once(images).await?;
        for _ in 0..RETRIES_MAX {
            if failed.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(backoff.next()).await;
            let again: Vec<Document> = failed.into_iter().map(|(image, _)| image).collect();
            failed = self.apply_once(&again).await?;
        }
        failed.pop().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// What failed, and may not fail again.
    async fn apply_once(&self, images: &[Document]) -> Result<Vec<(Document, Error)>> {
        let (mut failed, mut ahead) = (Vec::new(), Vec::new());
        let writes = images.iter().cloned().map(Write::ApplyIfNewer).collect();
        let outcomes = self.write(writes).await?;
        let works = outcomes.iter().any(Result::is_ok);
        for (image, outcome) in images.iter().zip(outcomes) {
            match outcome {
                Ok(Applied::Yes(_) | Applied::ShadowPending(_)) => {
                    self.counts.applied(1);
                    self.dead.forget(image.path()).await?;
                }
                Ok(Applied::No(Some(current))) if same_content(image, &current) => {
                    self.counts.known(1);
                }
                Ok(Applied::No(Some(current))) => ahead.push(current),
                Ok(Applied::No(None)) => self.settle(image.path()).await?,
                Err(error) if is_poison(&error, works) => self.dead.add(image, &error).await?,
                Err(error) => failed.push((image.clone(), error)),
            }
        }
        self.settle_ahead(&ahead).await?;
        Ok(failed)
    }

    /// What the shadow has instead of an image is mostly a later one, which was mirrored. It is not if the primary lost what it
    /// had told of, so the primary is asked, in one call for all: it read later, so it has as much or another history.
    async fn settle_ahead(&self, ahead: &[Document]) -> Result<()> {
        if ahead.is_empty() {
            return Ok(());
        }
        let paths: Vec<DocumentPath> = ahead.iter().map(|there| there.path().clone()).collect();
        let rightful = self.primary.get_many(&paths, &strong()).await?;
        for (there, right) in ahead.iter().zip(rightful) {
            match right {
                Some(right) if right.version() < there.version() => {
                    self.settle(there.path()).await?;
                }
                Some(right)
                    if right.version() == there.version() && !same_content(there, &right) =>
                {
                    self.settle(there.path()).await?;
                }
                // A later one comes with the feed; what is purged there was purged here before.
                Some(_) | None => self.counts.known(1),
            }
        }
        Ok(())
    }

    /// Makes the shadow's record of `path` the primary's, where versions alone do not decide.
    ///
    /// The shadow is read first: what it has was on the primary before. So if the primary's record has the lower version
    /// afterwards, or the same one with other content, its history is another one than the shadow's, and the primary is right.
    pub(crate) async fn settle(&self, path: &DocumentPath) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            let on_shadow = self.shadow.get(path, &self.context()).await?;
            let on_primary = self.primary.get(path, &strong()).await?;
            let Some(right) = on_primary else { return Ok(()) };
            let write = match &on_shadow {
                Some(wrong) if same_content(wrong, &right) => return self.dead.forget(path).await,
                Some(wrong) if wrong.version() >= right.version() => {
                    self.counts.lineage(1);
                    tracing::warn!(
                        %path, shadow_version = %wrong.version(), primary_version = %right.version(),
                        "lineage: the shadow's record is of another history; the primary's replaces it"
                    );
                    Write::Replace { expected: wrong.version(), document: right.clone() }
                }
                _ => Write::ApplyIfNewer(right.clone()),
            };
            match self.write(vec![write]).await?.pop() {
                Some(Ok(Applied::Yes(_))) => {
                    self.counts.applied(1);
                    return self.dead.forget(path).await;
                }
                Some(Err(error)) if is_poison(&error, false) => {
                    return self.dead.add(&right, &error).await;
                }
                Some(Err(error)) => return Err(error),
                // Somebody wrote in between: look again.
                _ => {}
            }
        }
        Err(Error::new(ErrorKind::Conflict, "replicate")
            .with_message("others wrote the document on the shadow every time; it is tried again")
            .with_fact("path", path))
    }

    pub(crate) async fn write(&self, writes: Vec<Write>) -> Result<Vec<Result<Applied>>> {
        let count = writes.len();
        let context = self.context();
        let writing = self.shadow.write(writes, &context);
        let outcomes = tokio::time::timeout(self.options.apply_timeout, writing)
            .await
            .map_err(|_| too_slow())?;
        if outcomes.len() == count {
            return Ok(outcomes);
        }
        Err(Error::new(ErrorKind::Internal, "replicate")
            .with_message("the shadow gave fewer outcomes than writes"))
    }

    pub(crate) fn context(&self) -> CallContext {
        let deadline = Instant::now() + self.options.apply_timeout;
        CallContext::new(Operation::Migrate).with_deadline(Some(deadline))
    }
}

/// A read that sees every commit, past the route.
pub(crate) fn strong() -> CallContext {
    CallContext::new(Operation::ReadStrong).with_consistency(Consistency::Strong)
}

/// Whether the document itself is what the shadow does not take. Everything else is tried again. An error that may be the
/// whole shadow's is a document's only if the shadow `works` for others at the same time.
fn is_poison(error: &Error, works: bool) -> bool {
    match error.kind() {
        ErrorKind::InvalidArgument | ErrorKind::PathConflict => true,
        ErrorKind::Unsupported => works,
        ErrorKind::Internal => works && error.retry() == Retry::Never,
        _ => false,
    }
}

fn too_slow() -> Error {
    Error::new(ErrorKind::Timeout, "replicate").with_message("the shadow did not answer in time")
}

/// The last image of each path, in no order that matters. In the feed's order and not by version: after a purge a path begins
/// again at 1.
pub(crate) fn coalesce(images: impl Iterator<Item = Document>) -> Vec<Document> {
    let last: HashMap<_, _> = images.map(|image| (*image.path().key(), image)).collect();
    last.into_values().collect()
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::{Body, Timestamp};

    use super::*;

    fn document(path: &str, created_at: i64) -> Document {
        let path = DocumentPath::parse(path).unwrap();
        Document::first(path, Timestamp::from_milliseconds(created_at), Body::empty())
    }

    #[test]
    fn the_last_image_of_a_path_is_kept_even_if_its_version_is_lower() {
        let old = document("a/1", 1).tombstone(Timestamp::from_milliseconds(2));
        let new = document("a/1", 9);
        let kept = coalesce([old, document("a/2", 1), new.clone()].into_iter());
        assert_eq!(kept.len(), 2);
        assert!(kept.contains(&new));
    }
}
