//! The lock, the tasks and the timers of the hub, in one place so that the model test can put others there.
//!
//! In the crate's own unit tests they are `shuttle`'s: before and after every lock another task may run, and a timer
//! fires at once or never. A unit test that uses the hub therefore runs within `shuttle::check_random`; everything else is
//! tested from `tests/`, where the crate is built as callers get it.

#[cfg(not(test))]
pub(super) use std::sync::{Mutex, MutexGuard};
#[cfg(not(test))]
pub(super) use tokio::spawn;
#[cfg(not(test))]
pub(super) use tokio::time::{sleep, sleep_until};

#[cfg(test)]
pub(super) use simulated::{Mutex, MutexGuard, sleep, sleep_until, spawn};

#[cfg(test)]
mod simulated {
    use std::future::{Future, pending};
    use std::ops::{Deref, DerefMut};
    use std::sync::{LockResult, PoisonError};
    use std::time::Duration;

    use shuttle::rand::{Rng, thread_rng};
    use shuttle::{future, sync, thread};
    use tokio::time::Instant;

    /// `shuttle`'s lock, which lets others run before it is taken, and here also after it was let go.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            let guard = |locked| MutexGuard { locked, _after: SwitchOnDrop };
            self.0.lock().map(guard).map_err(|error| PoisonError::new(guard(error.into_inner())))
        }
    }

    /// Fields are dropped in this order: first the lock is let go, then others may run.
    pub(crate) struct MutexGuard<'mutex, T> {
        locked: sync::MutexGuard<'mutex, T>,
        _after: SwitchOnDrop,
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.locked
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.locked
        }
    }

    struct SwitchOnDrop;

    impl Drop for SwitchOnDrop {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                thread::yield_now();
            }
        }
    }

    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(work: F) {
        future::spawn(work);
    }

    /// A wait that nothing but time ends. It ends by itself only sometimes, so that a lost wake-up shows as a deadlock.
    pub(crate) async fn sleep_until(_: Instant) {
        if thread_rng().gen_range(0..4) > 0 {
            pending::<()>().await;
        }
        future::yield_now().await;
    }

    /// A wait that has to end: between two attempts.
    pub(crate) async fn sleep(_: Duration) {
        future::yield_now().await;
    }
}
