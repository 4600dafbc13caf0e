//! Repair: the shadow gets what the primary has, by compare-and-set on what the shadow has.

use std::sync::Arc;

use serde::Serialize;
use syntrix_storage_core::backend::{Applied, DocumentBackend, Write};
use syntrix_storage_core::{Document, DocumentPath, Error, ErrorKind, Result};

use super::entry::{Entry, first_difference};
use crate::extra::{BEHIND_REMOVED, migrate, removed};
use crate::replicator::purge::purge_shadow;
use crate::verify::Depth;

/// A document that changes on the shadow that often is brought by the replicator anyway.
const ATTEMPTS_MAX: usize = 5;

/// What repair did, or would do, about one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Repaired {
    /// Both sides are the same by now.
    Equal,
    /// The shadow lacked it and got it.
    Inserted,
    /// The shadow had another version or other contents and got the primary's.
    Replaced,
    /// The shadow had what the primary does not have; it is gone.
    Removed,
}

/// How many documents were treated how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairSummary {
    /// Whether the shadow was changed at all.
    pub executed: bool,
    /// [`Repaired::Equal`].
    pub equal: u64,
    /// [`Repaired::Inserted`].
    pub inserted: u64,
    /// [`Repaired::Replaced`].
    pub replaced: u64,
    /// [`Repaired::Removed`].
    pub removed: u64,
}

impl RepairSummary {
    /// Counts one document.
    pub fn count(&mut self, repaired: Repaired) {
        let counter = match repaired {
            Repaired::Equal => &mut self.equal,
            Repaired::Inserted => &mut self.inserted,
            Repaired::Replaced => &mut self.replaced,
            Repaired::Removed => &mut self.removed,
        };
        *counter += 1;
    }
}

/// Brings single documents of a shadow to what the primary has.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::DocumentPath;
/// use syntrix_storage_routing::{Repair, Repaired};
///
/// async fn would_be_done(repair: &Repair) -> syntrix_storage_core::Result<Repaired> {
///     repair.document(&DocumentPath::parse("rooms/lobby")?).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Repair {
    primary: Arc<dyn DocumentBackend>,
    shadow: Arc<dyn DocumentBackend>,
    execute: bool,
}

impl Repair {
    /// A repair of `shadow` that only says what it would do.
    pub fn dry_run(primary: Arc<dyn DocumentBackend>, shadow: Arc<dyn DocumentBackend>) -> Self {
        Self { primary, shadow, execute: false }
    }

    /// The same one, doing it.
    #[must_use]
    pub fn executing(mut self) -> Self {
        self.execute = true;
        self
    }

    /// Repairs one document. A newer write that reaches the shadow meanwhile is never overwritten.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] if the shadow's document changed each time; it is being replicated, verify again.
    pub async fn document(&self, path: &DocumentPath) -> Result<Repaired> {
        for _ in 0..ATTEMPTS_MAX {
            // The shadow first: what the primary has behind that is at least as new, so the shadow never goes back.
            let shadow = self.shadow.get(path, &migrate()).await?;
            let primary = self.primary.get(path, &migrate()).await?;
            let Some((repaired, write)) = step(primary, shadow) else { return Ok(Repaired::Equal) };
            if !self.execute || self.apply(repaired, write, path).await? {
                return Ok(repaired);
            }
        }
        Err(Error::new(ErrorKind::Conflict, "repair")
            .with_message("the shadow's document changed each time; verify again")
            .with_fact("path", path)
            .with_fact("attempts", ATTEMPTS_MAX))
    }

    /// `false` if the shadow's document was another one by then.
    async fn apply(&self, repaired: Repaired, write: Write, path: &DocumentPath) -> Result<bool> {
        let outcome = self.shadow.write(vec![write], &migrate()).await.pop();
        let applied = outcome.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "repair").with_message("the backend gave no outcome")
        })??;
        if !matches!(applied, Applied::Yes(_)) {
            return Ok(false);
        }
        if repaired == Repaired::Removed {
            purge_shadow(&*self.shadow, BEHIND_REMOVED).await?;
            // A document that was created meanwhile lost against the mark.
            return Ok(self.primary.get(path, &migrate()).await?.is_none());
        }
        Ok(true)
    }
}

/// What makes the shadow equal to the primary; `None` if it is.
fn step(primary: Option<Document>, shadow: Option<Document>) -> Option<(Repaired, Write)> {
    match (primary, shadow) {
        (None, None) => None,
        (Some(primary), None) => Some((Repaired::Inserted, Write::Insert(primary))),
        (Some(primary), Some(shadow)) => (!are_equal(&primary, &shadow)).then(|| {
            let write = Write::Replace { expected: shadow.version(), document: primary };
            (Repaired::Replaced, write)
        }),
        (None, Some(shadow)) => {
            let (expected, document) = (shadow.version(), removed(&shadow));
            let write = Write::Replace { expected, document };
            Some((Repaired::Removed, write))
        }
    }
}

fn are_equal(primary: &Document, shadow: &Document) -> bool {
    let digest = |side| Entry::of(side, Depth::Deep).digest;
    digest(primary) == digest(shadow) || first_difference(primary, shadow).is_none()
}
