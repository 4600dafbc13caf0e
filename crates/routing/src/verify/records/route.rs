//! Verify and repair of an open route of accounts or revoked tokens.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{Error, ErrorKind, Result};

use super::{Compared, RecordKey, RecordReport, RecordsSummary, VerifyRecords};
use crate::control::RouteControl;
use crate::replicator::not_caught_up;
use crate::swept::{Swept, SweptReplication};
use crate::verify::{Barrier, Repaired, VerifyOptions, state};

/// Between two looks whether the shadow may be compared.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The route of accounts or revoked tokens, for tools that compare and repair its shadow.
#[async_trait]
pub trait RecordRoute: Send + Sync + std::fmt::Debug {
    /// Compares the shadow with the primary while writes go on. What differs at first is looked at again once the shadow has
    /// caught up; `limit` is the longest wait for that each time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] if the shadow does not catch up, [`ErrorKind::Unsupported`] if the primary cannot list its records;
    /// what either side or `report` says. Then nothing is proven.
    async fn verify(
        &self,
        options: VerifyOptions,
        limit: Duration,
        report: RecordReport<'_>,
    ) -> Result<RecordsSummary>;

    /// Brings one record of the shadow to what the primary has, by compare-and-set on what the shadow has; without `execute` it
    /// only says what it would do.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] if the shadow's record changed each time: it is being replicated, verify again.
    /// [`ErrorKind::Unavailable`] while the shadow was not reached.
    async fn repair(&self, record: &RecordKey, execute: bool) -> Result<Repaired>;
}

/// Waits until the shadow has everything but what it refuses, which is what is to be found.
struct CaughtUp<'route> {
    route: &'route dyn RouteControl,
    limit: Duration,
}

#[async_trait]
impl Barrier for CaughtUp<'_> {
    async fn pass(&self) -> Result<()> {
        match self.route.drain(self.limit).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            drained => drained,
        }
    }
}

#[async_trait]
impl<K: Compared> RecordRoute for SweptReplication<K> {
    async fn verify(
        &self,
        options: VerifyOptions,
        limit: Duration,
        report: RecordReport<'_>,
    ) -> Result<RecordsSummary> {
        let shadow = accepted(self, limit).await?;
        let barrier = CaughtUp { route: self, limit };
        let run =
            VerifyRecords::<K> { primary: &*self.primary, shadow, barrier: &barrier, options };
        let summary = run.run(report).await?;
        if let Some(shadow) = self.link.get() {
            let RecordsSummary { depth, equal, counts, elapsed, .. } = summary;
            let ended = state::ended_now(depth, equal, counts, elapsed);
            state::note_end(&*shadow.ledger, K::STORE, ended).await;
        }
        Ok(summary)
    }

    async fn repair(&self, record: &RecordKey, execute: bool) -> Result<Repaired> {
        let key = K::key_of(record).ok_or_else(of_another_store)?;
        let shadow = self.link.get().filter(|_| self.link.is_mirrored()).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "repair")
                .with_message("the shadow is not there, or is not this route's")
                .with_fact("shadow", format!("{:?}", self.link.state()))
        })?;
        K::repair(&self.primary, &shadow.store, key, execute).await
    }
}

/// The shadow, once it is known to be this route's.
async fn accepted<K: Swept>(route: &SweptReplication<K>, limit: Duration) -> Result<&K::Store> {
    let end = Instant::now() + limit;
    loop {
        if let Some(shadow) = route.link.get().filter(|_| route.link.is_mirrored()) {
            return Ok(&*shadow.store);
        }
        if Instant::now() >= end {
            return Err(not_caught_up(limit, &route.link));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

pub(super) fn cannot_list(store: StoreKind) -> Error {
    Error::new(ErrorKind::Unsupported, "verify")
        .with_message(
            "the primary cannot list its records, so it cannot be said what the shadow lacks",
        )
        .with_fact("store", store.as_str())
}

fn of_another_store() -> Error {
    Error::new(ErrorKind::InvalidArgument, "repair")
        .with_message("the record is one of another store than the route's")
}
