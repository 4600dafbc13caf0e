//! Documents that the shadow refuses. They stop nobody else, and wait for an operator or a newer version.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use syntrix_storage_core::backend::{Ledger, LedgerKey};
use syntrix_storage_core::{Document, DocumentPath, Error, ErrorKind, Result};

use crate::replicator::records::{self, DEAD, DeadBody};

/// Letters read at once.
const PAGE: usize = 500;

/// A document that is not on the shadow as it is on the primary, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Path of the document.
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
    /// Keys of those there are, so that an applied document needs no look into the ledger.
    known: Mutex<HashSet<LedgerKey>>,
    limit: usize,
}

impl DeadLetters {
    /// With all that are known to the ledger.
    pub(crate) async fn load(ledger: &Arc<dyn Ledger>, limit: usize) -> Result<Self> {
        let letters = Self { ledger: Arc::clone(ledger), known: Mutex::default(), limit };
        let known = each(&**ledger).await?.into_iter().map(|(key, _)| key).collect();
        *letters.known() = known;
        Ok(letters)
    }

    pub(crate) fn count(&self) -> usize {
        self.known().len()
    }

    /// Notes that the shadow refused `document`.
    pub(crate) async fn add(&self, document: &Document, reason: &Error) -> Result<()> {
        let key = records::dead_key(document.path())?;
        if self.count() >= self.limit && !self.known().contains(&key) {
            return Err(Error::new(ErrorKind::Unavailable, "replicate")
                .with_message("the shadow refuses too many documents; see its dead letters")
                .with_fact("limit", self.limit));
        }
        let body = DeadBody {
            path: document.path().as_str().to_owned(),
            version: document.version().get(),
            reason: reason.to_string(),
        };
        loop {
            let found = self.ledger.read(&key).await?.map(|record| record.revision);
            if records::write(&*self.ledger, key.as_str(), found, &body).await?.is_some() {
                break;
            }
        }
        tracing::error!(path = %document.path(), version = %document.version(), %reason, "the shadow refuses a document");
        self.known().insert(key);
        Ok(())
    }

    /// The shadow has the document now.
    pub(crate) async fn forget(&self, path: &DocumentPath) -> Result<()> {
        if self.known().is_empty() {
            return Ok(());
        }
        let key = records::dead_key(path)?;
        if self.known().contains(&key) {
            remove(&*self.ledger, &key).await?;
            self.known().remove(&key);
        }
        Ok(())
    }

    /// Nothing under this lock can panic half-way.
    fn known(&self) -> MutexGuard<'_, HashSet<LedgerKey>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All letters, by id.
pub(crate) async fn each(ledger: &dyn Ledger) -> Result<Vec<(LedgerKey, DeadLetter)>> {
    let prefix = records::key(DEAD)?;
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

/// Removes a letter, if it is there.
pub(crate) async fn remove(ledger: &dyn Ledger, key: &LedgerKey) -> Result<bool> {
    match ledger.read(key).await? {
        Some(record) => ledger.remove(key, record.revision).await,
        None => Ok(false),
    }
}
