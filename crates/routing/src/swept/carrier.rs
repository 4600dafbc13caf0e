//! Brings records to the shadow, side by side, as often as it takes.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};

use crate::replicator::Backoff;
use crate::replicator::dead_letters::DeadLetters;
use crate::shadow::OpenShadow;
use crate::swept::{Brought, LetterNames, Swept, SweptReplication};

/// Records on their way at once.
const SIDE_BY_SIDE: usize = 16;
/// How often records that failed are tried again before whatever they are part of is.
const RETRIES_MAX: usize = 6;

/// The way of one replication's records.
#[derive(Debug)]
pub(super) struct Carrier<'work, K: Swept> {
    replication: &'work SweptReplication<K>,
    shadow: &'work OpenShadow<K::Store>,
    letters: Option<(LetterNames<K::Key>, DeadLetters)>,
}

/// What became of one record.
type Outcome<K> = (<K as Swept>::Key, i64, Result<Brought>);

impl<'work, K: Swept> Carrier<'work, K> {
    pub(super) async fn new(
        replication: &'work SweptReplication<K>,
        shadow: &'work OpenShadow<K::Store>,
    ) -> Result<Self> {
        let letters = match K::LETTERS {
            Some(names) => {
                let limit = replication.options.dead_letters_max;
                let letters = DeadLetters::load(&shadow.ledger, names.prefix, limit).await?;
                Some((names, letters))
            }
            None => None,
        };
        Ok(Self { replication, shadow, letters })
    }

    /// How many of them the shadow refused and no dead letter tells of. What else fails is tried again by itself, so that one record
    /// of many that fails now and then does not fail all.
    pub(super) async fn bring(&self, records: Vec<K::Record>) -> Result<u64> {
        let (mut refused, mut failed) = self.bring_once(records).await?;
        let mut backoff = Backoff::default();
        for _ in 0..RETRIES_MAX {
            if failed.is_empty() {
                return Ok(refused);
            }
            tokio::time::sleep(backoff.next()).await;
            let again = failed.into_iter().map(|(key, ..)| key).collect();
            let (more, still) = self.bring_once(self.fetch(again).await?).await?;
            (refused, failed) = (refused + more, still);
        }
        for (key, version, error) in failed {
            // Its name may have gone round for as long as that. A shadow that fails is no record's fault.
            match error.kind() {
                ErrorKind::Conflict if self.letters.is_some() => {
                    self.note(&key, version, &error).await?;
                }
                _ => return Err(error),
            }
        }
        Ok(refused)
    }

    /// Brings records as the primary has them now.
    pub(super) async fn bring_again(&self, keys: Vec<K::Key>) -> Result<()> {
        let records = self.fetch(keys).await?;
        self.bring(records).await.map(drop)
    }

    /// Tries once more what was refused.
    pub(super) async fn retry_letters(&self) -> Result<()> {
        let Some((names, letters)) = &self.letters else { return Ok(()) };
        let shown = letters.names().await?;
        self.bring_again(shown.iter().map(|shown| (names.parse)(shown)).collect::<Result<_>>()?)
            .await
    }

    async fn fetch(&self, keys: Vec<K::Key>) -> Result<Vec<K::Record>> {
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.extend(K::fetch(&self.replication.primary, &key).await?);
        }
        Ok(records)
    }

    /// How many were refused, and what else failed.
    async fn bring_once(
        &self,
        records: Vec<K::Record>,
    ) -> Result<(u64, Vec<(K::Key, i64, Error)>)> {
        let limit = self.replication.options.apply_timeout;
        let brought = records.into_iter().map(|record| self.bring_one(record, limit));
        let mut brought = stream::iter(brought).buffer_unordered(SIDE_BY_SIDE);
        let (mut refused, mut failed) = (0, Vec::new());
        while let Some((key, version, outcome)) = brought.next().await {
            match outcome {
                Ok(brought) => {
                    self.replication.counts.count(brought);
                    self.forget(&key).await?;
                }
                Err(error) if is_refusal(&error) => {
                    refused += u64::from(self.letters.is_none());
                    self.note(&key, version, &error).await?;
                }
                Err(error) => failed.push((key, version, error)),
            }
        }
        Ok((refused, failed))
    }

    async fn bring_one(&self, record: K::Record, limit: Duration) -> Outcome<K> {
        let (key, version) = (K::key(&record), K::version(&record).unwrap_or_default());
        let bringing = K::bring(&self.replication.primary, &self.shadow.store, record);
        let late = || {
            Err(Error::new(ErrorKind::Timeout, "replicate")
                .with_message("the shadow did not take the record in time")
                .with_fact("timeout_ms", limit.as_millis()))
        };
        (key, version, tokio::time::timeout(limit, bringing).await.unwrap_or_else(|_| late()))
    }

    /// Leaves a dead letter, where there are any.
    async fn note(&self, key: &K::Key, version: i64, error: &Error) -> Result<()> {
        match &self.letters {
            Some((names, letters)) => letters.add_named((names.shown)(key), version, error).await,
            None => {
                tracing::warn!(%error, store = K::STORE.as_str(), "the shadow refuses a record");
                Ok(())
            }
        }
    }

    async fn forget(&self, key: &K::Key) -> Result<()> {
        match &self.letters {
            Some((names, letters)) if letters.count() > 0 => {
                letters.forget_key(&names.letter((names.shown)(key))?).await
            }
            _ => Ok(()),
        }
    }
}

/// Whether the record itself is to blame.
fn is_refusal(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::InvalidArgument | ErrorKind::AlreadyExists => true,
        ErrorKind::Internal => error.retry() == Retry::Never,
        _ => false,
    }
}
