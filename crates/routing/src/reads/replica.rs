//! Reads of a native replica that is held against watermarks of the primary.

use std::future::Future;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use syntrix_storage_core::backend::{CallContext, Watermark};
use syntrix_storage_core::{Consistency, Error, ErrorKind, Operation, Result};

use crate::reads::counters::Reason;
use crate::reads::watermarks::{Needed, Watermarks};
use crate::reads::{Scope, ShadowReads, shadow_share};
use crate::shadow::ShadowState;

/// Between two looks whether the replica has by now what a read must see.
const BEHIND_PAUSE: Duration = Duration::from_millis(2);
/// For so long nobody asks again for what the replica was waited for in vain.
const BEHIND_KNOWN: Duration = Duration::from_millis(50);
/// After the primary did not say how far it is.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(100);
/// How often the primary is asked how far it is, while reads allow an age.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
/// For so long behind the last one.
const SAMPLES_KEPT: Duration = Duration::from_secs(5);
/// Between two looks at a replica that was refused.
const REFUSED_INTERVAL: Duration = Duration::from_secs(10);

/// Whether reads that allow an age came lately.
#[derive(Debug, Default)]
pub(super) struct Asked {
    count: u64,
    until: Option<Instant>,
}

impl Asked {
    fn is_lately(&mut self, count: u64) -> bool {
        if count != self.count {
            *self = Self { count, until: Some(Instant::now() + SAMPLES_KEPT) };
        }
        self.until.is_some_and(|until| Instant::now() < until)
    }
}

impl ShadowReads {
    /// What was seen, if the shadow is held against watermarks.
    pub(super) fn watermarks(&self) -> Option<&Watermarks> {
        self.marks.get().and_then(Option::as_ref)
    }

    /// The replica's answer, if it has what the read must see or gets it within a moment.
    pub(super) async fn ask_replica<T, F>(
        &self,
        marks: &Watermarks,
        context: &CallContext,
        scope: Scope<'_>,
        read: impl Fn(CallContext) -> F,
    ) -> std::result::Result<T, Reason>
    where
        F: Future<Output = Result<T>>,
    {
        let end = Instant::now() + shadow_share(context, self.rules.replica_wait);
        let needed = self.needed(marks, context.consistency, scope, end).await?;
        if self.was_behind(needed) {
            return Err(Reason::Lag);
        }
        loop {
            let attempt = self.breaker.attempt().ok_or(Reason::Breaker)?;
            let reading = read(context.with_not_before(Some(needed)));
            let answer = self.in_time(context, attempt, reading).await;
            if !matches!(answer, Err(Reason::Lag)) {
                return answer;
            }
            if Instant::now() >= end {
                *self.behind() = Some((needed, Instant::now()));
                return answer;
            }
            tokio::time::sleep(BEHIND_PAUSE).await;
        }
    }

    /// While the replica is far behind, not every read waits in vain again.
    fn was_behind(&self, needed: Watermark) -> bool {
        let behind = *self.behind();
        behind.is_some_and(|(mark, at)| mark <= needed && at.elapsed() < BEHIND_KNOWN)
    }

    /// Nothing under this lock can panic half-way.
    fn behind(&self) -> MutexGuard<'_, Option<(Watermark, Instant)>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the read must see; what the primary is just being asked for is waited for.
    async fn needed(
        &self,
        marks: &Watermarks,
        consistency: Consistency,
        scope: Scope<'_>,
        end: Instant,
    ) -> std::result::Result<Watermark, Reason> {
        match consistency {
            Consistency::Any => return marks.least().ok_or(Reason::NotReady),
            Consistency::Bounded(age) => {
                self.freshness.ask();
                return marks.needed_by_age(age).ok_or(Reason::Lag);
            }
            // Strong reads do not come here; kinds to come are served as sessions.
            _ => {}
        }
        loop {
            let answered = marks.answered.notified();
            let needed = match scope {
                Scope::Paths(paths) => marks.needed(paths.iter()),
                Scope::All => marks.needed_by_all(),
            };
            if let Needed::Reached(needed) = needed {
                return needed.or_else(|| marks.least()).ok_or(Reason::NotReady);
            }
            if tokio::time::timeout_at(end.into(), answered).await.is_err() {
                return Err(Reason::Session);
            }
        }
    }

    /// A native replica that says that it is none of the primary is read no more.
    pub(super) fn refuse_if_foreign(&self, error: &Error) {
        if self.watermarks().is_some() && error.kind() == ErrorKind::ConfigInvalid {
            self.replication.link().refuse(&error.to_string());
        }
    }

    /// Finds out how the shadow is held against what was seen, once it is open.
    pub(super) async fn decide(&self) -> Result<()> {
        let link = self.replication.link();
        link.opened().await;
        let watermark = match link.is_native() {
            true => self.replication.primary().watermark().await?,
            false => None,
        };
        let marks = self.marks.get_or_init(|| watermark.map(|_| Watermarks::begin()));
        if let (Some(marks), Some(watermark)) = (marks, watermark) {
            // Learns to which database the replica must belong; what was seen before needs another answer.
            marks.learned(0, Instant::now(), watermark);
            self.look_at_replica(marks).await;
        }
        Ok(())
    }

    /// Whether the replica is one of the primary.
    async fn look_at_replica(&self, marks: &Watermarks) {
        let link = self.replication.link();
        let context = CallContext::new(Operation::Migrate)
            .with_consistency(Consistency::Any)
            .with_not_before(marks.least())
            .with_deadline(Some(Instant::now() + self.rules.shadow_timeout));
        let Some(shadow) = link.get() else { return };
        match shadow.store.get_many(&[], &context).await {
            Ok(_) => link.accept_native(),
            Err(error) => self.refuse_if_foreign(&error),
        }
    }

    /// Asks the primary how far it is whenever something was seen, until `marks` goes.
    pub(super) async fn learn(&self, marks: &Watermarks) {
        match marks.question() {
            None => marks.news.notified().await,
            Some(moment) => self.learn_once(marks, moment).await,
        }
    }

    async fn learn_once(&self, marks: &Watermarks, moment: u64) {
        let asked = Instant::now();
        match self.replication.primary().watermark().await {
            Ok(Some(watermark)) => marks.learned(moment, asked, watermark),
            other => {
                tracing::debug!(?other, "the primary did not say how far it is");
                tokio::time::sleep(UNKNOWN_PAUSE).await;
            }
        }
    }

    /// What goes on beside: samples for reads that allow an age, and another look at a replica that was refused.
    pub(super) async fn keep_samples(&self, marks: &Watermarks, asked: &mut Asked) {
        if matches!(self.replication.link().state(), ShadowState::Refused(_)) {
            tokio::time::sleep(REFUSED_INTERVAL).await;
            return self.look_at_replica(marks).await;
        }
        if asked.is_lately(self.freshness.asked()) {
            self.learn_once(marks, 0).await;
        }
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
}
