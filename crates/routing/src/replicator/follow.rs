//! Follows the primary's feed in batches.

use std::time::{Duration, Instant};

use syntrix_storage_core::Position;
use syntrix_storage_core::backend::{Change, Feed, FeedPage};
use tokio::sync::{Mutex, watch};

use crate::page_size::PageSize;
use crate::replicator::apply::{Applier, coalesce};
use crate::replicator::term::Progress;
use crate::replicator::{Outcome, Replicator};

/// Between two records of the place while nothing changes.
const QUIET_INTERVAL: Duration = Duration::from_secs(30);
/// Longest wait for a change in one call.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// After the first change of many, others follow at once: waiting for them makes one batch of them.
const LINGER: Duration = Duration::from_millis(10);

/// Applies the feed from the checkpoint on.
#[derive(Debug)]
pub(crate) struct Follower<'term> {
    replicator: &'term Replicator,
    applier: &'term Applier,
    progress: &'term Mutex<Option<Progress>>,
    batch_size: std::sync::Mutex<PageSize>,
}

impl<'term> Follower<'term> {
    pub(crate) fn new(
        replicator: &'term Replicator,
        applier: &'term Applier,
        progress: &'term Mutex<Option<Progress>>,
    ) -> Self {
        let options = &replicator.options;
        // A change brings the document before it, too.
        let batch_size = PageSize::new(options.batch_changes_max, options.batch_bytes_max / 2);
        Self { replicator, applier, progress, batch_size: batch_size.into() }
    }

    /// Goes on until something ends it.
    pub(crate) async fn run(&self) -> Outcome<std::convert::Infallible> {
        let mut asked = self.replicator.tickets.asked.subscribe();
        let mut saved_at = Instant::now();
        loop {
            let ticket = *asked.borrow_and_update();
            self.go_to_end(ticket, &asked, &mut saved_at).await?;
            let is_saved = self.save_if_due(ticket, &mut saved_at).await?;
            self.replicator.tickets.served.send_if_modified(|served| {
                let newer = ticket > *served;
                *served = ticket.max(*served);
                newer
            });
            self.wait(&mut asked, is_saved).await?;
        }
    }

    /// Applies what there is. A request that came before is met by reading up to a place that is asked for now. Without one the
    /// end moves on with the writes, which may come as fast as they are applied: a request that comes meanwhile stops that.
    async fn go_to_end(
        &self,
        ticket: u64,
        asked: &watch::Receiver<u64>,
        saved_at: &mut Instant,
    ) -> Outcome<()> {
        let until = match self.is_asked(ticket) {
            true => Some(self.replicator.primary.feed_end().await?.0),
            false => None,
        };
        let mut page = self.page(&self.place().await, until.as_ref()).await?;
        loop {
            let FeedPage { changes, end, more } = page;
            let any = !changes.is_empty();
            let (applied, next) =
                tokio::join!(self.apply(changes), self.next_page(&end, until.as_ref(), more));
            applied?;
            self.reach(&end, any).await;
            let Some(next) = next? else { return Ok(()) };
            if until.is_none() && asked.has_changed().unwrap_or(false) {
                return Ok(());
            }
            page = next;
            if saved_at.elapsed() >= self.replicator.options.checkpoint_interval {
                self.save(saved_at).await?;
            }
        }
    }

    fn is_asked(&self, ticket: u64) -> bool {
        ticket > *self.replicator.tickets.served.borrow()
    }

    /// The next page is read while this one is applied.
    async fn next_page(
        &self,
        end: &Position,
        until: Option<&Position>,
        more: bool,
    ) -> Outcome<Option<FeedPage>> {
        match more {
            true => Ok(Some(self.page(end, until).await?)),
            false => Ok(None),
        }
    }

    async fn page(&self, from: &Position, until: Option<&Position>) -> Outcome<FeedPage> {
        let (from, records) = (Feed::After(from.clone()), self.batch_size().records());
        Ok(self.replicator.primary.feed(&from, until, records).await?)
    }

    /// Nothing under this lock can panic half-way.
    fn batch_size(&self) -> std::sync::MutexGuard<'_, PageSize> {
        self.batch_size.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn apply(&self, changes: Vec<Change>) -> Outcome<()> {
        if changes.is_empty() {
            return Ok(());
        }
        self.batch_size().learn(changes.iter().map(|change| &change.document));
        let images = coalesce(changes.into_iter().map(|change| change.document));
        self.applier.apply(images).await?;
        self.replicator.link.succeeded();
        Ok(())
    }

    async fn place(&self) -> Position {
        self.progress.lock().await.as_ref().map(|at| at.place.clone()).unwrap_or_default()
    }

    async fn reach(&self, place: &Position, any: bool) {
        if let Some(progress) = &mut *self.progress.lock().await {
            progress.place = place.clone();
            progress.has_changes |= any;
        }
    }

    /// Saves at once for somebody who waits, else once in a while; also where nothing changed, as places grow old where a
    /// history is shared with others. Whether no change is unsaved.
    async fn save_if_due(&self, ticket: u64, saved_at: &mut Instant) -> Outcome<bool> {
        let has_changes =
            self.progress.lock().await.as_ref().is_some_and(|progress| progress.has_changes);
        let interval = match has_changes {
            true => self.replicator.options.checkpoint_interval,
            false => QUIET_INTERVAL,
        };
        if self.is_asked(ticket) || saved_at.elapsed() >= interval {
            self.save(saved_at).await?;
            return Ok(true);
        }
        Ok(!has_changes)
    }

    async fn save(&self, saved_at: &mut Instant) -> Outcome<()> {
        if let Some(progress) = &mut *self.progress.lock().await {
            progress.save().await?;
        }
        *saved_at = Instant::now();
        Ok(())
    }

    async fn wait(&self, asked: &mut watch::Receiver<u64>, is_saved: bool) -> Outcome<()> {
        let interval = self.replicator.options.checkpoint_interval;
        let limit = if is_saved { WAIT_MAX } else { interval };
        let place = self.place().await;
        tokio::select! {
            changed = self.replicator.primary.wait_for_change(&place, limit) => changed?,
            // The sender is the replicator's, which outlives us.
            _ = asked.changed() => return Ok(()),
        }
        if !asked.has_changed().unwrap_or(true) {
            tokio::time::sleep(LINGER).await;
        }
        Ok(())
    }
}
