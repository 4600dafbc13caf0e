//! What operators see of such a route and do with it, and its end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use syntrix_storage_core::backend::Ledger;
use syntrix_storage_core::{Error, ErrorKind, Position, Result};

use crate::control::RouteControl;
use crate::holder;
use crate::replicator::dead_letters::{self, DeadLetter};
use crate::replicator::records;
use crate::replicator::status::{self, LagStatus, StatusReport};
use crate::replicator::{is_passing, not_caught_up};
use crate::shadow::{OpenShadow, ShadowState};
use crate::swept::carrier::Carrier;
use crate::swept::{AskedBody, PassesBody, Swept, SweptReplication};
use crate::verify::state;

/// Longest wait of `status` for the shadow.
const STATUS_WAIT: Duration = Duration::from_secs(2);
/// Time for giving the lease up, whatever came before.
const CLOSE_MIN: Duration = Duration::from_millis(500);
/// Between two looks at another holder's record.
const DRAIN_INTERVAL: Duration = Duration::from_millis(20);

impl<K: Swept> SweptReplication<K> {
    /// Waits for mirrors under way, and for what a healthy shadow lacks if this process replicates and can tell; in all up to the
    /// limit. Then gives the lease up and closes the shadow's store.
    pub(crate) async fn close(&self) -> Result<()> {
        let end = Instant::now() + self.options.close_timeout;
        let left = || end.saturating_duration_since(Instant::now());
        self.outbox.settle(left()).await;
        if self.follows() {
            // Whatever is left then, the next holder brings.
            let _ = tokio::time::timeout(left(), self.wait_until_served()).await;
        }
        self.link.close();
        self.wait_until_stopped(left().max(CLOSE_MIN)).await;
        match self.link.get() {
            Some(shadow) => K::close(&shadow.store).await,
            None => Ok(()),
        }
    }

    /// Whether this process follows the primary's feed to a shadow that answers.
    fn follows(&self) -> bool {
        let follows =
            [&self.counts.is_holder, &self.counts.follows].map(|flag| flag.load(Ordering::Acquire));
        follows == [true, true] && self.link.state() == ShadowState::Up
    }

    /// Who takes longer is a holder that does not answer; others take the lease after its time.
    async fn wait_until_stopped(&self, limit: Duration) {
        let mut stopped = self.stopped.subscribe();
        let _ = tokio::time::timeout(limit, stopped.wait_for(|stopped| *stopped)).await;
    }

    /// Returns when all that was written before this call is on the shadow, whoever brings it. A shadow that is away for a
    /// while is waited for.
    async fn wait_until_served(&self) -> Result<()> {
        loop {
            match self.serve().await {
                Err(error) if is_passing(&error) => tokio::time::sleep(DRAIN_INTERVAL).await,
                served => return served,
            }
        }
    }

    async fn serve(&self) -> Result<()> {
        let shadow = self.link.opened().await;
        let request = self.ask(&*shadow.ledger).await?;
        loop {
            let body = records::read::<PassesBody>(&*shadow.ledger, K::PASSES).await?;
            match body.filter(|(_, body)| body.served >= request && !body.void) {
                Some((_, body)) if body.filled => return expect_no_letters::<K>(shadow).await,
                Some((_, body)) => return Err(refuses(body.refused)),
                None => tokio::time::sleep(DRAIN_INTERVAL).await,
            }
        }
    }

    /// Leaves a request that every holder sees, and returns its number.
    async fn ask(&self, ledger: &dyn Ledger) -> Result<u64> {
        loop {
            let found = records::read::<AskedBody>(ledger, K::ASKED).await?;
            let (revision, body) = found.unzip();
            let next = AskedBody { number: body.unwrap_or_default().number + 1 };
            if records::write(ledger, K::ASKED, revision, &next).await?.is_some() {
                self.asked.notify_one();
                return Ok(next.number);
            }
        }
    }

    async fn describe_shadow(&self, report: &mut StatusReport) -> Result<()> {
        let Some(shadow) = self.link.get() else { return Ok(()) };
        let is_here = self.counts.is_holder.load(Ordering::Acquire);
        report.holder = status::holder(&*shadow.ledger, K::LEASE, is_here).await?;
        report.add_verify(state::read(&*shadow.ledger, K::STORE).await?);
        let Some((_, body)) = records::read::<PassesBody>(&*shadow.ledger, K::PASSES).await? else {
            return Ok(());
        };
        (report.filled, report.history_lost) = (body.filled && !body.void, body.history_lost);
        report.dead_letters = Some(match K::LETTERS {
            Some(names) => dead_letters::count_under(&*shadow.ledger, names.prefix).await?,
            None => body.refused,
        });
        report.lag = self.lag(&body).await?;
        Ok(())
    }

    /// How far the record on the shadow is behind the primary; `None` where nothing but passes tells.
    async fn lag(&self, body: &PassesBody) -> Result<Option<LagStatus>> {
        let (Some(feed), Some(position)) = (&self.feed, &body.position) else { return Ok(None) };
        let place = Position::try_from(position)?;
        let first = feed.since(&place, 1).await?;
        let Some(first) = first.records.first() else {
            return Ok(Some(LagStatus::NONE));
        };
        let end = feed.end().await?;
        Ok(Some(LagStatus::between(&place, end.as_ref(), feed.written_at(first))))
    }

    async fn reach(&self) -> Result<&OpenShadow<K::Store>> {
        tokio::time::timeout(STATUS_WAIT, self.link.opened()).await.map_err(|_| {
            Error::new(ErrorKind::Unavailable, "routing")
                .with_message("the shadow was not reached yet")
                .with_fact("shadow", format!("{:?}", self.link.state()))
        })
    }
}

#[async_trait]
impl<K: Swept> RouteControl for SweptReplication<K> {
    async fn status(&self) -> Result<StatusReport> {
        let replicated = self.counts.report();
        let report = StatusReport::new(K::STORE, &self.strategy, self.outbox.status(), replicated);
        let mut report = report.with_link(&self.link);
        let described = tokio::time::timeout(STATUS_WAIT, self.describe_shadow(&mut report)).await;
        if !matches!(described, Ok(Ok(()))) {
            tracing::debug!(?described, "the status is without what a side did not tell");
        }
        Ok(report)
    }

    async fn drain(&self, limit: Duration) -> Result<()> {
        match tokio::time::timeout(limit, self.wait_until_served()).await {
            Ok(caught_up) => caught_up,
            Err(_) => Err(not_caught_up(limit, &self.link)),
        }
    }

    /// Where every pass tries a refused record anew, none waits for an operator; the status counts them.
    async fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        let Some(names) = K::LETTERS else { return Ok(Vec::new()) };
        let shadow = self.reach().await?;
        let letters = dead_letters::each_under(&*shadow.ledger, names.prefix).await?;
        Ok(letters.into_iter().map(|(_, letter)| letter).collect())
    }

    async fn retry_dead_letter(&self, name: &str) -> Result<bool> {
        let (shadow, names) = (self.reach().await?, K::LETTERS.ok_or_else(no_letters)?);
        let letter = names.letter(name)?;
        if shadow.ledger.read(&letter).await?.is_none() {
            return Err(no_such_letter(name));
        }
        Carrier::new(self, shadow).await?.bring_again(vec![(names.parse)(name)?]).await?;
        Ok(shadow.ledger.read(&letter).await?.is_none())
    }

    async fn drop_dead_letter(&self, name: &str) -> Result<()> {
        let (shadow, names) = (self.reach().await?, K::LETTERS.ok_or_else(no_letters)?);
        match dead_letters::remove(&*shadow.ledger, &names.letter(name)?).await? {
            true => Ok(()),
            false => Err(no_such_letter(name)),
        }
    }

    async fn drop_route(&self) -> Result<()> {
        let shadow = tokio::time::timeout(STATUS_WAIT, self.link.opened()).await.ok();
        self.link.drop_route();
        self.wait_until_stopped(self.options.close_timeout).await;
        let Some(shadow) = shadow else { return Ok(()) };
        holder::give_up(self, &*shadow.ledger).await
    }
}

async fn expect_no_letters<K: Swept>(shadow: &OpenShadow<K::Store>) -> Result<()> {
    let Some(names) = K::LETTERS else { return Ok(()) };
    match dead_letters::each_under(&*shadow.ledger, names.prefix).await?.len() {
        0 => Ok(()),
        letters => Err(refuses(letters as u64)),
    }
}

/// Not everything is on the shadow, and waiting does not help.
fn refuses(records: u64) -> Error {
    Error::new(ErrorKind::Conflict, "drain")
        .with_message(
            "the shadow refuses records, and has everything else; `routing dead-letters list` or the log of who replicates names them",
        )
        .with_fact("records", records)
}

fn no_letters() -> Error {
    Error::new(ErrorKind::NotFound, "routing")
        .with_message("this store has no dead letters: every pass tries a refused record anew")
}

fn no_such_letter(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, "routing")
        .with_message("there is no dead letter of this record")
        .with_fact("record", name)
}
