//! How the stores of one backend share what they stand on: a file, a pool of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};

/// What several stores use and the last one closes.
#[async_trait]
pub trait Leased: Send + Sync {
    /// Counts its leases.
    fn leases(&self) -> &LeaseCount;

    /// Lets go of everything. Idempotent: a caller may give up and close again.
    async fn close(&self) -> Result<()>;
}

/// How many stores were handed out and not closed.
#[derive(Debug, Default)]
pub struct LeaseCount(AtomicUsize);

/// One store's hold. Closing one store leaves the others open; one that is dropped without close keeps nobody from closing.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use syntrix_storage_core::Result;
/// use syntrix_storage_core::backend::{Lease, LeaseCount, Leased};
///
/// #[derive(Default)]
/// struct Connections(LeaseCount);
///
/// #[async_trait]
/// impl Leased for Connections {
///     fn leases(&self) -> &LeaseCount {
///         &self.0
///     }
///
///     async fn close(&self) -> Result<()> {
///         println!("the last store was closed");
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let connections = Arc::new(Connections::default());
/// let (documents, users) = (Lease::new(Arc::clone(&connections)), Lease::new(connections));
/// documents.release().await?;
/// assert!(documents.store().is_err() && users.store().is_ok());
/// users.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lease<S: Leased> {
    store: Arc<S>,
    released: AtomicBool,
}

impl<S: Leased> Lease<S> {
    /// One more hold on `store`.
    pub fn new(store: Arc<S>) -> Self {
        store.leases().0.fetch_add(1, Ordering::SeqCst);
        Self { store, released: AtomicBool::new(false) }
    }

    /// What is held, for the length of one call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] once the lease was released.
    #[inline]
    pub fn store(&self) -> Result<&Arc<S>> {
        match self.released.load(Ordering::SeqCst) {
            true => Err(Error::new(ErrorKind::Closed, "")),
            false => Ok(&self.store),
        }
    }

    /// What is known of it without using it, also after the release.
    #[inline]
    pub fn known(&self) -> &S {
        &self.store
    }

    /// Lets go; the last one closes. Once dropped half way, the next call goes on with it.
    ///
    /// # Errors
    ///
    /// As [`Leased::close`].
    pub async fn release(&self) -> Result<()> {
        self.count_out();
        match self.store.leases().0.load(Ordering::SeqCst) {
            0 => self.store.close().await,
            _ => Ok(()),
        }
    }

    /// Once, however often it is called.
    fn count_out(&self) {
        if !self.released.swap(true, Ordering::SeqCst) {
            self.store.leases().0.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl<S: Leased> Drop for Lease<S> {
    fn drop(&mut self) {
        self.count_out();
    }
}
