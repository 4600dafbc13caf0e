//! Verify and repair of an open route.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::{Clock, Result, SystemClock};

use super::state::Memory;
use super::{Barrier, Repair, Report, Verify, VerifyOptions, VerifySummary};
use crate::reads::freshness::barrier;
use crate::replication::DocumentReplication;
use crate::replicator::not_caught_up;

/// Waits for whoever replicates to the shadow, at most so long at a time.
struct CatchUp<'route> {
    replication: &'route Arc<DocumentReplication>,
    limit: Duration,
}

#[async_trait]
impl Barrier for CatchUp<'_> {
    async fn pass(&self) -> Result<()> {
        match tokio::time::timeout(self.limit, barrier(self.replication)).await {
            Ok(passed) => passed,
            Err(_) => Err(not_caught_up(self.limit, self.replication.link())),
        }
    }
}

impl DocumentReplication {
    /// Compares the shadow with the primary while writes go on. The shadow is caught up first, and whenever it has to be;
    /// `limit` is the longest wait for that each time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](syntrix_storage_core::ErrorKind::Timeout) if the shadow does not catch up; what either side or
    /// `report` says. Then nothing is proven.
    pub async fn verify(
        self: &Arc<Self>,
        options: VerifyOptions,
        limit: Duration,
        report: Report<'_>,
    ) -> Result<VerifySummary> {
        let catch_up = CatchUp { replication: self, limit };
        catch_up.pass().await?;
        let (primary, shadow) = self.sides()?;
        let expired = SystemClock.now().saturating_sub(primary.retention().soft_delete());
        let options = match options.expired_before {
            None => options.with_expired_before(expired),
            Some(_) => options,
        };
        let ledger = self.verify_ledger()?;
        let memory = Memory::new(ledger, self.primary_ledger().store_id());
        let verify = Verify::new(primary, shadow, &catch_up, options).remembering(memory);
        let verify = match self.link().is_native() {
            true => verify.of_replica(limit),
            false => verify,
        };
        verify.run(report).await
    }

    /// What repairs single documents of the shadow; a dry run until it is told otherwise.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](syntrix_storage_core::ErrorKind::Unavailable) while the shadow was not reached;
    /// [`ErrorKind::Unsupported`](syntrix_storage_core::ErrorKind::Unsupported) if it is a native replica, which nobody but
    /// its own database writes.
    pub fn repair(&self) -> Result<Repair> {
        self.refuse_native()?;
        let (primary, shadow) = self.sides()?;
        Ok(Repair::dry_run(primary, shadow))
    }
}
