//! Reads of a route with a shadow: who answers which one.

pub(crate) mod compare;
mod counters;
pub(crate) mod freshness;
pub(crate) mod session;
mod settle;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend};
use syntrix_storage_core::{
    Consistency, Document, DocumentPath, Error, ErrorKind, QueryPlan, Result, Retry, ScanRequest,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::breaker::{Attempt, Breaker};
use crate::reads::counters::{ReadCounters, Reason};
use crate::reads::freshness::Freshness;
use crate::reads::session::Session;
use crate::reads::settle::Work;
use crate::replication::DocumentReplication;

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

/// A read that the shadow did not answer. Gives its turn back when it is dropped.
pub(crate) struct Fallback<'reads>(
    #[expect(dead_code, reason = "held for its drop")] Option<SemaphorePermit<'reads>>,
);

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
        self.wait_if_late(context).await;
        let allowed = || self.session.allows_all();
        self.ask(context, allowed, |shadow| async move { shadow.query(plan, context).await }).await
    }

    pub(crate) async fn scan(
        &self,
        request: &ScanRequest,
        context: &CallContext,
    ) -> Result<std::result::Result<Vec<Document>, Fallback<'_>>> {
        self.wait_if_late(context).await;
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
            Ok((shadow, attempt)) => match self.in_time(context, attempt, read(shadow)).await {
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
    ) -> std::result::Result<(Arc<dyn DocumentBackend>, Attempt<'_>), Reason> {
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
        let attempt = self.breaker.attempt().ok_or(Reason::Breaker)?;
        Ok((Arc::clone(&shadow.store), attempt))
    }

    async fn in_time<T>(
        &self,
        context: &CallContext,
        attempt: Attempt<'_>,
        reading: impl Future<Output = Result<T>>,
    ) -> std::result::Result<T, Reason> {
        let limit = shadow_share(context, self.rules.shadow_timeout);
        let outcome = tokio::time::timeout(limit, reading).await;
        attempt.end(matches!(outcome, Ok(Ok(_))));
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the shadow did not answer a read; the primary does");
                Err(Reason::Error)
            }
            Err(_) => Err(Reason::Timeout),
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
}

/// The shadow's share of a call's time: at most `limit`, and no more than half of what is left, as the other half is the
/// primary's.
pub(crate) fn shadow_share(context: &CallContext, limit: Duration) -> Duration {
    let left = context.deadline.map(|at| at.saturating_duration_since(Instant::now()) / 2);
    left.map_or(limit, |left| left.min(limit))
}
