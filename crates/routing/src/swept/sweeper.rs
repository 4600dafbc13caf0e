//! The passes: one process at a time brings all of the primary's records to the shadow, again and again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use syntrix_storage_core::{Error, ErrorKind, Result};

use crate::replicator::lease::{Competitor, Held};
use crate::replicator::records::{self, FORMAT};
use crate::replicator::session::OTHER_PRIMARY;
use crate::replicator::{Backoff, Interrupt, Outcome};
use crate::shadow::OpenShadow;
use crate::swept::{PassesBody, Swept, SweptReplication, SweptStore as _};

/// Records of one step.
const PAGE: usize = 500;
/// Records on their way at once.
const SIDE_BY_SIDE: usize = 16;
/// Between two looks at a shadow that was refused.
const REFUSED_INTERVAL: Duration = Duration::from_secs(10);

const FOREIGN_DATA: &str = "the shadow holds records but nothing says that they are this route's; nothing of it is touched, \
     use an empty database as shadow";

/// What a pass came to.
enum Pass {
    /// It came to the end; so many records were refused.
    Done { refused: u64 },
    /// The primary cannot list its records.
    Impossible,
}

/// The record of the holder's term.
struct Progress {
    revision: u64,
    body: PassesBody,
}

impl<K: Swept> SweptReplication<K> {
    /// Competes for the lease and sweeps with it, until the route is closed.
    pub(super) fn start_sweeping(self: &Arc<Self>) {
        let replication = Arc::clone(self);
        tokio::spawn(async move {
            replication.run().await;
            replication.stopped.send_replace(true);
        });
    }

    async fn run(&self) {
        let shadow = tokio::select! {
            () = self.link.ended() => return,
            shadow = self.link.opened() => shadow,
        };
        let mut competitor = Competitor::new(K::LEASE, self.options.lease_time);
        let mut backoff = Backoff::default();
        loop {
            let taken = tokio::select! {
                () = self.link.ended() => return,
                taken = competitor.try_take(&shadow.ledger) => taken,
            };
            let pause = match taken {
                Ok(Some(held)) => match self.lead(shadow, held).await {
                    Some(pause) => pause,
                    None => return,
                },
                Ok(None) => self.stand_by(shadow).await,
                Err(error) => {
                    self.link.failed(&error);
                    backoff.next()
                }
            };
            tokio::select! {
                () = self.link.ended() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Sweeps until something ends it. How long to wait before the next attempt; `None` is never.
    async fn lead(&self, shadow: &OpenShadow<K::Store>, mut held: Held) -> Option<Duration> {
        let store = K::STORE.as_str();
        tracing::info!(store, term = held.term(), "this process replicates to the shadow");
        self.counts.is_holder.store(true, Ordering::Release);
        let term = held.term();
        let ended = tokio::select! {
            () = self.link.ended() => None,
            () = held.keep(self.options.lease_time) => Some(Interrupt::Lost),
            ended = self.keep_sweeping(shadow, term) => Some(ended),
        };
        self.counts.is_holder.store(false, Ordering::Release);
        if !matches!(ended, Some(Interrupt::Lost)) {
            // Who cannot say so leaves it to the lease time.
            let _ = tokio::time::timeout(self.options.lease_time / 5, held.release()).await;
        }
        match ended? {
            Interrupt::Dropped => {
                self.link.drop_route();
                None
            }
            Interrupt::Refused(reason) => {
                self.link.refuse(&reason);
                Some(REFUSED_INTERVAL)
            }
            Interrupt::Failed(error) => {
                self.link.failed(&error);
                Some(self.options.standby_interval)
            }
            Interrupt::Lost | Interrupt::HistoryLost => Some(self.options.standby_interval),
        }
    }

    async fn keep_sweeping(&self, shadow: &OpenShadow<K::Store>, term: u64) -> Interrupt {
        let mut backoff = Backoff::default();
        loop {
            match self.sweep(shadow, term).await {
                Ok(never) => match never {},
                Err(Interrupt::Failed(error)) => {
                    tracing::warn!(%error, store = K::STORE.as_str(), "a pass failed and is made again");
                    self.link.failed(&error);
                    tokio::time::sleep(backoff.next()).await;
                }
                Err(ended) => return ended,
            }
        }
    }

    async fn sweep(&self, shadow: &OpenShadow<K::Store>, term: u64) -> Outcome<Infallible> {
        let mut progress = self.prepare(shadow, term).await?;
        self.link.accept(progress.body.filled);
        loop {
            let ticket = *self.tickets.asked.borrow();
            let Pass::Done { refused } = self.pass(shadow).await? else {
                tracing::warn!(
                    store = K::STORE.as_str(),
                    "the primary cannot list its records: the shadow gets what is written from now on"
                );
                std::future::pending::<()>().await;
                continue;
            };
            let body = &mut progress.body;
            (body.passes, body.refused, body.filled) = (body.passes + 1, refused, refused == 0);
            progress.save::<K>(shadow).await?;
            self.link.accept(refused == 0);
            self.breaker.succeeded();
            self.tickets.served.send_replace(ticket);
            self.rest(ticket).await;
        }
    }

    /// Until the next pass is due, or somebody asks for one.
    async fn rest(&self, served: u64) {
        let mut asked = self.tickets.asked.subscribe();
        let wanted = asked.wait_for(|asked| *asked > served);
        // Nobody asked: the interval is over.
        let _ = tokio::time::timeout(self.options.sweep_interval, wanted).await;
    }

    /// What the shadow's record says, with our term from now on.
    async fn prepare(&self, shadow: &OpenShadow<K::Store>, term: u64) -> Outcome<Progress> {
        let found = records::read::<PassesBody>(&*shadow.ledger, K::PASSES).await?;
        let ours = records::id_text(self.primary_id);
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
        shadow.store.ensure().await?;
        let (revision, body) = match found {
            Some((revision, body)) if !body.void => (Some(revision), PassesBody { term, ..body }),
            other => (other.map(|(revision, _)| revision), first_body(ours, term)),
        };
        let written = records::write(&*shadow.ledger, K::PASSES, revision, &body).await?;
        Ok(Progress { revision: written.ok_or(Interrupt::Lost)?, body })
    }

    async fn pass(&self, shadow: &OpenShadow<K::Store>) -> Outcome<Pass> {
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
            refused += self.bring_page(shadow, page).await?;
        }
    }

    /// How many of them the shadow refused; any other failure ends the pass.
    async fn bring_page(&self, shadow: &OpenShadow<K::Store>, page: Vec<K::Record>) -> Result<u64> {
        let brought = page.into_iter().map(|record| {
            let bringing = K::bring(&self.primary, &shadow.store, record);
            let limit = self.options.apply_timeout;
            async move {
                let late = || Err(Error::new(ErrorKind::Timeout, "replicate"));
                tokio::time::timeout(limit, bringing).await.unwrap_or_else(|_| late())
            }
        });
        let mut brought = stream::iter(brought).buffer_unordered(SIDE_BY_SIDE);
        let mut refused = 0;
        while let Some(outcome) = brought.next().await {
            match outcome {
                Ok(true) => _ = self.counts.applied.fetch_add(1, Ordering::Relaxed),
                Ok(false) => _ = self.counts.known.fetch_add(1, Ordering::Relaxed),
                Err(error) if is_refusal(&error) => {
                    tracing::warn!(%error, store = K::STORE.as_str(), "the shadow refuses a record");
                    refused += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// Another process sweeps: learns from its record whether writes may be mirrored.
    async fn stand_by(&self, shadow: &OpenShadow<K::Store>) -> Duration {
        let primary = records::id_text(self.primary_id);
        match records::read::<PassesBody>(&*shadow.ledger, K::PASSES).await {
            Ok(Some((_, body))) if body.void && self.link.is_mirrored() => self.link.drop_route(),
            Ok(Some((_, body))) if body.void => {}
            Ok(Some((_, body))) if body.primary == primary => self.link.accept(body.filled),
            Ok(Some(_)) => self.link.refuse(OTHER_PRIMARY),
            Ok(None) => {}
            Err(error) => self.link.failed(&error),
        }
        self.options.standby_interval
    }
}

impl Progress {
    async fn save<K: Swept>(&mut self, shadow: &OpenShadow<K::Store>) -> Outcome<()> {
        let written =
            records::write(&*shadow.ledger, K::PASSES, Some(self.revision), &self.body).await?;
        self.revision = written.ok_or(Interrupt::Lost)?;
        Ok(())
    }
}

fn first_body(primary: String, term: u64) -> PassesBody {
    PassesBody { format: FORMAT, primary, term, passes: 0, filled: false, refused: 0, void: false }
}

/// A shadow that cannot list its records is not asked.
async fn is_empty<K: Swept>(shadow: &K::Store) -> Result<bool> {
    match K::page(shadow, None, 1).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(true),
        page => Ok(page?.is_empty()),
    }
}

/// Whether the record itself is to blame.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::AlreadyExists)
}
