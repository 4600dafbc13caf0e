//! The holder's record on the shadow, and the mark on the primary that belongs to it.

use syntrix_storage_core::{Position, Result};

use crate::replicator::records;
use crate::replicator::{Interrupt, Outcome};
use crate::shadow::OpenShadow;
use crate::swept::mark::Mark;
use crate::swept::{PassesBody, Swept, SweptReplication};

/// The record of the holder's term.
#[derive(Debug)]
pub(super) struct Progress {
    revision: u64,
    pub(super) body: PassesBody,
    mark: Mark,
}

impl Progress {
    /// Takes over, or begins, what `body` says: from then on nobody of an earlier term can move it.
    pub(super) async fn take<K: Swept>(
        replication: &SweptReplication<K>,
        shadow: &OpenShadow<K::Store>,
        revision: Option<u64>,
        body: PassesBody,
    ) -> Outcome<Self> {
        let shadow_id = shadow.ledger.store_id();
        let mark = Mark::read(&replication.primary_ledger, K::MARKS, shadow_id).await?;
        let written = records::write(&*shadow.ledger, K::PASSES, revision, &body).await?;
        let mut progress = Self { revision: written.ok_or(Interrupt::Lost)?, body, mark };
        if progress.body.position.is_some() && !progress.mark.continues(progress.body.mark) {
            progress.forget_place::<K>(shadow).await?;
        }
        Ok(progress)
    }

    /// Where the feed goes on; `None` if a pass has to come first.
    pub(super) fn place(&self) -> Result<Option<Position>> {
        self.body.position.as_ref().filter(|_| self.body.filled).map(Position::try_from).transpose()
    }

    /// Everything that was written up to `place` and before the request `served` is on the shadow.
    pub(super) async fn reach<K: Swept>(
        &mut self,
        shadow: &OpenShadow<K::Store>,
        place: &Position,
        served: u64,
    ) -> Outcome<()> {
        self.body.mark = self.mark.renew(self.body.mark).await?;
        (self.body.position, self.body.served) = (Some(place.into()), served);
        self.save::<K>(shadow).await
    }

    /// The place is not one of this history, or was forgotten: a pass has to come first.
    pub(super) async fn forget_place<K: Swept>(
        &mut self,
        shadow: &OpenShadow<K::Store>,
    ) -> Outcome<()> {
        tracing::error!(
            store = K::STORE.as_str(),
            "the primary went back, or what was written behind the shadow's place is forgotten: all records are brought again"
        );
        (self.body.position, self.body.filled) = (None, false);
        self.body.history_lost += 1;
        self.save::<K>(shadow).await
    }

    pub(super) async fn save<K: Swept>(&mut self, shadow: &OpenShadow<K::Store>) -> Outcome<()> {
        let written =
            records::write(&*shadow.ledger, K::PASSES, Some(self.revision), &self.body).await?;
        self.revision = written.ok_or(Interrupt::Lost)?;
        Ok(())
    }
}
