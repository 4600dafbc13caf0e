//! The rule that says what a record means at a moment.

use std::time::Duration;

use syntrix_storage_core::{GRACE_MAX, Revocation, RevocationStatus, Timestamp};

/// How far the clock of whoever revoked may have been ahead of the store's. Beyond it a record is no grace but a fault.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// Whether `record` revokes its token at the store's time `now`, granting `grace`.
pub(super) fn revokes(record: &Revocation, now: Timestamp, grace: Duration) -> bool {
    record.is_kept(now) && !is_graceful(record, now, grace)
}

/// What `record` means at the store's time `now`, granting `grace`.
pub(super) fn of(record: Option<Revocation>, now: Timestamp, grace: Duration) -> RevocationStatus {
    let Some(record) = record.filter(|record| record.is_kept(now)) else {
        return RevocationStatus::NotRevoked;
    };
    if is_graceful(&record, now, grace) {
        let until = record.revoked_at.saturating_add(grace.min(GRACE_MAX));
        return RevocationStatus::Grace { until, successor: record.successor };
    }
    RevocationStatus::Revoked {
        since: record.revoked_at,
        immediate: record.immediate,
        reason: record.reason,
    }
}

/// By what has passed, not by where the grace ends: with a clock that was set back the end lies ahead even of no grace at all.
fn is_graceful(record: &Revocation, now: Timestamp, grace: Duration) -> bool {
    let grace = grace.min(GRACE_MAX);
    let plausible = record.revoked_at <= now.saturating_add(CLOCK_SKEW_MAX);
    !record.immediate && plausible && now.since(record.revoked_at).as_millis() < grace.as_millis()
}
