//! Checks that come while others are under way go to the server together.
//!
//! Each request costs the client and the server more than the few bytes of a check. The first few go at once; those behind them are
//! gathered, and whoever answers a batch sends what has come meanwhile. A check waits for no other caller: a batch is a task of
//! the runtime that opened the store, where the connection lives as well, and where it comes to nothing, each check goes alone.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use syntrix_storage_core::Result;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::checks::{Buckets, Check, Many, buckets};
use crate::connect::{Link, within};
use crate::keys::TokenKeys;

/// Checks under way alone, at most; below that there is nothing to gain.
const ALONE_MAX: usize = 4;
/// Batches under way that are small: the server works at one while the next is made.
const BATCHES_MAX: usize = 2;
/// Checks in a batch. So many that wait are sent whatever else is under way: else a slow network would bound them.
const BATCH_MAX: usize = 256;

/// Sends checks, alone or together. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Gather(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    link: Arc<Link>,
    runtime: Handle,
    alone: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
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
    /// To be called in the runtime that the batches shall run in.
    pub(crate) fn new(link: Arc<Link>) -> Self {
        let (runtime, alone, queue) = (Handle::current(), AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Shared { link, runtime, alone, queue }))
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
        queue.waiting.push_back(Waiting { keys, answer });
        if queue.needs_batch() {
            queue.gathering = true;
            queue.batches += 1;
            drop(queue);
            self.0.runtime.spawn(Batch { gather: self.clone(), taken: false }.run());
        }
        receiver
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn needs_batch(&self) -> bool {
        let is_full = self.waiting.len() >= BATCH_MAX;
        !self.gathering && (self.batches < BATCHES_MAX || is_full)
    }

    /// The next batch. Who waits no longer is left out: after a stall of the server that may be nearly everybody.
    fn take(&mut self) -> Vec<Waiting> {
        let mut batch = Vec::with_capacity(self.waiting.len().min(BATCH_MAX));
        while batch.len() < BATCH_MAX {
            match self.waiting.pop_front() {
                Some(waiting) if waiting.answer.is_closed() => {}
                Some(waiting) => batch.push(waiting),
                None => break,
            }
        }
        batch
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
            if !batch.is_empty() {
                self.send(batch).await;
            }
            if !self.goes_on() {
                return;
            }
        }
    }

    fn take(&mut self) -> Vec<Waiting> {
        let mut queue = self.gather.0.queue();
        self.taken = true;
        queue.gathering = false;
        queue.take()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(bucket: u8) -> (Waiting, oneshot::Receiver<Check>) {
        let (answer, receiver) = oneshot::channel();
        let keys = TokenKeys { bucket, record: String::new(), canary: String::new() };
        (Waiting { keys, answer }, receiver)
    }

    #[test]
    fn a_batch_is_of_those_who_still_wait_in_their_order_and_bounded() {
        let (all, receivers): (VecDeque<_>, Vec<_>) =
            (0..3 * BATCH_MAX).map(|number| waiting((number % 256) as u8)).unzip();
        let mut queue = Queue { waiting: all, ..Queue::default() };
        let still: Vec<_> = receivers.into_iter().skip(BATCH_MAX / 2).collect();
        let batch = queue.take();
        assert_eq!((batch.len(), queue.waiting.len()), (BATCH_MAX, 3 * BATCH_MAX / 2));
        assert_eq!(batch[0].keys.bucket, 128);
        drop(still);
        assert!(queue.take().is_empty(), "nobody waits any more");
        assert!(queue.waiting.is_empty());
    }

    #[test]
    fn a_full_batch_goes_whatever_is_under_way() {
        let mut queue = Queue { batches: BATCHES_MAX, ..Queue::default() };
        let (waits, _receiver) = waiting(0);
        queue.waiting.push_back(waits);
        assert!(!queue.needs_batch(), "small ones wait their turn");
        queue.waiting.extend((1..BATCH_MAX).map(|_| waiting(0).0));
        assert!(queue.needs_batch());
        queue.gathering = true;
        assert!(!queue.needs_batch(), "somebody will take them");
    }
}
