//! `reads: both`: the shadow is asked what the primary was asked, later and elsewhere, and the answers are compared.
//!
//! Most reads pay for a look at a counter alone: only so many a second are compared, and only if there is a place in the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::Counter;
use syntrix_storage_core::backend::{CallContext, DocumentBackend, Ledger};
use syntrix_storage_core::{
    Clock, Consistency, Document, DocumentPath, Operation, QueryPlan, Result, SystemClock,
};
use tokio::sync::mpsc;

use crate::content::same_content;
use crate::reads::ReadRules;
use crate::replication::DocumentReplication;
use crate::replicator::records;
use crate::replicator::status::CompareStatus;

/// Reads that wait to be compared.
const QUEUE: usize = 256;
/// Longest wait for one answer of a side.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Between two notes of what was compared.
const NOTE_INTERVAL: Duration = Duration::from_secs(5);
/// Where it is noted.
const RECORD: &str = "documents/compare";

/// What was asked.
#[derive(Debug)]
enum Question {
    Get(DocumentPath),
    Query(Box<QueryPlan>),
}

/// A read that the primary answered.
#[derive(Debug)]
struct Job {
    question: Question,
    answer: Vec<Document>,
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The same answer at once.
    Equal,
    /// The shadow had it a little later.
    Lag,
    /// The primary changed meanwhile.
    Raced,
    /// The shadow gives another answer, and went on to.
    Definite,
    /// The shadow did not answer.
    Failed,
    /// Not compared, as there is too much to compare.
    Dropped,
}

impl Class {
    const ALL: [Self; 6] =
        [Self::Equal, Self::Lag, Self::Raced, Self::Definite, Self::Failed, Self::Dropped];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Lag => "lag",
            Self::Raced => "raced",
            Self::Definite => "definite",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Takes what was read and compares it in the background.
pub(crate) struct Compare {
    jobs: mpsc::Sender<Job>,
    rate: Arc<Rate>,
    counters: Arc<Counters>,
}

impl Compare {
    /// Must be called within a runtime. Ends with the route.
    pub(crate) fn start(
        primary: Arc<dyn DocumentBackend>,
        replication: &Arc<DocumentReplication>,
        rules: &ReadRules,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let rate = Arc::new(Rate::new(rules.compares_per_second));
        let counters = Arc::new(Counters::new());
        let link = Arc::clone(replication.link());
        let worker = Worker {
            primary,
            replication: Arc::clone(replication),
            pauses: rules.recheck_pauses,
            counters: Arc::clone(&counters),
            noted: Noted::default(),
        };
        let renewed = Arc::clone(&rate);
        tokio::spawn(async move {
            tokio::select! {
                () = link.closed() => {}
                () = worker.run(queue) => {}
                () = renewed.renew() => {}
            }
        });
        Self { jobs, rate, counters }
    }

    /// Whether a read that is about to be answered shall be compared. Asked before, so that others go the short way.
    pub(crate) fn takes(&self, operation: Operation) -> bool {
        let takes = self.rate.take();
        if !takes {
            self.counters.count(operation, Class::Dropped);
        }
        takes
    }

    pub(crate) fn got(&self, path: &DocumentPath, answer: Option<&Document>) {
        self.offer(Operation::Read, || Job {
            question: Question::Get(path.clone()),
            answer: answer.cloned().into_iter().collect(),
        });
    }

    pub(crate) fn queried(&self, plan: &QueryPlan, answer: &[Document]) {
        self.offer(Operation::Query, || Job {
            question: Question::Query(Box::new(plan.clone())),
            answer: answer.to_vec(),
        });
    }

    fn offer(&self, operation: Operation, job: impl FnOnce() -> Job) {
        match self.jobs.try_reserve() {
            Ok(place) => place.send(job()),
            Err(_) => self.counters.count(operation, Class::Dropped),
        }
    }
}

impl std::fmt::Debug for Compare {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Compare").finish_non_exhaustive()
    }
}

/// So many in each second.
struct Rate {
    per_second: u32,
    left: AtomicU32,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        Self { per_second, left: AtomicU32::new(per_second) }
    }

    fn take(&self) -> bool {
        // Looked at first, as writing to what all cores share is what would cost.
        self.left.load(Ordering::Relaxed) > 0
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
    }

    /// Never ends.
    async fn renew(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.left.store(self.per_second, Ordering::Relaxed);
        }
    }
}

/// By operation and class; and by class alone, to be read again.
struct Counters {
    metrics: [[Counter; Class::ALL.len()]; 2],
    sums: [AtomicU64; Class::ALL.len()],
}

impl Counters {
    fn new() -> Self {
        let by_class = |operation: &'static str| {
            Class::ALL.map(|class| {
                metrics::counter!("syntrix_storage_compare_total", "store" => "documents",
                    "operation" => operation, "class" => class.as_str())
            })
        };
        Self { metrics: [by_class("read"), by_class("query")], sums: Default::default() }
    }

    fn sum(&self, class: Class) -> u64 {
        self.sums[class as usize].load(Ordering::Relaxed)
    }

    fn count(&self, operation: Operation, class: Class) {
        let operation = usize::from(operation == Operation::Query);
        self.metrics[operation][class as usize].increment(1);
        self.sums[class as usize].fetch_add(1, Ordering::Relaxed);
    }
}

struct Worker {
    primary: Arc<dyn DocumentBackend>,
    replication: Arc<DocumentReplication>,
    pauses: [Duration; 3],
    counters: Arc<Counters>,
    noted: Noted,
}

/// What was noted for operators so far.
#[derive(Default)]
struct Noted {
    at: Option<Instant>,
    last_definite_ms: Option<i64>,
    /// Something was compared since.
    is_old: bool,
}

impl Worker {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        loop {
            match tokio::time::timeout(NOTE_INTERVAL, queue.recv()).await {
                Ok(None) => return,
                Ok(Some(job)) => self.work_on(&job).await,
                Err(_) => {}
            }
            let is_due = self.noted.at.is_none_or(|at| at.elapsed() >= NOTE_INTERVAL);
            if self.noted.is_old && is_due {
                self.note().await;
            }
        }
    }

    async fn work_on(&mut self, job: &Job) {
        let operation = match job.question {
            Question::Get(_) => Operation::Read,
            Question::Query(_) => Operation::Query,
        };
        let class = self.compare(job).await;
        self.counters.count(operation, class);
        self.noted.is_old = true;
        if class == Class::Definite {
            self.noted.last_definite_ms = Some(SystemClock.now().as_milliseconds());
        }
    }

    /// Figures for `routing status` of any process. Nothing but the display depends on them.
    async fn note(&mut self) {
        (self.noted.at, self.noted.is_old) = (Some(Instant::now()), false);
        let sum = |class| self.counters.sum(class);
        let status = CompareStatus {
            noted_ms: SystemClock.now().as_milliseconds(),
            process: std::process::id(),
            equal: sum(Class::Equal),
            lag: sum(Class::Lag),
            raced: sum(Class::Raced),
            definite: sum(Class::Definite),
            failed: sum(Class::Failed),
            dropped: sum(Class::Dropped),
            last_definite_ms: self.noted.last_definite_ms,
        };
        let noting = tokio::time::timeout(ANSWER_WAIT, write_note(&self.replication, &status));
        if !matches!(noting.await, Ok(Ok(()))) {
            tracing::debug!("what was compared could not be noted");
        }
    }

    async fn compare(&self, job: &Job) -> Class {
        let link = self.replication.link();
        let Some(shadow) = link.get().filter(|_| link.is_filled()) else { return Class::Failed };
        let Ok(mut other) = ask(&*shadow.store, &job.question).await else { return Class::Failed };
        if same(&job.answer, &other) {
            return Class::Equal;
        }
        let mut answer = job.answer.clone();
        for pause in self.pauses {
            tokio::time::sleep(pause).await;
            // The primary first: what it has, the shadow should have by now; what it gets meanwhile, the next look finds.
            let Ok(now) = ask(&*self.primary, &job.question).await else { return Class::Failed };
            let Ok(shadow) = ask(&*shadow.store, &job.question).await else { return Class::Failed };
            let changed = !same(&job.answer, &now);
            (answer, other) = (now, shadow);
            if same(&answer, &other) {
                return if changed { Class::Raced } else { Class::Lag };
            }
        }
        self.judge(job, &answer, &other).await
    }

    /// What changes all the time differs at each look, so only an answer that stands still can be wrong.
    async fn judge(&self, job: &Job, answer: &[Document], other: &[Document]) -> Class {
        match ask(&*self.primary, &job.question).await {
            Ok(now) if same(&now, answer) => {
                tell(&job.question, answer, other);
                Class::Definite
            }
            Ok(_) => Class::Raced,
            Err(_) => Class::Failed,
        }
    }
}

async fn ask(side: &dyn DocumentBackend, question: &Question) -> Result<Vec<Document>> {
    let context = CallContext::new(Operation::Migrate)
        .with_consistency(Consistency::Any)
        .with_deadline(Some(Instant::now() + ANSWER_WAIT));
    let asking = async {
        match question {
            Question::Get(path) => Ok(side.get(path, &context).await?.into_iter().collect()),
            Question::Query(plan) => side.query(plan, &context).await,
        }
    };
    tokio::time::timeout(ANSWER_WAIT, asking).await.unwrap_or_else(|_| {
        Err(syntrix_storage_core::Error::new(syntrix_storage_core::ErrorKind::Timeout, "compare"))
    })
}

async fn write_note(replication: &DocumentReplication, status: &CompareStatus) -> Result<()> {
    let ledger = replication.verify_ledger()?;
    let found = records::read::<CompareStatus>(&*ledger, RECORD).await?;
    // If another process was faster, its figures stay until our next ones.
    records::write(&*ledger, RECORD, found.map(|(revision, _)| revision), status).await.map(drop)
}

/// What the process noted that compared last.
pub(crate) async fn noted(ledger: &dyn Ledger) -> Result<Option<CompareStatus>> {
    Ok(records::read::<CompareStatus>(ledger, RECORD).await?.map(|(_, status)| status))
}

/// The same documents in the same order.
fn same(left: &[Document], right: &[Document]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| same_content(left, right))
}

/// One line, without any value.
fn tell(question: &Question, answer: &[Document], other: &[Document]) {
    let at = answer.iter().zip(other).position(|(left, right)| !same_content(left, right));
    let at = at.unwrap_or(answer.len().min(other.len()));
    let path = answer.get(at).or_else(|| other.get(at)).map(Document::path);
    let version = |side: &[Document]| side.get(at).map(|document| document.version().get());
    tracing::warn!(
        target: "syntrix_storage::compare",
        operation = match question { Question::Get(_) => "read", Question::Query(_) => "query" },
        class = "definite",
        path = path.map(tracing::field::display),
        primary_version = version(answer),
        shadow_version = version(other),
        primary_documents = answer.len(),
        shadow_documents = other.len(),
        place = at,
        "the shadow gives another answer than the primary"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_are_taken_in_a_second_and_as_many_in_the_next() {
        let rate = Arc::new(Rate::new(3));
        let renewed = Arc::clone(&rate);
        tokio::spawn(async move { renewed.renew().await });
        let taken = || (0..10).filter(|_| rate.take()).count();
        assert_eq!((taken(), taken()), (3, 0));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!((taken(), taken()), (3, 0));
    }
}
