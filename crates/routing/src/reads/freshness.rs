//! How old the shadow's answers are, told by barriers: what was committed before one began is on the shadow when it is passed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::Ledger;
use syntrix_storage_core::{Error, ErrorKind, Result};

use crate::replication::DocumentReplication;
use crate::replicator::records::{self, PULSE, PulseBody};

/// Between two looks for the pulse on the replica.
const PULSE_INTERVAL: Duration = Duration::from_millis(10);

/// Since when the shadow lacks nothing, as far as is known.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    as_of: Mutex<Option<Instant>>,
    /// How often somebody asked.
    asked: AtomicU64,
}

impl Freshness {
    /// The shadow has all that was committed at `moment`.
    pub(crate) fn passed(&self, moment: Instant) {
        let mut as_of = self.as_of.lock().unwrap_or_else(PoisonError::into_inner);
        *as_of = (*as_of).max(Some(moment));
    }

    /// Whether the shadow has all that was committed `age` ago. Asking makes the answer be kept up to date.
    pub(crate) fn is_within(&self, age: Duration) -> bool {
        self.ask();
        let as_of = *self.as_of.lock().unwrap_or_else(PoisonError::into_inner);
        as_of.is_some_and(|as_of| as_of.elapsed() <= age)
    }

    /// Somebody needs it to be kept up to date.
    pub(crate) fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// How often somebody asked so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Returns when the shadow has everything that was committed before this call, whoever brings it there.
pub(crate) async fn barrier(replication: &DocumentReplication) -> Result<()> {
    // Until it is open nobody knows what it is.
    let shadow = replication.link().opened().await;
    if !replication.link().is_native() {
        return replication.catch_up().await;
    }
    let primary = replication.primary_ledger();
    let revision = beat(primary).await?;
    loop {
        let seen = pulse(&*shadow.ledger).await?.unwrap_or_default();
        if seen >= revision {
            return Ok(());
        }
        tokio::time::sleep(PULSE_INTERVAL).await;
    }
}

/// Writes the pulse. Whoever else writes it meanwhile does so for us, too.
async fn beat(primary: &dyn Ledger) -> Result<u64> {
    let found = pulse(primary).await?;
    if let Some(revision) = records::write(primary, PULSE, found, &PulseBody {}).await? {
        return Ok(revision);
    }
    pulse(primary).await?.ok_or_else(|| {
        Error::new(ErrorKind::Internal, "replica").with_message("the ledger lost a record")
    })
}

async fn pulse(ledger: &dyn Ledger) -> Result<Option<u64>> {
    Ok(records::read::<PulseBody>(ledger, PULSE).await?.map(|(revision, _)| revision))
}
