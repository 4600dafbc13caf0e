//! A subscriber as a stream: what it has at hand goes out without a future, and waiting costs one allocation.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use syntrix_storage_core::{Result, WatchItem};

use super::subscriber::Subscriber;

type Answer = (Box<Subscriber>, Result<WatchItem>);

/// Ends behind the first error.
pub(super) struct Items(Turn);

enum Turn {
    /// Nobody waits for the next item.
    Idle(Box<Subscriber>),
    /// The subscriber looks for it.
    Waiting(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Ended,
}

impl Items {
    pub(super) fn new(subscriber: Subscriber) -> Self {
        Self(Turn::Idle(Box::new(subscriber)))
    }

    /// Hands out an item, or the error that ends the stream.
    fn served(
        &mut self,
        subscriber: Box<Subscriber>,
        item: Result<WatchItem>,
    ) -> Option<Result<WatchItem>> {
        if item.is_ok() {
            self.0 = Turn::Idle(subscriber);
        }
        Some(item.map_err(|error| error.in_operation("watch")))
    }
}

impl Stream for Items {
    type Item = Result<WatchItem>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut waiting = match mem::replace(&mut self.0, Turn::Ended) {
            Turn::Ended => return Poll::Ready(None),
            Turn::Waiting(future) => future,
            Turn::Idle(mut subscriber) => {
                if let Some(item) = subscriber.next_at_hand().transpose() {
                    return Poll::Ready(self.served(subscriber, item));
                }
                Box::pin(async move {
                    let item = subscriber.next().await;
                    (subscriber, item)
                })
            }
        };
        match waiting.as_mut().poll(context) {
            Poll::Ready((subscriber, item)) => Poll::Ready(self.served(subscriber, item)),
            Poll::Pending => {
                self.0 = Turn::Waiting(waiting);
                Poll::Pending
            }
        }
    }
}
