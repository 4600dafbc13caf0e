//! Open backends: shared by the stores of one configuration, and for shadows opened when they can be reached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use syntrix_storage_core::backend::{Backend, OpenContext, StoreKind};
use syntrix_storage_core::{Error, ErrorKind, Result};
use syntrix_storage_registry::{ConfiguredBlock, StoragePlan};
use syntrix_storage_routing::ShadowOpener;

/// Open backends by connection, so that stores on one server share what is open.
#[derive(Debug, Default)]
pub(crate) struct Backends(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    by_connection: HashMap<String, Arc<dyn Backend>>,
    /// Primaries are opened before any shadow.
    #[cfg(feature = "conformance")]
    first: Option<Arc<dyn Backend>>,
    closed: bool,
}

impl Backends {
    /// Opens a block's backend for `context`'s access, or hands out the one that is open. A shadow that hangs while it is opened holds up nobody.
    pub(crate) async fn open(
        &self,
        block: &ConfiguredBlock,
        context: &OpenContext,
    ) -> Result<Arc<dyn Backend>> {
        let key = format!("{:?} {}", context.access, block.provider.connection_key());
        if let Some(open) = self.find(&key)? {
            return Ok(open);
        }
        let opened = block
            .provider
            .open(context)
            .await
            .map_err(|error| error.in_operation("open").with_fact("block", &block.name))?;
        let kept = self.keep(key, &opened);
        if !kept.as_ref().is_ok_and(|kept| Arc::ptr_eq(kept, &opened)) {
            // Somebody was faster, or everything was closed meanwhile.
            opened.close().await?;
        }
        kept
    }

    /// Closes all; the first failure is the answer.
    pub(crate) async fn close(&self) -> Result<()> {
        let open = {
            let mut all = self.all();
            all.closed = true;
            #[cfg(feature = "conformance")]
            all.first.take();
            std::mem::take(&mut all.by_connection)
        };
        let mut first_error = Ok(());
        for backend in open.values() {
            first_error = first_error.and(backend.close().await);
        }
        first_error
    }

    /// The one that was opened first.
    #[cfg(feature = "conformance")]
    pub(crate) fn first(&self) -> Option<Arc<dyn Backend>> {
        self.all().first.clone()
    }

    fn find(&self, key: &str) -> Result<Option<Arc<dyn Backend>>> {
        let all = self.all();
        match all.closed {
            true => Err(Error::new(ErrorKind::Closed, "open")),
            false => Ok(all.by_connection.get(key).cloned()),
        }
    }

    fn keep(&self, key: String, opened: &Arc<dyn Backend>) -> Result<Arc<dyn Backend>> {
        let mut all = self.all();
        match all.closed {
            true => Err(Error::new(ErrorKind::Closed, "open")),
            false => {
                #[cfg(feature = "conformance")]
                all.first.get_or_insert_with(|| Arc::clone(opened));
                Ok(Arc::clone(all.by_connection.entry(key).or_insert_with(|| Arc::clone(opened))))
            }
        }
    }

    /// Nothing under this lock can panic half-way.
    fn all(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shadow of one store, to be opened.
#[derive(Debug)]
pub(crate) struct Shadow {
    pub(crate) plan: Arc<StoragePlan>,
    pub(crate) store: StoreKind,
    pub(crate) context: OpenContext,
    pub(crate) backends: Arc<Backends>,
}

#[async_trait]
impl ShadowOpener for Shadow {
    async fn open(&self) -> Result<Arc<dyn Backend>> {
        let section = self.plan.store(self.store);
        let block = section.and_then(|section| section.shadow()).ok_or_else(no_block)?;
        self.backends.open(block, &self.context).await
    }
}

pub(crate) fn no_block() -> Error {
    Error::new(ErrorKind::Internal, "open").with_message("a checked route names no block")
}
