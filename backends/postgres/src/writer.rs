//! Single writes of many callers, made one statement and one commit when they come at the same time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use syntrix_storage_core::backend::{Applied, Write};
use syntrix_storage_core::{Clock, Document, Error, ErrorKind, Result, Retry};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::apply::{BATCH_MAX, apply, batch_length, repeated};
use crate::error::{closed, lost};
use crate::pool::Pool;
use crate::session::Session;
use crate::store::Texts;
use crate::wake::{Log, Wake};

/// Most statements that write at the same time. While they run, what comes meanwhile becomes the next one: with more of
/// them the batches are smaller, with fewer the waits for disk and network are not hidden behind each other.
const LANES_MAX: usize = 4;

/// What a statement of writes needs.
#[derive(Clone, Debug)]
pub(crate) struct Writers {
    pub(crate) pool: Pool,
    pub(crate) texts: Arc<Texts>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wake: Arc<Wake>,
}

/// The queue of single writes.
#[derive(Debug)]
pub(crate) struct Writer {
    writers: Writers,
    queue: Mutex<Option<mpsc::UnboundedSender<Item>>>,
}

/// One write and who waits for it.
struct Item {
    write: Write,
    reply: oneshot::Sender<Result<Applied>>,
}

impl Writer {
    pub(crate) fn start(writers: Writers) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(collect(receiver, writers.clone()));
        Self { writers, queue: Mutex::new(Some(sender)) }
    }

    /// Runs `writes` in order.
    pub(crate) async fn write(&self, mut writes: Vec<Write>) -> Vec<Result<Applied>> {
        match writes.len() {
            1 => vec![self.write_one(writes.remove(0)).await],
            _ => self.write_list(writes).await,
        }
    }

    async fn write_one(&self, write: Write) -> Result<Applied> {
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sent = queue.ok_or_else(closed)?.send(Item { write, reply });
        sent.map_err(|_| closed())?;
        answer.await.map_err(|_| lost())?
    }

    /// A list is a batch already. Its statements run one after the other, so its changes are logged in its order.
    async fn write_list(&self, mut writes: Vec<Write>) -> Vec<Result<Applied>> {
        let mut answers = Vec::with_capacity(writes.len());
        while !writes.is_empty() {
            let rest = writes.split_off(batch_length(&writes));
            let batch: Vec<&Write> = writes.iter().collect();
            answers.extend(self.writers.run(&batch).await);
            writes = rest;
        }
        answers
    }

    /// Takes nothing more; what is queued is still written.
    pub(crate) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

async fn collect(mut queue: mpsc::UnboundedReceiver<Item>, writers: Writers) {
    let lanes = Arc::new(Semaphore::new(writers.lanes()));
    while let Some(first) = queue.recv().await {
        // More gathers while every lane is busy.
        let Ok(lane) = Arc::clone(&lanes).acquire_owned().await else { return };
        let batch = take_batch(first, &mut queue);
        let writers = writers.clone();
        tokio::spawn(async move {
            run_items(&writers, batch).await;
            drop(lane);
        });
    }
}

/// What is queued, without the writes of those who gave up before anything was sent.
fn take_batch(first: Item, queue: &mut mpsc::UnboundedReceiver<Item>) -> Vec<Item> {
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX {
        let Ok(item) = queue.try_recv() else { break };
        batch.push(item);
    }
    batch.retain(|item| !item.reply.is_closed());
    batch
}

/// Stops the statement when nobody is left who waits for it.
async fn run_items(writers: &Writers, items: Vec<Item>) {
    if items.is_empty() {
        return;
    }
    let (writes, mut replies): (Vec<_>, Vec<_>) =
        items.into_iter().map(|Item { write, reply }| (write, reply)).unzip();
    let writes: Vec<&Write> = writes.iter().collect();
    let answers = tokio::select! {
        biased;
        answers = writers.run_in_rounds(&writes) => answers,
        () = all_gone(&mut replies) => return,
    };
    for (reply, answer) in replies.into_iter().zip(answers) {
        // A caller that gave up does not want its answer.
        let _ = reply.send(answer);
    }
}

async fn all_gone(replies: &mut [oneshot::Sender<Result<Applied>>]) {
    for reply in replies {
        reply.closed().await;
    }
}

impl Writers {
    /// At most half of the pool, so that writers do not keep everybody else waiting.
    fn lanes(&self) -> usize {
        (self.pool.size_max() / 2).clamp(1, LANES_MAX)
    }

    /// Runs writes of any documents: in each round the first one of every document, as one statement. What that leaves
    /// behind refuses most of the others, whose callers were waiting all the while, without asking the server.
    async fn run_in_rounds(&self, writes: &[&Write]) -> Vec<Result<Applied>> {
        let mut answers: Vec<Option<Result<Applied>>> = writes.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..writes.len()).collect();
        while !open.is_empty() {
            let (first, others) = first_of_each(&open, writes);
            let round: Vec<&Write> = first.iter().map(|number| writes[*number]).collect();
            let mut outcomes = HashMap::with_capacity(first.len());
            for (number, answer) in first.into_iter().zip(self.run(&round).await) {
                if !others.is_empty() {
                    outcomes.insert(*writes[number].path().key(), Outcome::of(&answer));
                }
                answers[number] = Some(answer);
            }
            open = Vec::new();
            for number in others {
                match outcomes.get(writes[number].path().key()) {
                    Some(Outcome::There(document)) if is_refused(writes[number], document) => {
                        answers[number] = Some(Ok(Applied::No(Some(document.clone()))));
                    }
                    Some(Outcome::Unavailable(error)) => {
                        answers[number] = Some(Err(repeated(error)))
                    }
                    _ => open.push(number),
                }
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(lost()))).collect()
    }

    /// Runs writes of different documents, as one statement if that succeeds.
    async fn run(&self, writes: &[&Write]) -> Vec<Result<Applied>> {
        let answers = match self.pool.session().await {
            Ok(mut session) => self.run_on(&mut session, writes).await,
            Err(error) => writes.iter().map(|_| Err(repeated(&error))).collect(),
        };
        if answers.iter().any(|answer| matches!(answer, Ok(Applied::Yes(_)))) {
            self.wake.committed(Log::Documents);
        }
        answers
    }

    async fn run_on(&self, session: &mut Session, writes: &[&Write]) -> Vec<Result<Applied>> {
        let now = self.clock.now();
        match apply(session, &self.texts, writes, now).await {
            Ok(answers) => answers,
            Err(error) if writes.len() > 1 && is_undone(&error) => self.run_alone(writes).await,
            Err(error) => writes.iter().map(|_| Err(repeated(&error))).collect(),
        }
    }

    /// One by one, so that nobody gets a neighbour's error.
    async fn run_alone(&self, writes: &[&Write]) -> Vec<Result<Applied>> {
        let mut answers = Vec::with_capacity(writes.len());
        for write in writes {
            let alone = async {
                let mut session = self.pool.session().await?;
                let mut answers =
                    apply(&mut session, &self.texts, &[write], self.clock.now()).await?;
                answers.pop().unwrap_or_else(|| Err(lost()))
            };
            answers.push(alone.await);
        }
        answers
    }
}

/// What a write tells about its document.
enum Outcome {
    There(Document),
    Unavailable(Error),
    Unknown,
}

impl Outcome {
    fn of(answer: &Result<Applied>) -> Self {
        match answer {
            Ok(
                Applied::Yes(document)
                | Applied::ShadowPending(document)
                | Applied::No(Some(document)),
            ) => Self::There(document.clone()),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                Self::Unavailable(repeated(error))
            }
            _ => Self::Unknown,
        }
    }
}

/// The first write of every document among `open`, and all the others.
fn first_of_each(open: &[usize], writes: &[&Write]) -> (Vec<usize>, Vec<usize>) {
    let mut keys = HashSet::with_capacity(open.len());
    open.iter().partition(|number| keys.insert(*writes[**number].path().key()))
}

/// Whether a write cannot apply behind `current`: versions only grow.
fn is_refused(write: &Write, current: &Document) -> bool {
    match write {
        Write::Insert(_) => true,
        Write::Replace { expected, .. } => *expected < current.version(),
        Write::ReplaceLive { expected, .. } => {
            expected.is_some_and(|expected| expected < current.version())
        }
        Write::ApplyIfNewer(document) => document.version() <= current.version(),
    }
}

/// Whether nothing of the statement was done, so that it may be done again in parts.
fn is_undone(error: &Error) -> bool {
    error.retry() != Retry::IfIdempotent
        && (error.kind() != ErrorKind::Unavailable || error.fact("sqlstate") == Some("40P01"))
}
