//! Reads of a route with a shadow: who answers which one.

pub(crate) mod compare;
mod counters;
pub(crate) mod freshness;
mod replica;
pub(crate) mod session;
mod settle;
mod watermarks;

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::{Applied, CallContext, DocumentBackend, Watermark};
use syntrix_storage_core::{
    Consistency, Document, DocumentPath, Error, ErrorKind, QueryPlan, Result, Retry, ScanRequest,
    SeenWrite,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::breaker::{Attempt, Breaker};
use crate::reads::counters::{ReadCounters, Reason};
use crate::reads::freshness::Freshness;
use crate::reads::session::Session;
use crate::reads::settle::Work;
use crate::reads::watermarks::Watermarks;
use crate::replication::DocumentReplication;

/// How a route reads from its shadow.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct ReadRules {
    /// Longest wait for the shadow's answer to one read; then the primary answers.
    pub shadow_timeout: Duration,
    /// Longest wait of one read for a native replica to get what the read must see; then the primary answers.
    pub replica_wait: Duration,
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
            replica_wait: Duration::from_millis(20),
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

/// What a read is about.
#[derive(Clone, Copy, Debug)]
enum Scope<'read> {
    /// These documents.
    Paths(&'read [DocumentPath]),
    /// Whatever is there, and what is not.
    All,
}

/// The reads of one route from its shadow.
#[derive(Debug)]
pub(crate) struct ShadowReads {
    replication: Arc<DocumentReplication>,
    /// What was seen, of shadows that are looked at beforehand.
    session: Session,
    /// The same of native replicas that are held against watermarks; `None` inside if the shadow is none. Empty until that is known.
    marks: OnceLock<Option<Watermarks>>,
    /// What the replica was lately waited for in vain.
    behind: Mutex<Option<(Watermark, Instant)>>,
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
            marks: OnceLock::new(),
            behind: Mutex::default(),
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
        let scope = Scope::Paths(std::slice::from_ref(path));
        self.ask(context, scope, |shadow, context| async move { shadow.get(path, &context).await })
            .await
    }

    pub(crate) async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<std::result::Result<Vec<Option<Document>>, Fallback<'_>>> {
        let read = |shadow: Arc<dyn DocumentBackend>, context| async move {
            shadow.get_many(paths, &context).await
        };
        self.ask(context, Scope::Paths(paths), read).await
    }

    pub(crate) async fn query(
        &self,
        plan: &QueryPlan,
        context: &CallContext,
    ) -> Result<std::result::Result<Vec<Document>, Fallback<'_>>> {
        let read = |shadow: Arc<dyn DocumentBackend>, context| async move {
            shadow.query(plan, &context).await
        };
        self.ask(context, Scope::All, read).await
    }

    pub(crate) async fn scan(
        &self,
        request: &ScanRequest,
        context: &CallContext,
    ) -> Result<std::result::Result<Vec<Document>, Fallback<'_>>> {
        let read = |shadow: Arc<dyn DocumentBackend>, context| async move {
            shadow.scan(request, &context).await
        };
        self.ask(context, Scope::All, read).await
    }

    /// What the primary answered, to be seen in later reads of this handle.
    pub(crate) fn saw(&self, document: Option<&Document>) {
        if let Some(document) = document {
            self.remember(document);
        }
    }

    fn remember(&self, document: &Document) {
        match self.watermarks() {
            Some(marks) => marks.saw(SeenWrite::of(document)),
            None => self.session.remember(document),
        }
    }

    /// As `saw`, of a list, which tells of what is not in it too.
    pub(crate) fn saw_all(&self) {
        match self.watermarks() {
            Some(marks) => marks.saw_all(),
            None => self.session.remember_all(),
        }
    }

    /// What writes made or found. With `confirmed` those that are told as done are on the shadow already.
    pub(crate) fn saw_writes(&self, outcomes: &[Result<Applied>], confirmed: bool) {
        for outcome in outcomes.iter().flatten() {
            match outcome {
                Applied::Yes(_) if confirmed => {}
                Applied::Yes(document)
                | Applied::ShadowPending(document)
                | Applied::No(Some(document)) => self.remember(document),
                Applied::No(None) => {}
            }
        }
    }

    async fn ask<'ask, T, F>(
        &self,
        context: &CallContext,
        scope: Scope<'_>,
        read: impl Fn(Arc<dyn DocumentBackend>, CallContext) -> F,
    ) -> Result<std::result::Result<T, Fallback<'_>>>
    where
        F: Future<Output = Result<T>> + 'ask,
    {
        let reason = match self.ask_shadow(context, scope, read).await {
            Ok(answer) => {
                self.counters.answered();
                return Ok(Ok(answer));
            }
            Err(reason) => reason,
        };
        self.counters.fell_back(reason);
        let permit = match reason.is_failure() {
            true => Some(self.turn(context).await?),
            false => None,
        };
        Ok(Err(Fallback(permit)))
    }

    async fn ask_shadow<'ask, T, F>(
        &self,
        context: &CallContext,
        scope: Scope<'_>,
        read: impl Fn(Arc<dyn DocumentBackend>, CallContext) -> F,
    ) -> std::result::Result<T, Reason>
    where
        F: Future<Output = Result<T>> + 'ask,
    {
        let link = self.replication.link();
        let shadow = link.get().filter(|_| link.is_filled()).ok_or(Reason::NotReady)?;
        if let Some(marks) = self.watermarks() {
            let read = |context| read(Arc::clone(&shadow.store), context);
            return self.ask_replica(marks, context, scope, read).await;
        }
        if link.is_native() && self.marks.get().is_none() {
            return Err(Reason::NotReady);
        }
        self.allow(context, scope).await?;
        let attempt = self.breaker.attempt().ok_or(Reason::Breaker)?;
        self.in_time(context, attempt, read(Arc::clone(&shadow.store), *context)).await
    }

    /// Whether this read may go to the shadow, by what is known of it before.
    async fn allow(
        &self,
        context: &CallContext,
        scope: Scope<'_>,
    ) -> std::result::Result<(), Reason> {
        if matches!(scope, Scope::All) {
            self.wait_if_late(context).await;
        }
        match (context.consistency, scope) {
            (Consistency::Any, _) => Ok(()),
            (Consistency::Bounded(age), _) if self.freshness.is_within(age) => Ok(()),
            (Consistency::Bounded(_), _) => Err(Reason::Lag),
            // Strong reads do not come here; kinds to come are served as sessions.
            (_, Scope::All) if self.session.allows_all() => Ok(()),
            (_, Scope::Paths(paths)) if paths.iter().all(|path| self.session.allows(path)) => {
                Ok(())
            }
            _ => Err(Reason::Session),
        }
    }

    async fn in_time<T>(
        &self,
        context: &CallContext,
        attempt: Attempt<'_>,
        reading: impl Future<Output = Result<T>>,
    ) -> std::result::Result<T, Reason> {
        let limit = shadow_share(context, self.rules.shadow_timeout);
        let outcome = tokio::time::timeout(limit, reading).await;
        let is_behind = |error: &Error| error.kind() == ErrorKind::PreconditionFailed;
        attempt
            .end(outcome.as_ref().is_ok_and(|answer| answer.as_ref().err().is_none_or(is_behind)));
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_behind(&error) => Err(Reason::Lag),
            Ok(Err(error)) => {
                self.refuse_if_foreign(&error);
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
