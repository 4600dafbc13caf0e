//! Model checks of the hand-off between history and ring: the hub itself, its locks and tasks scheduled by `shuttle`.
//!
//! Ring and pages hold two or three changes here, so a few writes are enough to leave every reader behind. Timers end by
//! themselves only sometimes: a wake-up that is lost shows as a deadlock.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../tests/support/wrapped.rs"]
mod wrapped;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use syntrix_storage_core::backend::{CallContext, DocumentBackend, Feed, FeedPage, Write};
use syntrix_storage_core::{
    Body, CollectionPath, Document, DocumentPath, ErrorKind, Operation, Position, Result,
    Timestamp, WatchItem, WatchOptions, WatchStart,
};
use tokio::sync::watch;
use wrapped::{Reading, Wrapped, memory};

use super::Hub;
use super::ring::Ring;
use crate::gate::Gate;

const RING: usize = 3;
const WRITES: i64 = 10;
const STACK_BYTES: usize = 1 << 20;

/// Lets others run before and after each look at the log; tells of writes as the memory backend does, without a timer.
#[derive(Debug)]
struct Scheduled(watch::Sender<u64>);

#[async_trait]
impl Reading for Scheduled {
    async fn feed(
        &self,
        inner: &dyn DocumentBackend,
        from: &Feed,
        until: Option<&Position>,
        limit: usize,
    ) -> Result<FeedPage> {
        yield_now().await;
        let page = inner.feed(from, until, limit).await;
        yield_now().await;
        page
    }

    async fn wait_for_change(
        &self,
        _: &dyn DocumentBackend,
        position: &Position,
        _: Duration,
    ) -> Result<()> {
        let _ = self.0.subscribe().wait_for(|last| *last > position.sequence).await;
        Ok(())
    }
}

struct Model {
    backend: Arc<Wrapped<Scheduled>>,
    hub: Arc<Hub>,
    gate: Gate,
    /// Time for readers to come and go between two writes; in some runs there is hardly any.
    pause_max: usize,
}

impl Model {
    async fn new() -> Arc<Self> {
        let reading = Scheduled(watch::Sender::new(0));
        let backend = Arc::new(Wrapped { inner: memory().await, reading });
        let gate = Gate::new();
        let ring = Ring::with_changes_max(RING);
        let hub = Hub::with_ring(Arc::clone(&backend) as _, gate.closing(), ring);
        let pause_max = if thread_rng().r#gen() { 1 } else { 60 };
        Arc::new(Self { backend, hub, gate, pause_max })
    }

    /// Documents 1, 2, 3 … in collection `a`, each followed by one in `b`; number n is committed at millisecond n.
    async fn write(&self) {
        for number in 1..=WRITES {
            let now = Timestamp::from_milliseconds(number);
            for collection in ["a", "b"] {
                let path = DocumentPath::parse(&format!("{collection}/{number}")).unwrap();
                let document = Document::first(path, now, Body::from_canonical("{}"));
                let context = CallContext::new(Operation::Write);
                self.backend
                    .write(vec![Write::Insert(document)], &context)
                    .await
                    .pop()
                    .unwrap()
                    .unwrap();
                self.backend.reading.0.send_modify(|last| *last += 1);
                self.pause().await;
            }
        }
    }

    /// Reads collection `a` (or everything) to its end, through streams that are dropped, and resumed or started anew, at random.
    ///
    /// Returns early when the history it needs was trimmed, which it is told; what it saw until then must be exact.
    async fn consume(&self, collection: Option<&str>, start: WatchStart) {
        let collection = collection.map(|text| CollectionPath::parse(text).unwrap());
        let total = if collection.is_some() { WRITES } else { 2 * WRITES };
        let (mut start, mut seen) = (start, 0);
        while seen < total {
            let options = WatchOptions::default();
            let opened = self.hub.subscribe(collection.as_ref(), start.clone(), options).await;
            let Some(mut stream) = or_expired(opened) else { return };
            for _ in 0..thread_rng().gen_range(1..=WRITES) {
                let Some(item) = or_expired(stream.next().await.unwrap()) else { return };
                start = WatchStart::Token(item.token().clone());
                if let WatchItem::Event(event) = item {
                    seen += 1;
                    assert_eq!(event.document.path().as_str(), expected(&collection, seen));
                }
                if seen == total {
                    break;
                }
                yield_now().await;
            }
            if thread_rng().gen_ratio(1, 4) {
                (start, seen) = self.now(collection.is_some()).await;
            }
        }
    }

    async fn pause(&self) {
        for _ in 0..thread_rng().gen_range(0..=self.pause_max) {
            yield_now().await;
        }
    }

    /// The end of the log, which the ring may not have reached yet, and how much of it a reader at that place has seen.
    async fn now(&self, is_one_collection: bool) -> (WatchStart, i64) {
        let (position, time) = self.backend.feed_end().await.unwrap();
        let written = position.sequence as i64;
        let seen = if is_one_collection { (written + 1) / 2 } else { written };
        (WatchStart::Token(self.backend.token_seal().seal(&position, time)), seen)
    }

    /// Everybody has left: nothing may be kept for them, and the dispatcher has to end.
    fn finish(&self) {
        let counts = self.hub.counts();
        assert_eq!((counts.subscribers, counts.topics, counts.catch_up_readers), (0, 0, 0));
        self.gate.close();
    }
}

fn expected(collection: &Option<CollectionPath>, seen: i64) -> String {
    match collection {
        Some(collection) => format!("{}/{seen}", collection.as_str()),
        None => format!("{}/{}", if seen % 2 == 1 { "a" } else { "b" }, (seen + 1) / 2),
    }
}

fn or_expired<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::TokenExpired, "{error}");
            None
        }
    }
}

fn check(scheduler: impl Scheduler + 'static, trim: bool) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    Runner::new(scheduler, config).run(move || block_on(run(trim)));
}

async fn run(trim: bool) {
    let model = Model::new().await;
    let (start, _) = model.now(false).await;
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    for (collection, start) in
        [(Some("a"), start.clone()), (Some("a"), WatchStart::Oldest), (None, start)]
    {
        // Whoever starts at the oldest change cannot tell what was trimmed before.
        if trim && start == WatchStart::Oldest {
            continue;
        }
        let model = Arc::clone(&model);
        tasks.push(spawn(async move { model.consume(collection, start).await }));
    }
    let writer = Arc::clone(&model);
    tasks.push(spawn(async move { writer.write().await }));
    if trim {
        let model = Arc::clone(&model);
        tasks.push(spawn(async move {
            for number in 1..WRITES {
                model.backend.trim_feed(Timestamp::from_milliseconds(number), 2).await.unwrap();
                yield_now().await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    model.finish();
}

/// Overflow while the consumer wakes, attaching while the dispatcher publishes, resuming in between.
#[test]
fn readers_miss_and_repeat_nothing_whatever_the_schedule() {
    check(RandomScheduler::new(800), false);
}

/// Schedules with few, but awkward, changes between tasks.
#[test]
fn readers_miss_and_repeat_nothing_when_tasks_stall_for_long() {
    check(PctScheduler::new(4, 800), false);
}

/// Trimming under a reader of history either does not touch it, or it is told.
#[test]
fn trimming_while_readers_catch_up_leaves_no_silent_gap() {
    check(RandomScheduler::new(800), true);
}
