//! The shadow's side of a document route: link, mirror and replicator.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use syntrix_storage_core::backend::{Applied, Backend, DocumentBackend, Feed, Ledger, StoreKind};
use syntrix_storage_core::{
    DocumentPath, Error, ErrorKind, Position, PurgeReport, Result, Timestamp,
};

use crate::control::RouteControl;
use crate::holder;
use crate::mirror::Mirror;
use crate::options::{MirrorMode, ReplicationOptions};
use crate::reads::compare;
use crate::reads::freshness::barrier;
use crate::replicator::apply::Applier;
use crate::replicator::dead_letters::{self, DeadLetter, DeadLetters};
use crate::replicator::purge::{self, purge_shadow};
use crate::replicator::records::{self, CheckpointBody, FILL, FillBody, LEASE};
use crate::replicator::status::{self, FillStatus, LagStatus, StatusReport};
use crate::replicator::{Replicator, checkpoint, not_caught_up};
use crate::shadow::{NativeReplica, OpenShadow, ShadowLink, ShadowOpener, ShadowState};
use crate::verify::state;

/// Longest wait of a purge for the shadow to catch up.
const PURGE_WAIT: Duration = Duration::from_secs(5);
/// Time for giving the lease up, whatever came before.
const CLOSE_MIN: Duration = Duration::from_millis(500);
/// Longest wait of `status` for one side.
const STATUS_WAIT: Duration = Duration::from_secs(2);

/// What keeps the shadow of a document route up to date.
#[derive(Debug)]
pub struct DocumentReplication {
    strategy: String,
    primary: Arc<dyn DocumentBackend>,
    primary_ledger: Arc<dyn Ledger>,
    link: Arc<ShadowLink<dyn DocumentBackend>>,
    mirror: Arc<Mirror>,
    replicator: Arc<Replicator>,
    options: ReplicationOptions,
}

impl DocumentReplication {
    /// Begins to open the shadow and to compete for replicating to it; waits for neither. Must be called within a runtime.
    pub fn start(
        strategy: impl Into<String>,
        primary: Arc<dyn DocumentBackend>,
        primary_ledger: Arc<dyn Ledger>,
        shadow: Arc<dyn ShadowOpener>,
        native: NativeReplica,
        options: ReplicationOptions,
    ) -> Arc<Self> {
        let link = ShadowLink::<dyn DocumentBackend>::connect(
            shadow,
            primary_ledger.store_id(),
            documents,
            native,
        );
        let mirror = Mirror::new(Arc::clone(&link), options.clone());
        let replicator = Replicator::new(
            Arc::clone(&primary),
            Arc::clone(&primary_ledger),
            Arc::clone(&link),
            options.clone(),
        );
        replicator.start();
        let strategy = strategy.into();
        Arc::new(Self { strategy, primary, primary_ledger, link, mirror, replicator, options })
    }

    /// The way to the shadow.
    pub fn link(&self) -> &Arc<ShadowLink<dyn DocumentBackend>> {
        &self.link
    }

    /// Primary and shadow themselves, below the route. A write here passes the route by: one to the primary reaches the shadow through
    /// the feed alone, one to the shadow is a difference.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] while the shadow was not reached.
    pub fn sides(&self) -> Result<(Arc<dyn DocumentBackend>, Arc<dyn DocumentBackend>)> {
        Ok((Arc::clone(&self.primary), Arc::clone(&self.reached()?.store)))
    }

    /// Where comparisons are noted: beside the shadow's data, if that can be written.
    pub(crate) fn verify_ledger(&self) -> Result<Arc<dyn Ledger>> {
        Ok(match self.link.is_native() {
            true => Arc::clone(&self.primary_ledger),
            false => Arc::clone(&self.reached()?.ledger),
        })
    }

    pub(crate) fn refuse_native(&self) -> Result<()> {
        match self.link.is_native() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Unsupported, "routing").with_message(
                "the shadow is a native replica: it is read and never written; its own database repairs it",
            )),
        }
    }

    /// The database that decides.
    pub(crate) fn primary(&self) -> &dyn DocumentBackend {
        &*self.primary
    }

    /// Where the primary's side of the route keeps its records.
    pub(crate) fn primary_ledger(&self) -> &dyn Ledger {
        &*self.primary_ledger
    }

    /// Whether a write that was told as done is on the shadow, too.
    pub(crate) fn waits(&self) -> bool {
        self.options.mirror == MirrorMode::Wait
    }

    /// Returns when the shadow is filled and has everything that was committed before this call.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        self.replicator.catch_up().await
    }

    /// Sends what the primary wrote to the shadow.
    pub(crate) async fn mirror(&self, outcomes: Vec<Result<Applied>>) -> Vec<Result<Applied>> {
        self.mirror.follow(outcomes).await
    }

    /// Purges the shadow to the end, then the primary, if this process replicates and the shadow has everything; else nothing.
    pub(crate) async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        if purge::pin(&*self.primary_ledger).await?.is_none() {
            return self.primary.purge(before, limit).await;
        }
        let caught_up = tokio::time::timeout(PURGE_WAIT, self.catch_up_to_purge());
        let Some(shadow) = self.link.get().filter(|_| !self.stands_by()) else {
            tracing::debug!("tombstones are kept: this process does not replicate");
            return Ok(PurgeReport::default());
        };
        if !matches!(caught_up.await, Ok(true)) {
            tracing::info!(
                "tombstones are kept: the shadow is not well, not filled, or not caught up"
            );
            return Ok(PurgeReport::default());
        }
        purge_shadow(&*shadow.store, before).await?;
        self.primary.purge(before, limit).await
    }

    /// Whether the shadow has everything, now that it was waited for. A route that was just opened needs a moment to begin.
    async fn catch_up_to_purge(&self) -> bool {
        while !(self.leads() && self.link.is_filled()) {
            let is_well = matches!(self.link.state(), ShadowState::Connecting | ShadowState::Up);
            if !is_well || self.stands_by() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.replicator.reach_end().await;
        true
    }

    /// Whether another process replicates.
    fn stands_by(&self) -> bool {
        self.link.is_mirrored() && !self.leads()
    }

    fn leads(&self) -> bool {
        self.replicator.counts.is_holder.load(Ordering::Acquire) && self.link.is_mirrored()
    }

    /// The shadow's own history is read by nobody but its own watchers; nobody else trims it.
    pub(crate) fn trim_shadow(&self, before: Timestamp, limit: usize) {
        let Some(shadow) = self.link.get().filter(|_| self.link.is_mirrored()) else { return };
        let store = Arc::clone(&shadow.store);
        tokio::spawn(async move {
            if let Err(error) = store.trim_feed(before, limit).await {
                tracing::debug!(%error, "the shadow's history was not trimmed");
            }
        });
    }

    /// Declares on the shadow what the primary declares.
    pub(crate) async fn copy_indexes(&self) {
        if let Some(shadow) = self.link.get().filter(|_| self.link.is_mirrored()) {
            self.replicator.copy_indexes(&*shadow.store).await;
        }
    }

    /// Waits for mirrors under way and, if this process replicates to a shadow that is well, for what it has not yet; up to
    /// the limit. Then gives the lease up and closes the shadow's store.
    pub(crate) async fn close(&self) -> Result<()> {
        let end = Instant::now() + self.options.close_timeout;
        let left = || end.saturating_duration_since(Instant::now());
        self.mirror.outbox.settle(left()).await;
        if self.leads() && self.link.state() == ShadowState::Up {
            // Whatever is left then, the next holder delivers.
            let _ = tokio::time::timeout(left(), self.replicator.reach_end()).await;
        }
        self.link.close();
        self.replicator.wait_until_stopped(left().max(CLOSE_MIN)).await;
        match self.link.get() {
            Some(shadow) => shadow.store.close().await,
            None => Ok(()),
        }
    }

    /// The shadow, for an operator who asks for it.
    fn reached(&self) -> Result<&OpenShadow<dyn DocumentBackend>> {
        self.link.get().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "routing")
                .with_message("the shadow was not reached yet")
                .with_fact("shadow", format!("{:?}", self.link.state()))
        })
    }

    /// The shadow, once it was opened.
    async fn reach(&self, limit: Duration) -> Result<&OpenShadow<dyn DocumentBackend>> {
        match tokio::time::timeout(limit, self.link.opened()).await {
            Ok(shadow) => Ok(shadow),
            Err(_) => self.reached(),
        }
    }

    async fn applier(&self, shadow: &OpenShadow<dyn DocumentBackend>) -> Result<Applier> {
        Ok(Applier {
            primary: Arc::clone(&self.primary),
            shadow: Arc::clone(&shadow.store),
            dead: DeadLetters::load(&shadow.ledger, records::DEAD, self.options.dead_letters_max)
                .await?,
            counts: Arc::clone(&self.replicator.counts),
            options: self.options.clone(),
        })
    }

    /// What the records on the shadow say.
    async fn describe_shadow(&self, report: &mut StatusReport) -> Result<()> {
        let Some(shadow) = self.link.get() else { return Ok(()) };
        report.add_verify(state::read(&*self.verify_ledger()?, StoreKind::Documents).await?);
        report.last_compare = compare::noted(&*self.verify_ledger()?).await?;
        if self.link.is_native() {
            // What lies there is the primary's, of routes to that one.
            return Ok(());
        }
        let ledger = &*shadow.ledger;
        let is_here = self.replicator.counts.is_holder.load(Ordering::Acquire);
        report.holder = status::holder(ledger, LEASE, is_here).await?;
        report.dead_letters = Some(dead_letters::count_under(ledger, records::DEAD).await?);
        let Some((_, body)) = checkpoint::read(ledger).await? else { return Ok(()) };
        (report.filled, report.history_lost) = (body.filled && !body.void, body.history_lost);
        report.fill = records::read::<FillBody>(ledger, FILL).await?.map(|(_, fill)| FillStatus {
            number: fill.fill,
            copied: fill.copied,
            removed: fill.removed,
            copied_to: fill.copied_to,
            done: fill.copy_done && body.filled,
            rate_per_second: self.replicator.counts.fill_rate(),
            pause_ms: self.replicator.counts.fill_pause(),
        });
        self.describe_lag(&body, report).await
    }

    async fn describe_lag(
        &self,
        checkpoint: &CheckpointBody,
        report: &mut StatusReport,
    ) -> Result<()> {
        let place = Position::try_from(&checkpoint.position)?;
        let (end, _) = self.primary.feed_end().await?;
        let first = self.primary.feed(&Feed::After(place.clone()), None, 1).await?;
        let Some(first) = first.changes.first() else {
            report.lag = Some(LagStatus::NONE);
            return Ok(());
        };
        let lag = LagStatus::between(&place, Some(&end), first.commit_time);
        let window = self.primary.retention().watch().as_secs();
        report.feed_window_left_seconds = Some(window.saturating_sub(lag.seconds as u64));
        report.lag = Some(lag);
        Ok(())
    }
}

impl Drop for DocumentReplication {
    /// A route that was never closed leaves its lease to the lease time, and its tasks end.
    fn drop(&mut self) {
        self.link.close();
    }
}

#[async_trait]
impl RouteControl for DocumentReplication {
    async fn status(&self) -> Result<StatusReport> {
        let (mirror, replicated) = (self.mirror.outbox.status(), self.replicator.counts.report());
        let report = StatusReport::new(StoreKind::Documents, &self.strategy, mirror, replicated);
        let mut report = report.with_link(&self.link);
        let described = tokio::time::timeout(STATUS_WAIT, self.describe_shadow(&mut report)).await;
        if !matches!(described, Ok(Ok(()))) {
            tracing::debug!(?described, "the status is without what a side did not tell");
        }
        let pin = tokio::time::timeout(STATUS_WAIT, purge::pin(&*self.primary_ledger)).await;
        report.pinned_since_ms = pin.ok().and_then(Result::ok).flatten().map(|pin| pin.since_ms);
        Ok(report)
    }

    async fn drain(&self, limit: Duration) -> Result<()> {
        match tokio::time::timeout(limit, barrier(self)).await {
            Ok(caught_up) => caught_up?,
            Err(_) => return Err(not_caught_up(limit, &self.link)),
        }
        if self.link.is_native() {
            return Ok(());
        }
        match self.dead_letters().await?.len() {
            0 => Ok(()),
            letters => Err(refuses(letters)),
        }
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        let shadow = self.reach(STATUS_WAIT).await?;
        let letters = dead_letters::each(&*shadow.ledger).await?;
        Ok(letters.into_iter().map(|(_, letter)| letter).collect())
    }

    async fn retry_dead_letter(&self, path: &str) -> Result<bool> {
        self.refuse_native()?;
        let (shadow, path) = (self.reach(STATUS_WAIT).await?, DocumentPath::parse(path)?);
        let key = records::dead_key(&path)?;
        if shadow.ledger.read(&key).await?.is_none() {
            return Err(no_such_letter(&path));
        }
        self.applier(shadow).await?.settle(&path).await?;
        Ok(shadow.ledger.read(&key).await?.is_none())
    }

    async fn drop_dead_letter(&self, path: &str) -> Result<()> {
        self.refuse_native()?;
        let (shadow, path) = (self.reach(STATUS_WAIT).await?, DocumentPath::parse(path)?);
        match dead_letters::remove(&*shadow.ledger, &records::dead_key(&path)?).await? {
            true => Ok(()),
            false => Err(no_such_letter(&path)),
        }
    }

    async fn drop_route(&self) -> Result<()> {
        let shadow = self.reach(STATUS_WAIT).await;
        self.link.drop_route();
        self.replicator.wait_until_stopped(self.options.close_timeout).await;
        if self.link.is_native() {
            // Its records are the primary's own, about routes to that one, and so is the pin.
            return Ok(());
        }
        if let Ok(shadow) = shadow {
            holder::give_up(&*self.replicator, &*shadow.ledger).await?;
        }
        purge::lift_pin(&*self.primary_ledger).await
    }
}

fn documents(backend: &dyn Backend) -> Result<Arc<dyn DocumentBackend>> {
    backend.documents()
}

/// Not everything is on the shadow, and waiting does not help.
fn refuses(letters: usize) -> Error {
    Error::new(ErrorKind::Conflict, "drain")
        .with_message("the shadow refuses documents, and has everything else; see `routing dead-letters list`")
        .with_fact("documents", letters)
}

fn no_such_letter(path: &DocumentPath) -> Error {
    Error::new(ErrorKind::NotFound, "routing")
        .with_message("there is no dead letter of this document")
        .with_fact("path", path)
}
