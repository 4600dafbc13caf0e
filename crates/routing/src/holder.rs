//! Competes for the lease of a route's shadow and does the holder's work with it, until the route ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use syntrix_storage_core::Result;
use syntrix_storage_core::backend::{Ledger, StoreId};

use crate::options::ReplicationOptions;
use crate::replicator::lease::{self, Competitor, Held};
use crate::replicator::{Backoff, Interrupt, records};
use crate::shadow::{OpenShadow, ShadowLink};

/// Between two looks at a shadow that was refused.
const REFUSED_INTERVAL: Duration = Duration::from_secs(10);

pub(crate) const OTHER_PRIMARY: &str = "the shadow's checkpoint names another primary; use an empty database as shadow, \
     or run `routing drop` with the configuration it belongs to";

/// What the holder's record on the shadow says about the route, among other things.
#[derive(Debug, Deserialize)]
pub(crate) struct Standing {
    /// Store id of the primary it belongs to.
    pub(crate) primary: String,
    /// Everything from before the route is there.
    pub(crate) filled: bool,
    /// The route was given up.
    pub(crate) void: bool,
}

/// The work that one process at a time does.
#[async_trait]
pub(crate) trait Duty: Send + Sync {
    /// The shadow's store.
    type Store: ?Sized + Send + Sync + 'static;

    /// The record of the lease, on the shadow.
    fn lease(&self) -> &'static str;

    /// The record of how far the work is, on the shadow. It has what [`Standing`] has.
    fn record(&self) -> &'static str;

    /// The way to the shadow.
    fn link(&self) -> &ShadowLink<Self::Store>;

    /// How it is done.
    fn options(&self) -> &ReplicationOptions;

    /// Whose data is brought over.
    fn primary_id(&self) -> StoreId;

    /// Set while this process does it.
    fn is_holder(&self) -> &AtomicBool;

    /// Does it until something ends it; `None` if the route ended, after what must be saved was.
    async fn replicate(&self, shadow: &OpenShadow<Self::Store>, term: u64) -> Option<Interrupt>;
}

/// Competes and works until the route ends.
pub(crate) async fn serve<D: Duty + ?Sized>(duty: &D) {
    let link = duty.link();
    let shadow = tokio::select! {
        () = link.ended() => return,
        shadow = link.opened() => shadow,
    };
    if link.is_native() {
        // Its own database replicates.
        return;
    }
    let mut competitor = Competitor::new(duty.lease(), duty.options().lease_time);
    let mut backoff = Backoff::default();
    loop {
        let taken = tokio::select! {
            () = link.ended() => return,
            taken = competitor.try_take(&shadow.ledger) => taken,
        };
        let pause = match taken {
            Ok(Some(held)) => {
                backoff = Backoff::default();
                match lead(duty, shadow, held).await {
                    Some(pause) => pause,
                    None => return,
                }
            }
            Ok(None) => stand_by(duty, shadow).await,
            Err(error) => {
                link.failed(&error);
                backoff.next()
            }
        };
        tokio::select! {
            () = link.ended() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Works until something ends it. How long to wait before the next attempt; `None` is never.
async fn lead<D: Duty + ?Sized>(
    duty: &D,
    shadow: &OpenShadow<D::Store>,
    mut held: Held,
) -> Option<Duration> {
    let (lease_time, term) = (duty.options().lease_time, held.term());
    tracing::info!(lease = duty.lease(), term, "this process replicates to the shadow");
    duty.is_holder().store(true, Ordering::Release);
    let ended = tokio::select! {
        () = held.keep(lease_time) => Some(Interrupt::Lost),
        ended = duty.replicate(shadow, term) => ended,
    };
    duty.is_holder().store(false, Ordering::Release);
    if !matches!(ended, Some(Interrupt::Lost)) {
        // Who cannot say so leaves it to the lease time.
        let _ = tokio::time::timeout(lease_time / 5, held.release()).await;
    }
    note_end(duty, ended?)
}

fn note_end<D: Duty + ?Sized>(duty: &D, ended: Interrupt) -> Option<Duration> {
    match ended {
        Interrupt::Dropped => {
            duty.link().drop_route();
            None
        }
        Interrupt::Refused(reason) => {
            duty.link().refuse(&reason);
            Some(REFUSED_INTERVAL)
        }
        Interrupt::Failed(error) => {
            duty.link().failed(&error);
            Some(duty.options().standby_interval)
        }
        Interrupt::Lost | Interrupt::HistoryLost => Some(duty.options().standby_interval),
    }
}

/// Another process replicates: learns from its record whether writes may be mirrored.
async fn stand_by<D: Duty + ?Sized>(duty: &D, shadow: &OpenShadow<D::Store>) -> Duration {
    let (link, ours) = (duty.link(), records::id_text(duty.primary_id()));
    match records::read::<Standing>(&*shadow.ledger, duty.record()).await {
        Ok(Some((_, standing))) if standing.void && link.is_mirrored() => link.drop_route(),
        Ok(Some((_, standing))) if standing.void => {}
        Ok(Some((_, standing))) if standing.primary == ours => link.accept(standing.filled),
        Ok(Some(_)) => link.refuse(OTHER_PRIMARY),
        Ok(None) => {}
        Err(error) => link.failed(&error),
    }
    duty.options().standby_interval
}

/// Voids the holder's record and takes the lease away from whoever has it: every process that has the route open stops.
pub(crate) async fn give_up<D: Duty + ?Sized>(duty: &D, ledger: &dyn Ledger) -> Result<()> {
    type Members = serde_json::Map<String, serde_json::Value>;
    while let Some((revision, mut members)) =
        records::read::<Members>(ledger, duty.record()).await?
    {
        members.insert("void".into(), true.into());
        members.insert("filled".into(), false.into());
        if records::write(ledger, duty.record(), Some(revision), &members).await?.is_some() {
            break;
        }
    }
    lease::revoke(ledger, duty.lease()).await
}
