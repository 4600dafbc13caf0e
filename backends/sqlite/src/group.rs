//! Changes that share a commit: what one is, and how each gets its own answer.

use std::time::Instant;

use rusqlite::Connection;
use syntrix_storage_core::backend::Write;
use syntrix_storage_core::{Error, Result, Timestamp};
use tokio::sync::oneshot;

use crate::apply::Applier;
use crate::error::lost;
use crate::user_changes;
use crate::wake::News;

/// The outer failure undoes the whole transaction, the inner one is a single change's own answer.
pub(crate) type Outcome<T> = rusqlite::Result<Result<T>>;

/// A change that is committed with others.
///
/// If the transaction fails, each of its changes runs again alone, so a change keeps nothing from one run to the next.
pub(crate) trait Change: Send + 'static {
    /// What its caller learns.
    type Answer: Send + 'static;

    /// Makes the change. A failed statement belongs into the outer result: SQLite may have ended the transaction with it.
    fn apply(&self, group: &mut Group<'_>) -> Outcome<Self::Answer>;
}

impl Change for Write {
    type Answer = syntrix_storage_core::backend::Applied;

    fn apply(&self, group: &mut Group<'_>) -> Outcome<Self::Answer> {
        group.documents()?.apply(self)
    }
}

/// One transaction, as its changes see it.
pub(crate) struct Group<'transaction> {
    connection: &'transaction Connection,
    now: Timestamp,
    documents: Option<Applier<'transaction>>,
    accounts_written: bool,
}

impl<'transaction> Group<'transaction> {
    pub(crate) fn new(connection: &'transaction Connection, now: Timestamp) -> Self {
        Self { connection, now, documents: None, accounts_written: false }
    }

    pub(crate) fn connection(&self) -> &'transaction Connection {
        self.connection
    }

    /// The store's time, the same for all changes.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// What applies documents; a transaction without any does not look at the change log.
    fn documents(&mut self) -> rusqlite::Result<&mut Applier<'transaction>> {
        let applier = match self.documents.take() {
            Some(applier) => applier,
            None => Applier::begin(self.connection, self.now)?,
        };
        Ok(self.documents.insert(applier))
    }

    /// Notes that an account got a new number.
    pub(crate) fn account_written(&mut self) {
        self.accounts_written = true;
    }

    /// What this transaction added to the two logs.
    pub(crate) fn news(&self) -> rusqlite::Result<News> {
        let documents = self.documents.as_ref().and_then(Applier::last_sequence);
        let accounts = self.accounts_written.then(|| user_changes::last_number(self.connection));
        Ok(News { documents, accounts: accounts.transpose()? })
    }
}

/// The changes of one caller, whatever they are.
pub(crate) trait Batch: Send {
    /// How many changes there are; they are numbered from 0.
    fn len(&self) -> usize;

    /// When the caller no longer waits.
    fn deadline(&self) -> Option<Instant>;

    /// Runs one change and keeps its answer instead of an earlier one.
    fn apply(&mut self, number: usize, group: &mut Group<'_>) -> rusqlite::Result<()>;

    /// Makes `error` the answer of one change.
    fn fail(&mut self, number: usize, error: Error);

    /// Tells the caller what became of its changes.
    fn answer(self: Box<Self>);
}

/// A [`Batch`] of one kind of change.
pub(crate) struct Changes<C: Change> {
    changes: Vec<C>,
    answers: Vec<Option<Result<C::Answer>>>,
    deadline: Option<Instant>,
    reply: oneshot::Sender<Vec<Result<C::Answer>>>,
}

impl<C: Change> Changes<C> {
    pub(crate) fn new(
        changes: Vec<C>,
        deadline: Option<Instant>,
        reply: oneshot::Sender<Vec<Result<C::Answer>>>,
    ) -> Self {
        let answers = changes.iter().map(|_| None).collect();
        Self { changes, answers, deadline, reply }
    }
}

impl<C: Change> Batch for Changes<C> {
    fn len(&self) -> usize {
        self.changes.len()
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn apply(&mut self, number: usize, group: &mut Group<'_>) -> rusqlite::Result<()> {
        self.answers[number] = Some(self.changes[number].apply(group)?);
        Ok(())
    }

    fn fail(&mut self, number: usize, error: Error) {
        self.answers[number] = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        let answers = self.answers.into_iter();
        let answers = answers.map(|answer| answer.unwrap_or_else(|| Err(lost()))).collect();
        // A caller that gave up does not want its answer.
        let _ = self.reply.send(answers);
    }
}
