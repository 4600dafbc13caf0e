//! Up to where the shadow has everything: compare-and-set by revision, written only after the rows.

use std::sync::Arc;

use syntrix_storage_core::backend::Ledger;
use syntrix_storage_core::{Position, Result};

use crate::replicator::Interrupt;
use crate::replicator::records::{self, CHECKPOINT, CheckpointBody};

/// The checkpoint of the holder's term.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    ledger: Arc<dyn Ledger>,
    revision: Option<u64>,
    body: CheckpointBody,
}

impl Checkpoint {
    /// Takes over, or begins, what `body` says: from then on nobody of an earlier term can move it.
    pub(crate) async fn take(
        ledger: &Arc<dyn Ledger>,
        revision: Option<u64>,
        body: CheckpointBody,
    ) -> Result<Self, Interrupt> {
        let mut checkpoint = Self { ledger: Arc::clone(ledger), revision, body };
        checkpoint.store(|_| ()).await?;
        Ok(checkpoint)
    }

    pub(crate) fn body(&self) -> &CheckpointBody {
        &self.body
    }

    /// Whether it is written for `position`.
    pub(crate) fn is_at(&self, position: &Position) -> bool {
        self.body.position == position.into()
    }

    /// Everything up to `position` was applied.
    pub(crate) async fn advance(&mut self, position: &Position) -> Result<(), Interrupt> {
        let position = position.into();
        self.store(|body| body.position = position).await
    }

    /// Everything from before the route was copied, and everything since then applied.
    pub(crate) async fn set_filled(&mut self) -> Result<(), Interrupt> {
        self.store(|body| body.filled = true).await
    }

    /// Everything must be copied again, while the feed is followed from `position` on.
    pub(crate) async fn begin_fill(&mut self, position: &Position) -> Result<(), Interrupt> {
        let position = position.into();
        self.store(|body| {
            body.position = position;
            body.filled = false;
            body.fill += 1;
            body.history_lost += 1;
        })
        .await
    }

    async fn store(&mut self, change: impl FnOnce(&mut CheckpointBody)) -> Result<(), Interrupt> {
        let mut body = self.body.clone();
        change(&mut body);
        let written = records::write(&*self.ledger, CHECKPOINT, self.revision, &body).await?;
        let revision = written.ok_or(Interrupt::Lost)?;
        (self.revision, self.body) = (Some(revision), body);
        Ok(())
    }
}

/// The checkpoint as it is, whoever holds the lease.
pub(crate) async fn read(ledger: &dyn Ledger) -> Result<Option<(u64, CheckpointBody)>> {
    records::read(ledger, CHECKPOINT).await
}
