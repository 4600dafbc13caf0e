//! Reads of a route with a shadow: who answers which one.

pub(crate) mod compare;
mod counters;
pub(crate) mod freshness;
pub(crate) mod session;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend};
use syntrix_storage_core::{
    Consistency, Document, DocumentPath, Error, ErrorKind, ITEMS_MAX, Operation, QueryPlan, Result,
    Retry, ScanRequest,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::breaker::Breaker;
use crate::reads::counters::{ReadCounters, Reason};
use crate::reads::freshness::{Freshness, barrier};
use crate::reads::session::Session;
use crate::replication::DocumentReplication;

/// Between two looks whether the shadow has what the session remembers.
const SETTLE_PAUSE_MIN: Duration = Duration::from_millis(5);
const SETTLE_PAUSE_MAX: Duration = Duration::from_millis(250);
/// Longest wait for one barrier of the session's; a shadow that is down is asked again.
const BARRIER_WAIT: Duration = Duration::from_secs(5);
/// After a failed look.
const SETTLE_BACKOFF: Duration = Duration::from_millis(500);
/// How often it is found out how far the shadow is, while that is asked for.
const FRESHNESS_INTERVAL: Duration = Duration::from_millis(500);

/// How a route reads from its shadow.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct ReadRules {
    /// Longest wait for the shadow's answer to one read; then the primary answers.
    pub shadow_timeout: Duration,
    /// Reads at once that the primary answers since the shadow is not well; others wait for their turn.
    pub fallbacks_max: usize,
    /// Longest wait for that turn; then the read is `unavailable`.
    pub fallback_wait: Duration,
    /// Comparisons per second at most; what is read beyond is not compared.
    pub compares_per_second: u32,
    /// Pauses before each further look at what differed.
    pub recheck_pauses: [Duration; 3],
}

impl Default for ReadRules {
    fn default() -> Self {
        Self {
            shadow_timeout: Duration::from_secs(1),
            fallbacks_max: 64,
            fallback_wait: Duration::from_secs(1),
            compares_per_second: 200,
            recheck_pauses: [
                Duration::from_millis(250),
                Duration::from_secs(1),
                Duration::from_secs(5),
            ],
        }
    }
}

/// The reads of one route from its shadow.
#[derive(Debug)]
pub(crate) struct ShadowReads {
    replication: Arc<DocumentReplication>,
    session: Session,
    freshness: Freshness,
    breaker: Breaker,
    counters: ReadCounters,
    fallbacks: Semaphore,
    rules: ReadRules,
}

/// A read that the shadow did not answer.
pub(crate) struct Fallback<'reads>(Option<SemaphorePermit<'reads>>);

impl ShadowReads {
    /// Must be called within a runtime, which settles the session until the route is closed.
    pub(crate) fn start(replication: Arc<DocumentReplication>, rules: ReadRules) -> Arc<Self> {
        let reads = Arc::new(Self {
            session: Session::default(),
            freshness: Freshness::default(),
            breaker: Breaker::default(),
            counters: ReadCounters::new(),
            fallbacks: Semaphore::new(rules.fallbacks_max),
            replication,
            rules,
        });
        let link = Arc::clone(reads.replication.link());
        for work in [Work::Settle, Work::Probe] {
            let (reads, link) = (Arc::downgrade(&reads), Arc::clone(&link));
            tokio::spawn(async move {
                tokio::select! {
                    () = link.closed() => {}
                    () = work.run(&reads) => {}
                }
            });
        }
        reads
    }

    /// One document of the shadow, or why the primary has to answer.
    pub(crate) async fn get(
        &self,
        path: &DocumentPath,
        context: &CallContext,
    ) -> Result<std::result::Result<Option<Document>, Fallback<'_>>> {
        let allowed = || self.session.allows(path);
        self.ask(context, allowed, |shadow| async move { shadow.get(path, context).await }).await
    }

    pub(crate) async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<std::result::Result<Vec<Option<Document>>, Fallback<'_>>> {
        let allowed = || paths.iter().all(|path| self.session.allows(path));
        self.ask(context, allowed, |shadow| async move { shadow.get_many(paths, context).await })
            .await
    }

    pub(crate) async fn query(
        &self,
        plan: &QueryPlan,
        context: &CallContext,
    ) -> Result<std::result::Result<Vec<Document>, Fallback<'_>>> {
        let allowed = || self.session.allows_all();
        self.ask(context, allowed, |shadow| async move { shadow.query(plan, context).await }).await
    }

    pub(crate) async fn scan(
        &self,
        request: &ScanRequest,
        context: &CallContext,
    ) -> Result<std::result::Result<Vec<Document>, Fallback<'_>>> {
        let allowed = || self.session.allows_all();
        self.ask(context, allowed, |shadow| async move { shadow.scan(request, context).await })
            .await
    }

    /// What the primary answered, to be seen in later reads of this handle.
    pub(crate) fn saw(&self, document: Option<&Document>) {
        if let Some(document) = document {
            self.session.remember(document);
        }
    }

    /// As `saw`, of a list, which tells of what is not in it too.
    pub(crate) fn saw_all(&self) {
        self.session.remember_all();
    }

    /// What writes made or found. With `confirmed` those that are told as done are on the shadow already.
    pub(crate) fn saw_writes(&self, outcomes: &[Result<Applied>], confirmed: bool) {
        for outcome in outcomes.iter().flatten() {
            match outcome {
                Applied::Yes(_) if confirmed => {}
                Applied::Yes(document)
                | Applied::ShadowPending(document)
                | Applied::No(Some(document)) => self.session.remember(document),
                Applied::No(None) => {}
            }
        }
    }

    async fn ask<'ask, T, F>(
        &self,
        context: &CallContext,
        allowed: impl FnOnce() -> bool,
        read: impl FnOnce(Arc<dyn DocumentBackend>) -> F,
    ) -> Result<std::result::Result<T, Fallback<'_>>>
    where
        F: Future<Output = Result<T>> + 'ask,
    {
        let reason = match self.shadow(context, allowed) {
            Ok(shadow) => match self.in_time(context, read(shadow)).await {
                Ok(answer) => {
                    self.counters.answered();
                    return Ok(Ok(answer));
                }
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        self.counters.fell_back(reason);
        let permit = match reason.is_failure() {
            true => Some(self.turn(context).await?),
            false => None,
        };
        Ok(Err(Fallback(permit)))
    }

    /// The shadow, if this read may go there.
    fn shadow(
        &self,
        context: &CallContext,
        allowed: impl FnOnce() -> bool,
    ) -> std::result::Result<Arc<dyn DocumentBackend>, Reason> {
        let link = self.replication.link();
        let shadow = link.get().filter(|_| link.is_filled()).ok_or(Reason::NotReady)?;
        match context.consistency {
            Consistency::Any => {}
            Consistency::Bounded(age) if self.freshness.is_within(age) => {}
            Consistency::Bounded(_) => return Err(Reason::Lag),
            // Strong reads do not come here; kinds to come are served as sessions.
            _ if allowed() => {}
            _ => return Err(Reason::Session),
        }
        match self.breaker.allows() {
            true => Ok(Arc::clone(&shadow.store)),
            false => Err(Reason::Breaker),
        }
    }

    async fn in_time<T>(
        &self,
        context: &CallContext,
        reading: impl Future<Output = Result<T>>,
    ) -> std::result::Result<T, Reason> {
        // Half of what is left is the primary's.
        let left = context.deadline.map(|at| at.saturating_duration_since(Instant::now()) / 2);
        let limit =
            left.map_or(self.rules.shadow_timeout, |left| left.min(self.rules.shadow_timeout));
        let mut undecided = Undecided(Some(&self.breaker));
        let outcome = tokio::time::timeout(limit, reading).await;
        undecided.0 = None;
        match outcome {
            Ok(Ok(answer)) => {
                self.breaker.succeeded();
                Ok(answer)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the shadow did not answer a read; the primary does");
                self.breaker.failed();
                Err(Reason::Error)
            }
            Err(_) => {
                self.breaker.failed();
                Err(Reason::Timeout)
            }
        }
    }

    /// A dead shadow must not bring all its reads to the primary at once.
    async fn turn(&self, context: &CallContext) -> Result<SemaphorePermit<'_>> {
        let left = context.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let limit =
            left.map_or(self.rules.fallback_wait, |left| left.min(self.rules.fallback_wait));
        let turn = tokio::time::timeout(limit, self.fallbacks.acquire()).await;
        turn.ok().and_then(std::result::Result::ok).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "")
                .with_message(
                    "the shadow is not well, and the primary answers as many reads in its place as it may",
                )
                .with_retry(Retry::Safe)
                .with_fact("reads_max", self.rules.fallbacks_max)
        })
    }

    /// One look whether the shadow has what is remembered.
    async fn settle(&self) -> Result<()> {
        let shadow = self.replication.link().opened().await;
        let paths = self.session.some(ITEMS_MAX);
        if !paths.is_empty() {
            let found = shadow.store.get_many(&paths, &shadow_context()).await?;
            found.iter().flatten().for_each(|document| self.session.found(document));
        }
        if self.session.needs_barrier() {
            self.pass_barrier().await?;
        }
        Ok(())
    }

    async fn pass_barrier(&self) -> Result<()> {
        let (moment, started) = (self.session.moment(), Instant::now());
        let passed = tokio::time::timeout(BARRIER_WAIT, barrier(&self.replication)).await;
        passed.unwrap_or_else(|_| Err(not_passed()))?;
        self.session.passed(moment);
        self.freshness.passed(started);
        Ok(())
    }
}

impl Drop for Fallback<'_> {
    /// Gives the turn back when the primary has answered.
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// A read that is given up says nothing about the shadow, but a probe must not stay undecided for good.
struct Undecided<'breaker>(Option<&'breaker Breaker>);

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = self.0 {
            breaker.given_up();
        }
    }
}

fn shadow_context() -> CallContext {
    CallContext::new(Operation::Migrate).with_consistency(Consistency::Any)
}

fn not_passed() -> Error {
    Error::new(ErrorKind::Timeout, "replica").with_message("the shadow does not catch up")
}

/// What goes on in the background.
#[derive(Clone, Copy)]
enum Work {
    /// Forgets what the shadow has by now.
    Settle,
    /// Finds out how far the shadow is, while that is asked for.
    Probe,
}

impl Work {
    async fn run(self, reads: &std::sync::Weak<ShadowReads>) {
        match self {
            Self::Settle => settle_on(reads).await,
            Self::Probe => probe_on(reads).await,
        }
    }
}

async fn settle_on(reads: &std::sync::Weak<ShadowReads>) {
    let mut pause = SETTLE_PAUSE_MIN;
    while let Some(reads) = reads.upgrade() {
        if reads.session.allows_all() {
            reads.session.news.notified().await;
            pause = SETTLE_PAUSE_MIN;
        }
        match reads.settle().await {
            Ok(()) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SETTLE_PAUSE_MAX);
            }
            Err(error) => {
                tracing::debug!(%error, "the shadow was not asked what it has by now");
                tokio::time::sleep(SETTLE_BACKOFF).await;
            }
        }
    }
}

async fn probe_on(reads: &std::sync::Weak<ShadowReads>) {
    let mut known = 0;
    while let Some(reads) = reads.upgrade() {
        let asked = reads.freshness.asked();
        if asked != known {
            known = asked;
            // What fails leaves the old answer, which grows too old by itself.
            let _ = reads.pass_barrier().await;
        }
        tokio::time::sleep(FRESHNESS_INTERVAL).await;
    }
}
