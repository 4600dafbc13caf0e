//! Closed state: lets calls in until the store is closed, and lets `close` wait for those inside.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use syntrix_storage_core::{Error, ErrorKind, Result};
use tokio::sync::{Notify, watch};

#[derive(Debug)]
pub(crate) struct Gate {
    closed: AtomicBool,
    inside: AtomicUsize,
    left: Notify,
    closing: watch::Sender<bool>,
    expelled: AtomicBool,
    expelling: Notify,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            closed: AtomicBool::new(false),
            inside: AtomicUsize::new(0),
            left: Notify::new(),
            closing: watch::Sender::new(false),
            expelled: AtomicBool::new(false),
            expelling: Notify::new(),
        }
    }

    /// Lets a call in. It counts as inside until the pass is dropped.
    ///
    /// Counting before looking makes `close` either see the call or be seen by it.
    pub(crate) fn enter(&self, operation: &'static str) -> Result<Pass<'_>> {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let pass = Pass(self);
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed(operation));
        }
        Ok(pass)
    }

    /// Closes the gate; `false` if it was closed before.
    pub(crate) fn close(&self) -> bool {
        let first = !self.closed.swap(true, Ordering::SeqCst);
        self.closing.send_replace(true);
        first
    }

    /// Resolves for streams and workers when the gate closes.
    pub(crate) fn closing(&self) -> Closing {
        Closing(self.closing.subscribe())
    }

    /// Sends those away who are inside: `close` has waited for them long enough.
    pub(crate) fn expel(&self) {
        self.expelled.store(true, Ordering::SeqCst);
        self.expelling.notify_waiters();
    }

    /// Resolves when `close` waits no longer for those inside.
    pub(crate) async fn expelled(&self) {
        let expelling = self.expelling.notified();
        if !self.expelled.load(Ordering::SeqCst) {
            expelling.await;
        }
    }

    /// Waits until nobody is inside, at most `limit`; whether everybody left.
    pub(crate) async fn wait_until_empty(&self, limit: Duration) -> bool {
        let empty = async {
            loop {
                let left = self.left.notified();
                if self.inside.load(Ordering::SeqCst) == 0 {
                    return;
                }
                left.await;
            }
        };
        tokio::time::timeout(limit, empty).await.is_ok()
    }
}

pub(crate) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, operation).with_message("the store was closed; open it again")
}

/// A call that is inside.
pub(crate) struct Pass<'gate>(&'gate Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let was_last = self.0.inside.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last && self.0.closed.load(Ordering::SeqCst) {
            self.0.left.notify_waiters();
        }
    }
}

/// Tells that the store is closing, or that its engine is gone.
#[derive(Clone, Debug)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    pub(crate) async fn wait(&mut self) {
        // An error means that the engine was dropped, which closes it as well.
        let _ = self.0.wait_for(|closing| *closing).await;
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}
