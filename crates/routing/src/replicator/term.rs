//! What the holder of the lease does: look at what is there, then follow the feed and fill.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::backend::DocumentBackend;
use syntrix_storage_core::{DocumentPath, IndexDefinition, Position, Result};
use tokio::sync::Mutex;

use crate::holder::OTHER_PRIMARY;
use crate::replicator::apply::Applier;
use crate::replicator::checkpoint::{self, Checkpoint};
use crate::replicator::dead_letters::DeadLetters;
use crate::replicator::fill::{self, Fill};
use crate::replicator::follow::Follower;
use crate::replicator::records::{self, CheckpointBody};
use crate::replicator::{Backoff, Interrupt, Outcome, Replicator, purge};
use crate::shadow::OpenShadow;

const FOREIGN_DATA: &str = "the shadow holds data but no checkpoint of this route; nothing of it is touched, \
     use an empty database as shadow";

/// Between two looks at indexes and dead letters.
const HOUSE_INTERVAL: Duration = Duration::from_secs(30);

/// What one holder does from taking the lease to losing it.
#[derive(Debug)]
pub(crate) struct Term<'replicator> {
    replicator: &'replicator Replicator,
    shadow: &'replicator OpenShadow<dyn DocumentBackend>,
    number: u64,
    /// The checkpoint and the place up to which everything was applied since it was written.
    progress: Mutex<Option<Progress>>,
}

/// How far the holder is.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) place: Position,
    /// Some were applied since the checkpoint was written.
    pub(crate) has_changes: bool,
}

impl Progress {
    /// Writes the checkpoint if it is behind.
    pub(crate) async fn save(&mut self) -> Outcome<()> {
        if self.has_changes || !self.checkpoint.is_at(&self.place) {
            self.checkpoint.advance(&self.place).await?;
            self.has_changes = false;
        }
        Ok(())
    }
}

impl<'replicator> Term<'replicator> {
    pub(crate) fn new(
        replicator: &'replicator Replicator,
        shadow: &'replicator OpenShadow<dyn DocumentBackend>,
        number: u64,
    ) -> Self {
        Self { replicator, shadow, number, progress: Mutex::new(None) }
    }

    /// Replicates until something other than a failing call ends it.
    pub(crate) async fn run(&self) -> Interrupt {
        let mut backoff = Backoff::default();
        loop {
            let ended = match self.attempt().await {
                Err(Interrupt::HistoryLost) => self.begin_again().await,
                Err(ended) => Err(ended),
                Ok(never) => match never {},
            };
            match ended {
                Ok(()) => backoff = Backoff::default(),
                Err(Interrupt::Failed(error)) => {
                    tracing::warn!(%error, "replication failed and is tried again");
                    self.replicator.link.failed(&error);
                    tokio::time::sleep(backoff.next()).await;
                }
                Err(ended) => return ended,
            }
        }
    }

    /// At the end of the process: saves what was applied, as far as that is possible at once.
    pub(crate) async fn save_at_end(&self) {
        let saving = async {
            match &mut *self.progress.lock().await {
                Some(progress) => progress.save().await.is_ok(),
                None => true,
            }
        };
        // What is not saved is replayed by the next holder.
        let _ = tokio::time::timeout(self.replicator.options.lease_time / 5, saving).await;
    }

    async fn attempt(&self) -> Outcome<std::convert::Infallible> {
        self.prepare().await?;
        let applier = Applier {
            primary: Arc::clone(&self.replicator.primary),
            shadow: Arc::clone(&self.shadow.store),
            dead: DeadLetters::load(
                &self.shadow.ledger,
                records::DEAD,
                self.replicator.options.dead_letters_max,
            )
            .await?,
            counts: Arc::clone(&self.replicator.counts),
            options: self.replicator.options.clone(),
        };
        let follower = Follower::new(self.replicator, &applier, &self.progress);
        let work = (follower.run(), self.fill(&applier), self.keep_house(&applier));
        let (never, (), _) = tokio::try_join!(work.0, work.1, work.2)?;
        Ok(never)
    }

    /// Pin and checkpoint are there, and say that the shadow is ours.
    async fn prepare(&self) -> Outcome<()> {
        let found = checkpoint::read(&*self.shadow.ledger).await?;
        let ours = records::id_text(self.replicator.primary_ledger.store_id());
        if found.as_ref().is_some_and(|(_, body)| body.primary != ours && !body.void) {
            return Err(Interrupt::Refused(OTHER_PRIMARY.to_owned()));
        }
        if found.as_ref().is_some_and(|(_, body)| body.void) && self.replicator.link.is_mirrored() {
            // Who gave it up lifted the pin, which we may have set again since.
            purge::lift_pin(&*self.replicator.primary_ledger).await?;
            return Err(Interrupt::Dropped);
        }
        if found.is_none() && !fill::is_empty(&*self.shadow.store).await? {
            return Err(Interrupt::Refused(FOREIGN_DATA.to_owned()));
        }
        let pinned =
            purge::set_pin(&*self.replicator.primary_ledger, self.shadow.ledger.store_id());
        pinned.await?;
        self.take_checkpoint(found, ours).await
    }

    async fn take_checkpoint(
        &self,
        found: Option<(u64, CheckpointBody)>,
        primary: String,
    ) -> Outcome<()> {
        let (revision, body) = match found {
            Some((revision, body)) if !body.void => {
                (Some(revision), CheckpointBody { term: self.number, ..body })
            }
            other => {
                let (end, _) = self.replicator.primary.feed_end().await?;
                let fill = other.as_ref().map_or(1, |(_, body)| body.fill + 1);
                let body = CheckpointBody {
                    primary,
                    term: self.number,
                    position: (&end).into(),
                    filled: false,
                    fill,
                    history_lost: other.as_ref().map_or(0, |(_, body)| body.history_lost),
                    void: false,
                };
                (other.map(|(revision, _)| revision), body)
            }
        };
        let place = Position::try_from(&body.position)?;
        let filled = body.filled;
        let checkpoint = Checkpoint::take(&self.shadow.ledger, revision, body).await?;
        *self.progress.lock().await = Some(Progress { checkpoint, place, has_changes: false });
        self.replicator.link.accept(filled);
        Ok(())
    }

    /// The feed does not reach back any more: a new fill, from here on.
    async fn begin_again(&self) -> Outcome<()> {
        tracing::error!(
            "the primary's history was trimmed, or is another one, behind the shadow's checkpoint: the shadow is filled again"
        );
        self.replicator.link.forget_filled();
        let (end, _) = self.replicator.primary.feed_end().await?;
        let mut progress = self.progress.lock().await;
        if let Some(progress) = &mut *progress {
            progress.checkpoint.begin_fill(&end).await?;
            (progress.place, progress.has_changes) = (end, false);
        }
        Ok(())
    }

    /// Copies what was there before the route, if it was not. Filled is the shadow only once the feed, too, has reached a place
    /// that was asked for after the copy's end.
    async fn fill(&self, applier: &Applier) -> Outcome<()> {
        let body = match &*self.progress.lock().await {
            Some(progress) => progress.checkpoint.body().clone(),
            None => return Ok(()),
        };
        if body.filled {
            return Ok(());
        }
        Fill::resume(applier, &self.shadow.ledger, body.fill).await?.run().await?;
        self.replicator.reach_end().await;
        if let Some(progress) = &mut *self.progress.lock().await {
            progress.checkpoint.set_filled().await?;
        }
        tracing::info!(fill = body.fill, "the shadow is filled");
        self.replicator.link.accept(true);
        Ok(())
    }

    /// What a shadow needs now and then: the primary's indexes, and another look at what it refused.
    async fn keep_house(&self, applier: &Applier) -> Outcome<std::convert::Infallible> {
        loop {
            self.replicator.copy_indexes(&*self.shadow.store).await;
            for path in applier.dead.names().await? {
                applier.settle(&DocumentPath::parse(&path)?).await?;
            }
            tokio::time::sleep(HOUSE_INTERVAL).await;
        }
    }
}

/// What the primary declares and the shadow lacks is created there; what the shadow has too much is dropped.
pub(crate) async fn copy_indexes(
    primary: &dyn DocumentBackend,
    shadow: &dyn DocumentBackend,
) -> Result<()> {
    let names = |indexes: &[IndexDefinition]| -> Vec<String> {
        indexes.iter().map(|index| index.name().to_owned()).collect()
    };
    let (wanted, there) = (definitions(primary).await?, definitions(shadow).await?);
    let (wanted_names, there_names) = (names(&wanted), names(&there));
    for extra in there_names.iter().filter(|name| !wanted_names.contains(name)) {
        shadow.drop_index(extra).await?;
    }
    for index in wanted.iter().filter(|index| !there_names.iter().any(|name| name == index.name()))
    {
        shadow.create_index(index).await?;
    }
    Ok(())
}

async fn definitions(backend: &dyn DocumentBackend) -> Result<Vec<IndexDefinition>> {
    Ok(backend.list_indexes().await?.into_iter().map(|status| status.definition).collect())
}
