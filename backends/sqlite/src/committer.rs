//! What the thread that writes does with what is queued: groups, commits, and whose error is whose.

use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior};
use syntrix_storage_core::{Clock, Error, ErrorKind, Result, Retry};
use tokio::sync::mpsc;

use crate::anchor::Anchor;
use crate::error::from_sqlite;
use crate::group::{Batch, Group};
use crate::wake::{News, Wake};

/// Most changes in one commit.
pub(crate) const GROUP_MAX: usize = 256;

/// Work that has the connection for itself.
pub(crate) type Task = Box<dyn FnOnce(&mut Connection) + Send>;

/// What is queued.
pub(crate) enum Job {
    Changes(Box<dyn Batch>),
    Task(Task),
    Stop,
}

/// Commits what is queued.
pub(crate) struct Worker {
    pub(crate) connection: Connection,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) anchor: Arc<Anchor>,
}

/// Why a transaction came to nothing.
enum Failure {
    /// It did not begin, so no single change is to blame.
    Begin(rusqlite::Error),
    /// One of its statements or its commit failed.
    Within(rusqlite::Error),
}

impl Worker {
    /// Works until the queue ends, then folds the log into the file.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut next = None;
        while let Some(job) = next.take().or_else(|| queue.blocking_recv()) {
            match job {
                Job::Changes(first) => {
                    let group;
                    (group, next) = drain(first, &mut queue);
                    self.write(group);
                }
                Job::Task(task) => task(&mut self.connection),
                Job::Stop => queue.close(),
            }
        }
        // Another process may be reading; then the log stays and is folded in later.
        let _ = self.connection.pragma_query(None, "wal_checkpoint", |_| Ok(()));
    }

    fn write(&mut self, group: Vec<Box<dyn Batch>>) {
        let now = Instant::now();
        let (late, mut group): (Vec<_>, Vec<_>) = group
            .into_iter()
            .partition(|batch| batch.deadline().is_some_and(|deadline| deadline <= now));
        for mut batch in late {
            for number in 0..batch.len() {
                batch.fail(number, Error::new(ErrorKind::Timeout, "").with_retry(Retry::Safe));
            }
            batch.answer();
        }
        let changes = group.iter().enumerate();
        let changes: Vec<_> = changes
            .flat_map(|(batch, changes)| (0..changes.len()).map(move |number| (batch, number)))
            .collect();
        let news = match changes.is_empty() {
            true => News::default(),
            false => self.apply(&mut group, &changes),
        };
        // Whoever wrote first: to wake many who watch takes longer than to answer one.
        group.into_iter().for_each(Batch::answer);
        self.wake.committed(news);
    }

    /// One commit for all; if that fails one commit for each, so that nobody gets a neighbour's error. What they added to the logs.
    ///
    /// `changes` says which ones: the batch's place in the group, and the number in the batch.
    fn apply(&mut self, group: &mut [Box<dyn Batch>], changes: &[(usize, usize)]) -> News {
        let failed = match self.transaction(group, changes) {
            Ok(news) => return news,
            Err(Failure::Within(_)) if changes.len() > 1 => {
                let alone = changes.chunks(1).map(|change| self.apply(group, change));
                return alone.fold(News::default(), News::and);
            }
            Err(Failure::Begin(error) | Failure::Within(error)) => error,
        };
        for (batch, number) in changes {
            group[*batch].fail(*number, from_sqlite(&failed));
        }
        News::default()
    }

    fn transaction(
        &mut self,
        group: &mut [Box<dyn Batch>],
        changes: &[(usize, usize)],
    ) -> Result<News, Failure> {
        let aside = self.anchor.step_aside();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Failure::Begin)?;
        drop(aside);
        let mut view = Group::new(&transaction, self.clock.now());
        for (batch, number) in changes {
            group[*batch].apply(*number, &mut view).map_err(Failure::Within)?;
        }
        let news = view.news().map_err(Failure::Within)?;
        transaction.commit().map_err(Failure::Within)?;
        Ok(news)
    }
}

/// What is queued now, up to the most a commit takes, and the job behind it that is no change.
fn drain(
    first: Box<dyn Batch>,
    queue: &mut mpsc::Receiver<Job>,
) -> (Vec<Box<dyn Batch>>, Option<Job>) {
    let mut count = first.len();
    let mut group = vec![first];
    while count < GROUP_MAX {
        match queue.try_recv() {
            Ok(Job::Changes(batch)) => {
                count += batch.len();
                group.push(batch);
            }
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}
