//! Verify of accounts and revoked tokens.
//!
//! As with documents a verdict is exact while writes go on: what differs at first is looked at again on the primary, then, behind a
//! barrier, on the shadow, then on the primary once more. Only that waits for a barrier, for here one may be a pass over all records.
//!
//! What is secret is compared and never told: of a password hash only that it differs, of a token only a digest of its id.

mod accounts;
mod report;
mod route;
mod tokens;

use std::time::Instant;

use async_trait::async_trait;
use syntrix_storage_core::backend::CallContext;
use syntrix_storage_core::{ErrorKind, Operation, Result, Timestamp};

pub use report::{RecordFinding, RecordKey, RecordReport, RecordsSummary};
pub use route::RecordRoute;

use super::report::{FieldDifference, Verdict, VerdictCounts};
use super::{Barrier, Depth, Repaired, VerifyOptions};
use crate::swept::Swept;

/// Records of one call.
const PAGE: usize = 500;
const CALL: CallContext = CallContext::new(Operation::Migrate);

/// What two sides say about one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Equal,
    /// Its time is over, or about to be: a side may have removed it.
    Expired,
    /// The shadow has it beyond what the primary has, and may.
    Beyond,
    Differs(Verdict),
}

/// A kind of record that is compared so.
#[async_trait]
pub(crate) trait Compared: Swept {
    /// The key as reports bear it.
    fn record_key(key: &Self::Key) -> RecordKey;

    /// The other way; `None` if it is of another store.
    fn key_of(record: &RecordKey) -> Option<&Self::Key>;

    /// The records of `keys`, which are one page of the other side, the one behind `after`.
    async fn beside(
        store: &Self::Store,
        after: Option<&Self::Key>,
        keys: &[Self::Key],
    ) -> Result<Vec<Option<Self::Record>>>;

    /// The records of any keys.
    async fn fetch_many(
        store: &Self::Store,
        keys: &[Self::Key],
    ) -> Result<Vec<Option<Self::Record>>>;

    /// Records that expire before this are not compared.
    async fn horizon(primary: &Self::Store, shadow: &Self::Store) -> Result<Timestamp>;

    fn judge(
        primary: Option<&Self::Record>,
        shadow: Option<&Self::Record>,
        depth: Depth,
        horizon: Timestamp,
    ) -> Judgement;

    /// The first field that differs; of a secret one no values.
    fn difference(primary: &Self::Record, shadow: &Self::Record) -> Option<FieldDifference>;

    /// Makes the shadow's record what the primary's is, or only says how. Nothing newer is overwritten.
    async fn repair(
        primary: &Self::Store,
        shadow: &Self::Store,
        key: &Self::Key,
        execute: bool,
    ) -> Result<Repaired>;
}

/// One comparison.
pub(crate) struct VerifyRecords<'run, K: Compared> {
    pub(crate) primary: &'run K::Store,
    pub(crate) shadow: &'run K::Store,
    pub(crate) barrier: &'run dyn Barrier,
    pub(crate) options: VerifyOptions,
}

/// What it has found so far.
struct Progress<'run, K: Compared> {
    summary: RecordsSummary,
    doubtful: Vec<K::Key>,
    report: RecordReport<'run>,
}

impl<K: Compared> VerifyRecords<'_, K> {
    /// Compares everything.
    pub(crate) async fn run(&self, report: RecordReport<'_>) -> Result<RecordsSummary> {
        let started = Instant::now();
        let summary = RecordsSummary::new(K::STORE, self.options.depth);
        let mut progress = Progress::<K> { summary, doubtful: Vec::new(), report };
        if !self.compare_primary(&mut progress).await? {
            return Err(route::cannot_list(K::STORE));
        }
        progress.summary.extras_compared = self.compare_extras(&mut progress).await?;
        self.recheck(&mut progress).await?;
        progress.summary.end(started.elapsed());
        Ok(progress.summary)
    }

    /// All that the primary has; `false` if it cannot list it.
    async fn compare_primary(&self, progress: &mut Progress<'_, K>) -> Result<bool> {
        let mut after = None;
        loop {
            let Some(page) = page::<K>(self.primary, after.as_ref()).await? else {
                return Ok(false);
            };
            if page.is_empty() {
                return Ok(true);
            }
            let keys: Vec<_> = page.iter().map(K::key).collect();
            let others = K::beside(self.shadow, after.as_ref(), &keys).await?;
            let horizon = K::horizon(self.primary, self.shadow).await?;
            for (record, other) in page.iter().zip(&others) {
                let judged = K::judge(Some(record), other.as_ref(), self.options.depth, horizon);
                progress.first_look(judged, K::key(record));
            }
            after = keys.last().cloned();
            self.recheck_many(progress).await?;
        }
    }

    /// What the shadow has and the primary has not; `false` if the shadow cannot list it.
    async fn compare_extras(&self, progress: &mut Progress<'_, K>) -> Result<bool> {
        let mut after = None;
        loop {
            let Some(page) = page::<K>(self.shadow, after.as_ref()).await? else {
                return Ok(false);
            };
            if page.is_empty() {
                return Ok(true);
            }
            let keys: Vec<_> = page.iter().map(K::key).collect();
            let others = K::beside(self.primary, after.as_ref(), &keys).await?;
            let horizon = K::horizon(self.primary, self.shadow).await?;
            let extras = page.iter().zip(&others).filter(|(_, other)| other.is_none());
            for (record, _) in extras {
                let judged = K::judge(None, Some(record), self.options.depth, horizon);
                progress.first_look(judged, K::key(record));
            }
            after = keys.last().cloned();
            self.recheck_many(progress).await?;
        }
    }

    /// So that what is remembered stays bounded.
    async fn recheck_many(&self, progress: &mut Progress<'_, K>) -> Result<()> {
        match progress.doubtful.len() >= self.options.range_documents_max {
            true => self.recheck(progress).await,
            false => Ok(()),
        }
    }

    /// Looks at the doubtful ones until each is certain.
    async fn recheck(&self, progress: &mut Progress<'_, K>) -> Result<()> {
        for round in 0..self.options.rechecks_max {
            if progress.doubtful.is_empty() {
                return Ok(());
            }
            if round > 0 {
                tokio::time::sleep(self.options.recheck_pause).await;
            }
            self.look(progress).await?;
        }
        for key in std::mem::take(&mut progress.doubtful) {
            progress.tell(Verdict::Unsettled, &key, None, None, false)?;
        }
        Ok(())
    }

    /// Looks once, all behind one barrier: it may be a pass over everything.
    async fn look(&self, progress: &mut Progress<'_, K>) -> Result<()> {
        let keys = std::mem::take(&mut progress.doubtful);
        let before = K::fetch_many(self.primary, &keys).await?;
        self.barrier.pass().await?;
        let shadow = K::fetch_many(self.shadow, &keys).await?;
        let after = K::fetch_many(self.primary, &keys).await?;
        let horizon = K::horizon(self.primary, self.shadow).await?;
        let judge = |primary: &Option<K::Record>, shadow: &Option<K::Record>| {
            K::judge(primary.as_ref(), shadow.as_ref(), self.options.depth, horizon)
        };
        for (((key, before), shadow), after) in keys.into_iter().zip(before).zip(shadow).zip(after)
        {
            match (judge(&before, &shadow), judge(&after, &shadow)) {
                (Judgement::Equal, _) | (_, Judgement::Equal) => progress.summary.settled += 1,
                (first, second) if first == second => {
                    progress.settle(first, &key, before, shadow, self.options.show_values)?;
                }
                _ => progress.doubtful.push(key),
            }
        }
        Ok(())
    }
}

impl<K: Compared> Progress<'_, K> {
    fn first_look(&mut self, judged: Judgement, key: K::Key) {
        self.summary.compared += 1;
        match judged {
            Judgement::Equal => {}
            Judgement::Expired => self.summary.expired += 1,
            Judgement::Beyond | Judgement::Differs(_) => self.doubtful.push(key),
        }
    }

    /// Counts what is certain and tells what is wrong.
    fn settle(
        &mut self,
        judged: Judgement,
        key: &K::Key,
        primary: Option<K::Record>,
        shadow: Option<K::Record>,
        show_values: bool,
    ) -> Result<()> {
        match judged {
            Judgement::Equal => self.summary.settled += 1,
            Judgement::Expired => self.summary.expired += 1,
            Judgement::Beyond => self.summary.beyond += 1,
            Judgement::Differs(verdict) => {
                self.tell(verdict, key, primary.as_ref(), shadow.as_ref(), show_values)?;
            }
        }
        Ok(())
    }

    fn tell(
        &mut self,
        verdict: Verdict,
        key: &K::Key,
        primary: Option<&K::Record>,
        shadow: Option<&K::Record>,
        show_values: bool,
    ) -> Result<()> {
        self.summary.counts.count(verdict);
        let both = primary.zip(shadow);
        let difference = both.and_then(|(primary, shadow)| K::difference(primary, shadow));
        (self.report)(RecordFinding {
            verdict,
            record: K::record_key(key),
            primary_version: primary.and_then(K::version),
            shadow_version: shadow.and_then(K::version),
            difference: difference.map(|difference| difference.shown(show_values)),
        })
    }
}

/// Records behind `after`; `None` if the backend cannot list them.
async fn page<K: Swept>(
    store: &K::Store,
    after: Option<&K::Key>,
) -> Result<Option<Vec<K::Record>>> {
    match K::page(store, after, PAGE).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
        page => page.map(Some),
    }
}

/// No difference and nothing that could not be told.
pub(super) fn is_clean(counts: VerdictCounts) -> bool {
    counts == VerdictCounts::default()
}
