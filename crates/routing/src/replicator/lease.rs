//! One process replicates at a time.
//!
//! Nobody's clock is compared with anybody else's: an observer takes the lease when its record stood still for the lease time
//! by the observer's own monotonic clock. A holder that was stopped meanwhile finds its checkpoint rewritten; and whatever it
//! still applies is guarded by versions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use syntrix_storage_core::Result;
use syntrix_storage_core::backend::Ledger;

use crate::replicator::records::{self, LeaseBody};

/// Wants the lease.
#[derive(Debug)]
pub(crate) struct Competitor {
    /// The lease's record.
    record: &'static str,
    name: String,
    lease_time: Duration,
    /// The revision that was last seen, and since when it is the one.
    seen: Option<(u64, Instant)>,
}

impl Competitor {
    pub(crate) fn new(record: &'static str, lease_time: Duration) -> Self {
        let name = format!("{:016x}@{}", fastrand::u64(..), std::process::id());
        Self { record, name, lease_time, seen: None }
    }

    /// The lease, if it can be had now.
    pub(crate) async fn try_take(&mut self, ledger: &Arc<dyn Ledger>) -> Result<Option<Held>> {
        let found = records::read::<LeaseBody>(&**ledger, self.record).await?;
        let Some((revision, body)) = found else { return self.write(ledger, None, 1).await };
        let free = body.released || body.holder == self.name || self.has_expired(revision);
        if !free {
            return Ok(None);
        }
        self.write(ledger, Some(revision), body.term + 1).await
    }

    fn has_expired(&mut self, revision: u64) -> bool {
        match self.seen {
            Some((seen, since)) if seen == revision => since.elapsed() >= self.lease_time,
            _ => {
                self.seen = Some((revision, Instant::now()));
                false
            }
        }
    }

    async fn write(
        &mut self,
        ledger: &Arc<dyn Ledger>,
        expected: Option<u64>,
        term: u64,
    ) -> Result<Option<Held>> {
        let body = LeaseBody { holder: self.name.clone(), term, beat: 0, released: false };
        let written_at = Instant::now();
        let revision = records::write(&**ledger, self.record, expected, &body).await?;
        self.seen = None;
        let record = self.record;
        Ok(revision.map(|revision| Held {
            record,
            ledger: Arc::clone(ledger),
            body,
            revision,
            written_at,
        }))
    }
}

/// Takes the lease away from whoever has it, for nobody: the holder looks at everything anew.
pub(crate) async fn revoke(ledger: &dyn Ledger, record: &str) -> Result<()> {
    while let Some((revision, body)) = records::read::<LeaseBody>(ledger, record).await? {
        let body = LeaseBody { released: true, ..body };
        if records::write(ledger, record, Some(revision), &body).await?.is_some() {
            break;
        }
    }
    Ok(())
}

/// The lease, in our hands.
#[derive(Debug)]
pub(crate) struct Held {
    record: &'static str,
    ledger: Arc<dyn Ledger>,
    body: LeaseBody,
    revision: u64,
    written_at: Instant,
}

impl Held {
    pub(crate) fn term(&self) -> u64 {
        self.body.term
    }

    /// Gives signs of life until the lease is lost. Cancel-safe between two of them.
    pub(crate) async fn keep(&mut self, lease_time: Duration) {
        loop {
            tokio::time::sleep(lease_time / 5).await;
            let renewed = tokio::time::timeout(lease_time / 2, self.renew()).await;
            let is_ours = match renewed {
                Ok(Ok(is_ours)) => is_ours,
                // Nobody may take it before the lease time is over, so there is time to try again.
                Ok(Err(_)) | Err(_) => self.written_at.elapsed() < lease_time,
            };
            if !is_ours {
                return;
            }
        }
    }

    async fn renew(&mut self) -> Result<bool> {
        self.body.beat += 1;
        self.store().await
    }

    /// Lets others have it at once.
    pub(crate) async fn release(&mut self) -> Result<()> {
        self.body.released = true;
        self.store().await.map(drop)
    }

    async fn store(&mut self) -> Result<bool> {
        let started = Instant::now();
        let written =
            records::write(&*self.ledger, self.record, Some(self.revision), &self.body).await?;
        if let Some(revision) = written {
            (self.revision, self.written_at) = (revision, started);
        }
        Ok(written.is_some())
    }
}
