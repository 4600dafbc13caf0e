//! Follows what is written on the primary, from the place that the shadow's record names.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use syntrix_storage_core::Position;

use crate::replicator::Outcome;
use crate::shadow::OpenShadow;
use crate::swept::carrier::Carrier;
use crate::swept::progress::Progress;
use crate::swept::sweeper::{ASKED_INTERVAL, PAGE, asked};
use crate::swept::{Swept, SweptReplication, WriteFeed, Written};

/// Between two records of the place while nothing is written: places grow old where a history is shared with others.
const QUIET_INTERVAL: Duration = Duration::from_secs(30);
/// Between two attempts at what was refused.
const HOUSE_INTERVAL: Duration = Duration::from_secs(30);
/// After the first write of many, others follow at once: waiting for them makes one page of them.
const LINGER: Duration = Duration::from_millis(10);

/// Where the follower is.
struct Follower<'work, R> {
    feed: &'work dyn WriteFeed<R>,
    place: Position,
    /// Some records were brought since the place was saved.
    has_changes: bool,
    saved_at: Instant,
    tidied_at: Instant,
}

impl<K: Swept> SweptReplication<K> {
    /// Goes on from the saved place until something ends it.
    pub(super) async fn follow(
        &self,
        feed: &dyn WriteFeed<K::Record>,
        shadow: &OpenShadow<K::Store>,
        progress: &mut Progress,
        place: Position,
    ) -> Outcome<Infallible> {
        self.counts.follows.store(true, Ordering::Release);
        let ended = self.follow_from(feed, shadow, progress, place).await;
        self.counts.follows.store(false, Ordering::Release);
        ended
    }

    async fn follow_from(
        &self,
        feed: &dyn WriteFeed<K::Record>,
        shadow: &OpenShadow<K::Store>,
        progress: &mut Progress,
        place: Position,
    ) -> Outcome<Infallible> {
        let carrier = Carrier::new(self, shadow).await?;
        let now = Instant::now();
        let mut at = Follower { feed, place, has_changes: false, saved_at: now, tidied_at: now };
        loop {
            let asked = asked::<K>(shadow).await?;
            self.go_to_end(shadow, &carrier, progress, &mut at).await?;
            self.save_if_due(shadow, progress, &mut at, asked).await?;
            if at.tidied_at.elapsed() >= HOUSE_INTERVAL {
                carrier.retry_letters().await?;
                at.tidied_at = Instant::now();
            }
            self.await_news(&at).await?;
        }
    }

    /// Brings what there is.
    async fn go_to_end(
        &self,
        shadow: &OpenShadow<K::Store>,
        carrier: &Carrier<'_, K>,
        progress: &mut Progress,
        at: &mut Follower<'_, K::Record>,
    ) -> Outcome<()> {
        loop {
            let Written { records, end, more } = at.feed.since(&at.place, PAGE).await?;
            if !records.is_empty() {
                carrier.bring(records).await?;
                at.has_changes = true;
                self.link.succeeded();
                self.outbox.breaker.succeeded();
            }
            at.place = end;
            if !more {
                return Ok(());
            }
            let served = progress.body.served;
            if at.saved_at.elapsed() >= self.options.checkpoint_interval {
                progress.reach::<K>(shadow, &at.place, served).await?;
                at.saved();
            }
        }
    }

    /// Saves at once for somebody who waits, else once in a while.
    async fn save_if_due(
        &self,
        shadow: &OpenShadow<K::Store>,
        progress: &mut Progress,
        at: &mut Follower<'_, K::Record>,
        asked: u64,
    ) -> Outcome<()> {
        let interval = match at.has_changes {
            true => self.options.checkpoint_interval,
            false => QUIET_INTERVAL,
        };
        if asked > progress.body.served || at.saved_at.elapsed() >= interval {
            progress.reach::<K>(shadow, &at.place, asked).await?;
            at.saved();
        }
        Ok(())
    }

    async fn await_news(&self, at: &Follower<'_, K::Record>) -> Outcome<()> {
        // What was brought is saved soon; a request of another process is in its record.
        let limit = match at.has_changes {
            true => self.options.checkpoint_interval,
            false => ASKED_INTERVAL,
        };
        tokio::select! {
            waited = at.feed.wait(&at.place, limit) => waited?,
            () = self.asked.notified() => return Ok(()),
        }
        tokio::time::sleep(LINGER).await;
        Ok(())
    }
}

impl<R> Follower<'_, R> {
    fn saved(&mut self) {
        (self.has_changes, self.saved_at) = (false, Instant::now());
    }
}
