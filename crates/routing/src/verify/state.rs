//! How far a comparison is, and how the last whole one ended: a record beside the shadow's data, so that any process can go on
//! with the one and show the other.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syntrix_storage_core::backend::{Ledger, StoreId, StoreKind};
use syntrix_storage_core::{Clock, Error, ErrorKind, Result, SystemClock};

use super::digest::{RangeBody, SideDigest};
use super::{Depth, Progress, VerdictCounts};
use crate::replicator::records;

/// The last comparison that came to its end.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastVerify {
    /// When it ended, by the clock of who made it, in milliseconds since 1970.
    pub ended_ms: i64,
    /// What was compared.
    pub depth: Depth,
    /// Whether nothing differed and everything could be compared. What was repaired afterwards differed.
    pub equal: bool,
    /// Records that certainly differed.
    pub differences: u64,
    /// Records about which nothing could be said.
    pub unsettled: u64,
    /// How long it took.
    pub seconds: f64,
}

/// A comparison that has not come to its end: it is being made, or was interrupted and can be resumed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyUnderWay {
    /// When it was begun, in milliseconds since 1970.
    pub since_ms: i64,
    /// What is compared.
    pub depth: Depth,
    /// Everything up to this path was compared.
    pub compared_to: String,
    /// Records that certainly differ so far.
    pub differences: u64,
}

/// The record.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerifyBody {
    pub(crate) last: Option<LastVerify>,
    under_way: Option<UnderWayBody>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnderWayBody {
    /// Store id of the primary.
    primary: String,
    /// Random: a process whose comparison another one began anew saves nothing any more.
    run: String,
    since_ms: i64,
    depth: Depth,
    /// Everything up to this path was compared.
    compared_to: String,
    /// How long that took.
    spent_ms: u64,
    counts: VerdictCounts,
    settled: u64,
    expired: u64,
    primary_ranges: Vec<RangeBody>,
    shadow_ranges: Vec<RangeBody>,
}

impl VerifyBody {
    pub(crate) fn under_way(&self) -> Option<VerifyUnderWay> {
        self.under_way.as_ref().map(|body| VerifyUnderWay {
            since_ms: body.since_ms,
            depth: body.depth,
            compared_to: body.compared_to.clone(),
            differences: body.counts.differences(),
        })
    }
}

/// The name of a store's record.
pub(crate) const fn record_name(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Documents => "documents/verify",
        StoreKind::Users => "users/verify",
        StoreKind::Revocations => "revocations/verify",
    }
}

/// Reads a store's record.
pub(crate) async fn read(ledger: &dyn Ledger, store: StoreKind) -> Result<Option<VerifyBody>> {
    let found = records::read::<VerifyBody>(ledger, record_name(store)).await?;
    Ok(found.map(|(_, body)| body))
}

/// Notes how a comparison ended. The comparison is what counts, so a failure is told and no more.
pub(crate) async fn note_end(ledger: &dyn Ledger, store: StoreKind, last: LastVerify) {
    note(ledger, store, last, false).await;
}

/// `is_lost` if what is under way is another process's comparison.
async fn note(ledger: &dyn Ledger, store: StoreKind, last: LastVerify, is_lost: bool) {
    let noted = change(ledger, store, |body| {
        let under_way = body.under_way.take().filter(|_| is_lost);
        *body = VerifyBody { last: Some(last.clone()), under_way };
        true
    });
    tell_failure(noted.await.map(drop));
}

/// What a comparison came to, now.
pub(crate) fn ended_now(
    depth: Depth,
    equal: bool,
    counts: VerdictCounts,
    elapsed: Duration,
) -> LastVerify {
    LastVerify {
        ended_ms: SystemClock.now().as_milliseconds(),
        depth,
        equal,
        differences: counts.differences(),
        unsettled: counts.unsettled,
        seconds: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
    }
}

/// Writes what `step` makes of the record, if it makes something; whether it did.
async fn change(
    ledger: &dyn Ledger,
    store: StoreKind,
    mut step: impl FnMut(&mut VerifyBody) -> bool,
) -> Result<bool> {
    let name = record_name(store);
    loop {
        let (revision, body) = records::read::<VerifyBody>(ledger, name).await?.unzip();
        let mut body = body.unwrap_or_default();
        if !step(&mut body) {
            return Ok(false);
        }
        if records::write(ledger, name, revision, &body).await?.is_some() {
            return Ok(true);
        }
    }
}

fn tell_failure(noted: Result<()>) {
    if let Err(error) = noted {
        tracing::warn!(%error, "how far the comparison is could not be noted");
    }
}

/// Where one comparison of documents notes how far it is.
pub(crate) struct Memory {
    ledger: Arc<dyn Ledger>,
    primary: String,
    run: String,
    since_ms: i64,
    /// What runs before this one, of the same comparison, took.
    pub(super) spent: Duration,
    /// Another process began anew.
    is_lost: bool,
}

/// Where an interrupted comparison goes on.
pub(super) struct Resumed {
    pub(super) after: String,
    pub(super) progress: Progress,
}

impl Memory {
    pub(crate) fn new(ledger: Arc<dyn Ledger>, primary: StoreId) -> Self {
        Self {
            ledger,
            primary: records::id_text(primary),
            run: format!("{:016x}", fastrand::u64(..)),
            since_ms: SystemClock.now().as_milliseconds(),
            spent: Duration::ZERO,
            is_lost: false,
        }
    }

    /// Takes up what was interrupted. `None` if there is nothing of this primary.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if it was of another depth.
    pub(super) async fn resume(&mut self, depth: Depth) -> Result<Option<Resumed>> {
        let found = read(&*self.ledger, StoreKind::Documents).await?;
        let under_way = found.and_then(|body| body.under_way);
        let Some(body) = under_way.filter(|body| body.primary == self.primary) else {
            return Ok(None);
        };
        if body.depth != depth {
            return Err(other_depth(body.depth));
        }
        (self.since_ms, self.spent) = (body.since_ms, Duration::from_millis(body.spent_ms));
        let progress = Progress {
            primary: SideDigest::from_bodies(&body.primary_ranges)?,
            shadow: SideDigest::from_bodies(&body.shadow_ranges)?,
            counts: body.counts,
            settled: body.settled,
            expired: body.expired,
        };
        // From now on it is ours: whoever else still works on it notices.
        let run = self.run.clone();
        change(&*self.ledger, StoreKind::Documents, |found| match &mut found.under_way {
            Some(found) => {
                found.run = run.clone();
                true
            }
            None => false,
        })
        .await?;
        Ok(Some(Resumed { after: body.compared_to, progress }))
    }

    /// Notes that everything up to `compared_to` was compared. A failure only costs a later run its start.
    pub(super) async fn save(
        &mut self,
        depth: Depth,
        progress: &Progress,
        compared_to: &str,
        elapsed: Duration,
        is_first: bool,
    ) {
        if self.is_lost {
            return;
        }
        let body = UnderWayBody {
            primary: self.primary.clone(),
            run: self.run.clone(),
            since_ms: self.since_ms,
            depth,
            compared_to: compared_to.to_owned(),
            spent_ms: u64::try_from((self.spent + elapsed).as_millis()).unwrap_or(u64::MAX),
            counts: progress.counts,
            settled: progress.settled,
            expired: progress.expired,
            primary_ranges: progress.primary.bodies(),
            shadow_ranges: progress.shadow.bodies(),
        };
        let ours = |found: &Option<UnderWayBody>| match found {
            Some(found) => found.run == body.run,
            None => false,
        };
        let saved = change(&*self.ledger, StoreKind::Documents, |found| {
            let may = is_first || ours(&found.under_way);
            if may {
                found.under_way = Some(body.clone());
            }
            may
        });
        match saved.await {
            Ok(true) => {}
            Ok(false) => {
                self.is_lost = true;
                tracing::warn!(
                    "another comparison was begun: this one goes on and cannot be resumed"
                );
            }
            Err(error) => tell_failure(Err(error)),
        }
    }

    pub(super) async fn end(&self, last: LastVerify) {
        note(&*self.ledger, StoreKind::Documents, last, self.is_lost).await;
    }
}

fn other_depth(depth: Depth) -> Error {
    let remedy = match depth {
        Depth::Deep => {
            "the comparison that was interrupted was a deep one: resume it with --deep, or begin anew"
        }
        Depth::Quick => {
            "the comparison that was interrupted was no deep one: resume it without --deep, or begin anew"
        }
    };
    Error::new(ErrorKind::InvalidArgument, "verify").with_message(remedy)
}
