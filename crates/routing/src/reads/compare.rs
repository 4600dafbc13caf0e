//! `reads: both`: the shadow is asked what the primary was asked, later and elsewhere, and the answers are compared.
//!
//! A read pays for a look at a counter and a place in a queue; if there is none, it is not compared.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::Counter;
use syntrix_storage_core::backend::{CallContext, DocumentBackend};
use syntrix_storage_core::{Consistency, Document, DocumentPath, Operation, QueryPlan, Result};
use tokio::sync::mpsc;

use crate::content::same_content;
use crate::reads::ReadRules;
use crate::replication::DocumentReplication;

/// Reads that wait to be compared.
const QUEUE: usize = 256;
/// Longest wait for one answer of a side.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

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
    rate: Rate,
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
        let counters = Arc::new(Counters::new());
        let link = Arc::clone(replication.link());
        let worker = Worker {
            primary,
            replication: Arc::clone(replication),
            pauses: rules.recheck_pauses,
            counters: Arc::clone(&counters),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = link.closed() => {}
                () = worker.run(queue) => {}
            }
        });
        Self { jobs, rate: Rate::new(rules.compares_per_second), counters }
    }

    pub(crate) fn got(&self, path: &DocumentPath, answer: Option<&Document>) {
        self.offer(0, || Job {
            question: Question::Get(path.clone()),
            answer: answer.cloned().into_iter().collect(),
        });
    }

    pub(crate) fn queried(&self, plan: &QueryPlan, answer: &[Document]) {
        self.offer(1, || Job {
            question: Question::Query(Box::new(plan.clone())),
            answer: answer.to_vec(),
        });
    }

    fn offer(&self, operation: usize, job: impl FnOnce() -> Job) {
        let taken =
            self.rate.allows() && self.jobs.try_reserve().map(|place| place.send(job())).is_ok();
        if !taken {
            self.counters.count(operation, Class::Dropped);
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
    window: Mutex<(Instant, u32)>,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        Self { per_second, window: Mutex::new((Instant::now(), 0)) }
    }

    fn allows(&self) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.1 >= self.per_second && window.0.elapsed() >= Duration::from_secs(1) {
            *window = (Instant::now(), 0);
        }
        window.1 = window.1.saturating_add(1);
        window.1 <= self.per_second
    }
}

/// By operation and class.
struct Counters([[Counter; Class::ALL.len()]; 2]);

impl Counters {
    fn new() -> Self {
        let by_class = |operation: &'static str| {
            Class::ALL.map(|class| {
                metrics::counter!("syntrix_storage_compare_total", "store" => "documents",
                    "operation" => operation, "class" => class.as_str())
            })
        };
        Self([by_class("read"), by_class("query")])
    }

    fn count(&self, operation: usize, class: Class) {
        self.0[operation][class as usize].increment(1);
    }
}

struct Worker {
    primary: Arc<dyn DocumentBackend>,
    replication: Arc<DocumentReplication>,
    pauses: [Duration; 3],
    counters: Arc<Counters>,
}

impl Worker {
    async fn run(&self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.recv().await {
            let operation = usize::from(matches!(job.question, Question::Query(_)));
            let class = self.compare(&job).await;
            self.counters.count(operation, class);
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
