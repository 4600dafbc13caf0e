//! A harness that can be told to open nothing more, so that an interrupted run ends by cleaning up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::conformance::{Handle, Harness, Setup};
use syntrix_storage::{Capabilities, Error, ErrorKind, Result};

/// Shared by whoever stops and what is stopped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<()> {
        match self.is_set() {
            true => Err(Error::new(ErrorKind::Closed, "open").with_message("the run was stopped")),
            false => Ok(()),
        }
    }
}

/// Cases under way go on to their own end. Dropping them would not do: an open that is already on another thread would make
/// its namespace again after it was removed.
pub(crate) struct Stoppable<H> {
    inner: H,
    stop: Stop,
}

impl<H> Stoppable<H> {
    pub(crate) fn new(inner: H, stop: Stop) -> Self {
        Self { inner, stop }
    }
}

#[async_trait]
impl<H: Harness> Harness for Stoppable<H> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self, store: StoreKind) -> Option<Capabilities> {
        self.inner.capabilities(store)
    }

    async fn open(&self, namespace: &str, setup: &Setup) -> Result<Arc<dyn Handle>> {
        self.stop.check()?;
        self.inner.open(namespace, setup).await
    }

    async fn remove(&self, namespace: &str) -> Result<()> {
        self.inner.remove(namespace).await
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        self.inner.leftovers().await
    }

    fn config_block(&self) -> String {
        self.inner.config_block()
    }

    async fn check_config(&self, yaml: &str, environment: &[(&str, &str)]) -> Result<Vec<String>> {
        self.inner.check_config(yaml, environment).await
    }

    async fn open_config(&self, yaml: &str) -> Result<Arc<dyn Handle>> {
        self.stop.check()?;
        self.inner.open_config(yaml).await
    }
}
