//! The passes: one process at a time brings all of the primary's records to the shadow; once, if the primary tells what is written
//! afterwards, else again and again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use syntrix_storage_core::backend::StoreId;
use syntrix_storage_core::{ErrorKind, Result};

use crate::holder::{self, Duty, OTHER_PRIMARY};
use crate::options::ReplicationOptions;
use crate::replicator::records;
use crate::replicator::{Backoff, Interrupt, Outcome};
use crate::shadow::{OpenShadow, ShadowLink};
use crate::swept::carrier::Carrier;
use crate::swept::progress::Progress;
use crate::swept::{AskedBody, PassesBody, Swept, SweptReplication};

/// Between two looks whether another process asks to catch up.
pub(super) const ASKED_INTERVAL: Duration = Duration::from_millis(500);
/// Records of one step.
pub(super) const PAGE: usize = 500;

const FOREIGN_DATA: &str = "the shadow holds records but nothing says that they are this route's; nothing of it is touched, \
     use an empty database as shadow";

/// What a pass came to.
enum Pass {
    /// It came to the end; so many records were refused.
    Done { refused: u64 },
    /// The primary cannot list its records.
    Impossible,
}

impl<K: Swept> SweptReplication<K> {
    /// Competes for the lease and sweeps with it, until the route is closed.
    pub(super) fn start_sweeping(self: &Arc<Self>) {
        let replication = Arc::clone(self);
        tokio::spawn(async move {
            holder::serve(&*replication).await;
            replication.stopped.send_replace(true);
        });
    }

    async fn keep_sweeping(&self, shadow: &OpenShadow<K::Store>, term: u64) -> Interrupt {
        let mut backoff = Backoff::default();
        loop {
            match self.sweep(shadow, term).await {
                Ok(never) => match never {},
                Err(Interrupt::Failed(error)) => {
                    // Closed is what the databases of a storage are that ends.
                    if error.kind() != ErrorKind::Closed {
                        tracing::warn!(%error, store = K::STORE.as_str(), "a pass failed and is made again");
                    }
                    self.link.failed(&error);
                    tokio::time::sleep(backoff.next()).await;
                }
                Err(ended) => return ended,
            }
        }
    }

    async fn sweep(&self, shadow: &OpenShadow<K::Store>, term: u64) -> Outcome<Infallible> {
        // Whoever led before us may have been stopped in the middle.
        self.counts.follows.store(false, Ordering::Release);
        let mut progress = self.prepare(shadow, term).await?;
        self.link.accept(progress.body.filled);
        loop {
            if let (Some(feed), Some(place)) = (&self.feed, progress.place()?) {
                match self.follow(&**feed, shadow, &mut progress, place).await {
                    Err(Interrupt::HistoryLost) => {
                        self.link.forget_filled();
                        progress.forget_place::<K>(shadow).await?;
                    }
                    ended => return ended,
                }
            }
            let asked = asked::<K>(shadow).await?;
            // What is written from here on comes with the feed; what was written before, the pass sees.
            let end = match &self.feed {
                Some(feed) => feed.end().await?,
                None => None,
            };
            let Pass::Done { refused } = self.pass(shadow).await? else {
                tracing::warn!(
                    store = K::STORE.as_str(),
                    "the primary cannot list its records: the shadow gets what is written from now on"
                );
                std::future::pending::<()>().await;
                continue;
            };
            let body = &mut progress.body;
            (body.passes, body.served) = (body.passes + 1, asked);
            (body.refused, body.filled) = (refused, refused == 0);
            match &end {
                Some(end) => progress.reach::<K>(shadow, end, asked).await?,
                None => progress.save::<K>(shadow).await?,
            }
            self.link.accept(refused == 0);
            self.outbox.breaker.succeeded();
            if end.is_none() {
                self.rest(shadow, asked).await?;
            }
        }
    }

    /// Until the next pass is due, or somebody asks for one, in whatever process.
    async fn rest(&self, shadow: &OpenShadow<K::Store>, served: u64) -> Outcome<()> {
        let due = Instant::now() + self.options.sweep_interval;
        while Instant::now() < due && asked::<K>(shadow).await? <= served {
            // Nobody asked here: a request of another process is in the record.
            let _ = tokio::time::timeout(ASKED_INTERVAL, self.asked.notified()).await;
        }
        Ok(())
    }

    /// What the shadow's record says, with our term from now on.
    async fn prepare(&self, shadow: &OpenShadow<K::Store>, term: u64) -> Outcome<Progress> {
        let found = records::read::<PassesBody>(&*shadow.ledger, K::PASSES).await?;
        let ours = records::id_text(self.primary_id());
        match &found {
            Some((_, body)) if body.void && self.link.is_mirrored() => {
                return Err(Interrupt::Dropped);
            }
            Some((_, body)) if body.primary != ours && !body.void => {
                return Err(Interrupt::Refused(OTHER_PRIMARY.to_owned()));
            }
            None if !is_empty::<K>(&shadow.store).await? => {
                return Err(Interrupt::Refused(FOREIGN_DATA.to_owned()));
            }
            _ => {}
        }
        K::ensure(&shadow.store).await?;
        let (revision, body) = match found {
            Some((revision, body)) if !body.void => (Some(revision), PassesBody { term, ..body }),
            other => (other.map(|(revision, _)| revision), first_body(ours, term)),
        };
        Progress::take(self, shadow, revision, body).await
    }

    async fn pass(&self, shadow: &OpenShadow<K::Store>) -> Outcome<Pass> {
        let carrier = Carrier::new(self, shadow).await?;
        let (mut after, mut refused) = (None, 0);
        loop {
            let page = match K::page(&self.primary, after.as_ref(), PAGE).await {
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    return Ok(Pass::Impossible);
                }
                page => page?,
            };
            let Some(last) = page.last() else { return Ok(Pass::Done { refused }) };
            after = Some(K::key(last));
            refused += carrier.bring(page).await?;
        }
    }
}

#[async_trait]
impl<K: Swept> Duty for SweptReplication<K> {
    type Store = K::Store;

    fn lease(&self) -> &'static str {
        K::LEASE
    }

    fn record(&self) -> &'static str {
        K::PASSES
    }

    fn link(&self) -> &ShadowLink<K::Store> {
        &self.link
    }

    fn options(&self) -> &ReplicationOptions {
        &self.options
    }

    fn primary_id(&self) -> StoreId {
        SweptReplication::primary_id(self)
    }

    fn is_holder(&self) -> &AtomicBool {
        &self.counts.is_holder
    }

    async fn replicate(&self, shadow: &OpenShadow<K::Store>, term: u64) -> Option<Interrupt> {
        tokio::select! {
            () = self.link.ended() => None,
            ended = self.keep_sweeping(shadow, term) => Some(ended),
        }
    }
}

/// Number of the last request to catch up.
pub(super) async fn asked<K: Swept>(shadow: &OpenShadow<K::Store>) -> Result<u64> {
    let found = records::read::<AskedBody>(&*shadow.ledger, K::ASKED).await?;
    Ok(found.map_or(0, |(_, body)| body.number))
}

fn first_body(primary: String, term: u64) -> PassesBody {
    PassesBody {
        primary,
        term,
        passes: 0,
        filled: false,
        refused: 0,
        served: 0,
        position: None,
        mark: 0,
        history_lost: 0,
        void: false,
    }
}

/// A shadow that cannot list its records is not asked.
async fn is_empty<K: Swept>(shadow: &K::Store) -> Result<bool> {
    match K::page(shadow, None, 1).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(true),
        page => Ok(page?.is_empty()),
    }
}
