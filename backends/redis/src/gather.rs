//! Checks that come while others are under way go to the server together.
//!
//! Each request costs the client and the server more than the few bytes of a check. The first few go at once; those behind them are
//! gathered, and whoever answers a batch sends what has come meanwhile. A check waits for nobody who is not at work: a
//! batch is a task of its own, and where it comes to nothing, each of its checks goes alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use syntrix_storage_core::Result;
use tokio::sync::oneshot;

use crate::checks::{Buckets, Check, Many, buckets};
use crate::connect::{Link, within};
use crate::keys::TokenKeys;

/// Checks under way alone, at most; below that there is nothing to gain.
const ALONE_MAX: usize = 4;
/// Batches under way: the server works at one while the next is made.
const BATCHES_MAX: usize = 2;
/// Checks in a batch; more wait for the next.
const BATCH_MAX: usize = 256;

/// Sends checks, alone or together. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gather(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    link: Arc<Link>,
    alone: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Batches that are being gathered or under way.
    batches: usize,
    /// Whether one of them will still take from the queue before it is sent.
    gathering: bool,
}

#[derive(Debug)]
struct Waiting {
    keys: TokenKeys,
    answer: oneshot::Sender<Check>,
}

impl Gather {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        let (alone, queue) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Shared { link, alone, queue }))
    }

    /// Reads what lies under the keys.
    pub(crate) async fn check(
        &self,
        keys: impl Fn() -> TokenKeys,
        deadline: Option<Instant>,
    ) -> Result<Check> {
        let shared = &self.0;
        let deadline = shared.link.deadline(deadline);
        if let Some(_turn) = Turn::take(&shared.alone) {
            return shared.link.read_one(&keys(), Some(deadline)).await;
        }
        // Boxed, so that the future of one that goes alone is small.
        Box::pin(self.check_together(keys, deadline)).await
    }

    async fn check_together(
        &self,
        keys: impl Fn() -> TokenKeys,
        deadline: Instant,
    ) -> Result<Check> {
        let answer = self.wait(keys());
        match within(deadline, answer).await? {
            Ok(check) => Ok(check),
            Err(_) => self.0.link.read_one(&keys(), Some(deadline)).await,
        }
    }

    /// Puts a check into the queue, and sees to it that it is sent.
    fn wait(&self, keys: TokenKeys) -> oneshot::Receiver<Check> {
        let (answer, receiver) = oneshot::channel();
        let mut queue = self.0.queue();
        queue.waiting.push(Waiting { keys, answer });
        if !queue.gathering && queue.batches < BATCHES_MAX {
            queue.gathering = true;
            queue.batches += 1;
            drop(queue);
            tokio::spawn(Batch { gather: self.clone(), taken: false }.run());
        }
        receiver
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the few that go alone.
struct Turn<'gather>(&'gather AtomicUsize);

impl<'gather> Turn<'gather> {
    fn take(alone: &'gather AtomicUsize) -> Option<Self> {
        let turn = Self(alone);
        let before = turn.0.fetch_add(1, Ordering::Relaxed);
        (before < ALONE_MAX).then_some(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A batch, from its first check until nobody waits.
struct Batch {
    gather: Gather,
    /// Whether it took its checks from the queue.
    taken: bool,
}

impl Batch {
    async fn run(mut self) {
        loop {
            // Whoever can run now may add a check first.
            tokio::task::yield_now().await;
            let batch = self.take();
            self.send(batch).await;
            if !self.goes_on() {
                return;
            }
        }
    }

    fn take(&mut self) -> Vec<Waiting> {
        let mut queue = self.gather.0.queue();
        self.taken = true;
        queue.gathering = false;
        let rest = queue.waiting.len().min(BATCH_MAX);
        let rest = queue.waiting.split_off(rest);
        std::mem::replace(&mut queue.waiting, rest)
    }

    /// Whether there is more to do, and nobody else who does it.
    fn goes_on(&mut self) -> bool {
        let mut queue = self.gather.0.queue();
        let goes_on = !queue.gathering && !queue.waiting.is_empty();
        if goes_on {
            self.taken = false;
            queue.gathering = true;
        }
        goes_on
    }

    /// Of a batch that failed nobody is told anything, so that each finds out for itself.
    async fn send(&self, batch: Vec<Waiting>) {
        let (keys, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.keys, waiting.answer)).unzip();
        let buckets = buckets(&keys);
        match self.gather.0.link.read_all(&keys, &buckets, None).await {
            Ok(many) => hand_out(answers, &buckets, many),
            Err(error) => tracing::debug!(%error, "checks that went together go alone"),
        }
    }
}

impl Drop for Batch {
    /// Also when the runtime ends under it: those whom nobody else takes then go alone.
    fn drop(&mut self) {
        let mut queue = self.gather.0.queue();
        queue.batches -= 1;
        if !self.taken {
            queue.gathering = false;
        }
        if queue.batches == 0 {
            queue.waiting.clear();
        }
    }
}

/// Gives each check its record and the mark of its bucket. Who waits no longer is passed over.
fn hand_out(answers: Vec<oneshot::Sender<Check>>, buckets: &Buckets, many: Many) {
    let mut marks = vec![None; answers.len()];
    for (places, mark) in buckets.values().zip(many.canaries) {
        for place in places {
            marks[*place].clone_from(&mark);
        }
    }
    for ((answer, record), mark) in answers.into_iter().zip(many.records).zip(marks) {
        let _ = answer.send((record, mark, many.now));
    }
}
