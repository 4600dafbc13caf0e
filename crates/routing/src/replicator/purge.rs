//! The pin: while it lies on the primary, nobody but the replicator's holder removes a tombstone.
//!
//! A tombstone that is gone guards nothing: a late copy of the document's last life would bring it back. So the shadow is
//! purged first and to the end, and only when it has everything.

use syntrix_storage_core::backend::{DocumentBackend, Ledger, StoreId};
use syntrix_storage_core::{Clock, Result, SystemClock, Timestamp};

use crate::replicator::records::{self, PIN, PinBody};

/// Tombstones removed from the shadow in one step.
const BATCH: usize = 1000;

/// The pin, if there is one.
pub(crate) async fn pin(ledger: &dyn Ledger) -> Result<Option<PinBody>> {
    Ok(records::read(ledger, PIN).await?.map(|(_, body)| body))
}

/// Sets the pin, unless it is there.
pub(crate) async fn set_pin(ledger: &dyn Ledger, shadow: StoreId) -> Result<()> {
    let shadow = records::id_text(shadow);
    loop {
        let found = records::read::<PinBody>(ledger, PIN).await?;
        if found.as_ref().is_some_and(|(_, body)| body.shadow == shadow) {
            return Ok(());
        }
        let since_ms = SystemClock.now().as_milliseconds();
        let body = PinBody { shadow: shadow.clone(), since_ms };
        let revision = found.map(|(revision, _)| revision);
        if records::write(ledger, PIN, revision, &body).await?.is_some() {
            return Ok(());
        }
    }
}

/// Lifts the pin, if there is one.
pub(crate) async fn lift_pin(ledger: &dyn Ledger) -> Result<()> {
    let key = records::key(PIN)?;
    while let Some(record) = ledger.read(&key).await? {
        if ledger.remove(&key, record.revision).await? {
            break;
        }
    }
    Ok(())
}

/// Removes all tombstones of the shadow that were last written before `before`.
pub(crate) async fn purge_shadow(shadow: &dyn DocumentBackend, before: Timestamp) -> Result<()> {
    while shadow.purge(before, BATCH).await?.more {}
    Ok(())
}
