//! Documents that the shadow refuses. They stop nobody else, and wait for an operator or a newer version.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use syntrix_storage_core::backend::{Ledger, LedgerKey};
use syntrix_storage_core::{Document, DocumentPath, Error, ErrorKind, Result};

use crate::replicator::records::{self, DEAD, DeadBody};

/// Letters read at once.
const PAGE: usize = 500;
/// Letters that are counted; that there are more than so many changes nothing.
const COUNTED_MAX: usize = 2 * PAGE;

/// A document or account that is not on the shadow as it is on the primary, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Path of the document, or id of the account.
    pub path: String,
    /// The version that the shadow refused.
    pub version: i64,
    /// What the shadow said.
    pub reason: String,
}

/// The letters of one shadow.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    ledger: Arc<dyn Ledger>,
    /// Begins their names.
    prefix: &'static str,
    /// Keys of those there are, so that an applied document needs no look into the ledger.
    known: Mutex<HashSet<LedgerKey>>,
    limit: usize,
}

impl DeadLetters {
    /// With all that are known to the ledger.
    pub(crate) async fn load(
        ledger: &Arc<dyn Ledger>,
        prefix: &'static str,
        limit: usize,
    ) -> Result<Self> {
        let letters = Self { ledger: Arc::clone(ledger), prefix, known: Mutex::default(), limit };
        let known = each_under(&**ledger, prefix).await?.into_iter().map(|(key, _)| key).collect();
        *letters.known() = known;
        Ok(letters)
    }

    pub(crate) fn count(&self) -> usize {
        self.known().len()
    }

    /// What they are about, so that it is tried again. An operator's retry in another process may have left some of them.
    pub(crate) async fn names(&self) -> Result<Vec<String>> {
        let letters = each_under(&*self.ledger, self.prefix).await?;
        let (keys, letters): (Vec<_>, Vec<_>) = letters.into_iter().unzip();
        self.known().extend(keys);
        Ok(letters.into_iter().map(|letter| letter.path).collect())
    }

    /// Notes that the shadow refused `document`.
    pub(crate) async fn add(&self, document: &Document, reason: &Error) -> Result<()> {
        let path = document.path();
        let key = records::dead_key(path)?;
        self.add_under(key, path.as_str(), document.version().get(), reason).await
    }

    /// Notes that the shadow refused the record of this name.
    pub(crate) async fn add_named(&self, name: &str, version: i64, reason: &Error) -> Result<()> {
        self.add_under(records::named_key(self.prefix, name)?, name, version, reason).await
    }

    async fn add_under(
        &self,
        key: LedgerKey,
        name: &str,
        version: i64,
        reason: &Error,
    ) -> Result<()> {
        if self.count() >= self.limit && !self.known().contains(&key) {
            return Err(Error::new(ErrorKind::Unavailable, "replicate")
                .with_message("the shadow refuses too many records; see its dead letters")
                .with_fact("limit", self.limit));
        }
        let body = DeadBody { path: name.to_owned(), version, reason: reason.to_string() };
        loop {
            let found = self.ledger.read(&key).await?.map(|record| record.revision);
            if records::write(&*self.ledger, key.as_str(), found, &body).await?.is_some() {
                break;
            }
        }
        tracing::error!(record = name, version, %reason, "the shadow refuses a record");
        self.known().insert(key);
        Ok(())
    }

    /// The shadow has the document now.
    pub(crate) async fn forget(&self, path: &DocumentPath) -> Result<()> {
        if self.known().is_empty() {
            return Ok(());
        }
        self.forget_key(&records::dead_key(path)?).await
    }

    /// The shadow has what the letter is about.
    pub(crate) async fn forget_key(&self, key: &LedgerKey) -> Result<()> {
        if self.known().contains(key) {
            remove(&*self.ledger, key).await?;
            self.known().remove(key);
        }
        Ok(())
    }

    /// Nothing under this lock can panic half-way.
    fn known(&self) -> MutexGuard<'_, HashSet<LedgerKey>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All letters about documents, by id.
pub(crate) async fn each(ledger: &dyn Ledger) -> Result<Vec<(LedgerKey, DeadLetter)>> {
    each_under(ledger, DEAD).await
}

/// All letters whose keys begin with `prefix`.
pub(crate) async fn each_under(
    ledger: &dyn Ledger,
    prefix: &str,
) -> Result<Vec<(LedgerKey, DeadLetter)>> {
    let prefix = records::key(prefix)?;
    let mut all: Vec<(LedgerKey, DeadLetter)> = Vec::new();
    loop {
        let after = all.last().map(|(key, _)| key.clone());
        let page = ledger.list(&prefix, after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        for (key, record) in page {
            let DeadBody { path, version, reason, .. } =
                records::decode(key.as_str(), &record.body)?;
            all.push((key, DeadLetter { path, version, reason }));
        }
        if is_last {
            return Ok(all);
        }
    }
}

/// How many letters there are, up to [`COUNTED_MAX`]: the metrics of every process ask all the time.
pub(crate) async fn count_under(ledger: &dyn Ledger, prefix: &str) -> Result<u64> {
    let prefix = records::key(prefix)?;
    let (mut count, mut after) = (0, None);
    while count < COUNTED_MAX {
        let page = ledger.list(&prefix, after.as_ref(), PAGE.min(COUNTED_MAX - count)).await?;
        let Some((last, _)) = page.last() else { break };
        (count, after) = (count + page.len(), Some(last.clone()));
    }
    Ok(count as u64)
}

/// Removes a letter, if it is there.
pub(crate) async fn remove(ledger: &dyn Ledger, key: &LedgerKey) -> Result<bool> {
    match ledger.read(key).await? {
        Some(record) => ledger.remove(key, record.revision).await,
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use syntrix_storage_core::backend::OpenContext;
    use syntrix_storage_core::{Location, SettingsNode, SettingsValue};

    use super::*;

    async fn ledger() -> Arc<dyn Ledger> {
        let settings = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
        let provider = syntrix_storage_memory::factory().configure(&settings).unwrap();
        provider.open(&OpenContext::new(".")).await.unwrap().ledger().unwrap()
    }

    fn refusal() -> Error {
        Error::new(ErrorKind::InvalidArgument, "write")
    }

    #[tokio::test]
    async fn a_letter_that_somebody_else_left_is_forgotten_once_it_was_tried_again() {
        let ledger = ledger().await;
        let load = || DeadLetters::load(&ledger, DEAD, usize::MAX);
        let (holder, operator) = (load().await.unwrap(), load().await.unwrap());
        operator.add_named("u", 1, &refusal()).await.unwrap();
        assert_eq!(holder.names().await.unwrap(), ["u"]);
        holder.forget_key(&records::named_key(DEAD, "u").unwrap()).await.unwrap();
        assert_eq!(count_under(&*ledger, DEAD).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn letters_are_counted_up_to_a_bound_and_all_listed() {
        let ledger = ledger().await;
        let letters = DeadLetters::load(&ledger, DEAD, usize::MAX).await.unwrap();
        let mut expected = [0, 1, PAGE, PAGE + 1, COUNTED_MAX + 1].into_iter().peekable();
        for number in 0..=COUNTED_MAX + 1 {
            if expected.next_if_eq(&number).is_some() {
                let counted = count_under(&*ledger, DEAD).await.unwrap();
                assert_eq!(counted, number.min(COUNTED_MAX) as u64);
                assert_eq!(each(&*ledger).await.unwrap().len(), number);
            }
            letters.add_named(&number.to_string(), 1, &refusal()).await.unwrap();
        }
        assert_eq!(expected.next(), None);
    }
}
