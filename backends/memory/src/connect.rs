//! From a configured block to open stores: who shares data with whom, and for how long.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    Backend, BackendProvider, Canary, DocumentBackend, Ledger, OpenContext, RevocationBackend,
    StoreId, UserBackend,
};
use syntrix_storage_core::{Clock, Error, ErrorKind, Result, Retention};

use crate::documents::MemoryDocuments;
use crate::ledger::{LedgerTable, MemoryLedger};
use crate::revocations::{MemoryRevocations, RevocationTable};
use crate::table::Table;
use crate::users::{MemoryUsers, UserTable};
use crate::watch::token_seal;

/// Two blocks never share data, so each provider counts as a server of its own.
static PROVIDERS: AtomicU64 = AtomicU64::new(1);

/// One configured block.
#[derive(Debug)]
pub(crate) struct MemoryProvider {
    number: u64,
    retention: Retention,
    /// What is open, by namespace. Weak: the data belongs to those who hold it open.
    open: Mutex<HashMap<Option<String>, Weak<Data>>>,
}

impl MemoryProvider {
    pub(crate) fn new(retention: Retention) -> Self {
        let number = PROVIDERS.fetch_add(1, Ordering::Relaxed);
        Self { number, retention, open: Mutex::default() }
    }

    /// The open data of `namespace`, or new ones.
    fn data(&self, namespace: Option<&str>) -> Result<Arc<Data>> {
        let mut open = lock(&self.open);
        open.retain(|_, data| data.strong_count() > 0);
        let namespace = namespace.map(str::to_owned);
        if let Some(data) = open.get(&namespace).and_then(Weak::upgrade) {
            return Ok(data);
        }
        let data = Arc::new(Data::new(namespace.as_deref())?);
        open.insert(namespace, Arc::downgrade(&data));
        Ok(data)
    }

    fn is_open(&self, namespace: &str) -> bool {
        let open = lock(&self.open);
        open.get(&Some(namespace.to_owned())).is_some_and(|data| data.strong_count() > 0)
    }
}

#[async_trait]
impl BackendProvider for MemoryProvider {
    fn connection_key(&self) -> String {
        format!("{}:{}", crate::KIND, self.number)
    }

    async fn open(&self, context: &OpenContext) -> Result<Arc<dyn Backend>> {
        let data = self.data(context.namespace.as_deref())?;
        Ok(Arc::new(MemoryBackend {
            data: Arc::new(Handle::new(data)),
            retention: self.retention,
            clock: Arc::clone(&context.clock),
        }))
    }

    /// There is nothing to do: the data went when the namespace was closed.
    async fn remove_namespace(&self, context: &OpenContext) -> Result<()> {
        let namespace = context.removable_namespace()?;
        match self.is_open(namespace) {
            true => Err(misuse("the namespace is still open; close its stores first")
                .with_fact("namespace", namespace)),
            false => Ok(()),
        }
    }
}

/// An open block in one namespace.
#[derive(Debug)]
struct MemoryBackend {
    data: Arc<Handle>,
    retention: Retention,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Backend for MemoryBackend {
    fn documents(&self) -> Result<Arc<dyn DocumentBackend>> {
        let data = self.data.get()?;
        Ok(Arc::new(MemoryDocuments::new(data, self.retention, Arc::clone(&self.clock))))
    }

    fn users(&self) -> Result<Arc<dyn UserBackend>> {
        Ok(Arc::new(MemoryUsers::new(self.data.get()?, Arc::clone(&self.clock))))
    }

    fn revocations(&self) -> Result<Arc<dyn RevocationBackend>> {
        Ok(Arc::new(MemoryRevocations::new(self.data.get()?, Arc::clone(&self.clock))))
    }

    fn ledger(&self) -> Result<Arc<dyn Ledger>> {
        Ok(Arc::new(MemoryLedger::new(&self.data)?))
    }

    async fn close(&self) -> Result<()> {
        self.data.release();
        Ok(())
    }
}

/// What all handles of one namespace share: the three stores.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) documents: Table,
    pub(crate) users: Mutex<UserTable>,
    pub(crate) revocations: RevocationTable,
    pub(crate) ledger: LedgerTable,
}

impl Data {
    fn new(namespace: Option<&str>) -> Result<Self> {
        let epoch = random_epoch()?;
        Ok(Self {
            documents: Table::new(token_seal(namespace, epoch)),
            users: Mutex::default(),
            revocations: RevocationTable::new(random_canary()?),
            // Data in memory are never the same again, so their life's number is their identity.
            ledger: LedgerTable::new(StoreId(epoch.to_be_bytes())),
        })
    }
}

/// Holds the data open until it is released, however long the holder itself lives.
pub(crate) struct Handle(Mutex<Option<Arc<Data>>>);

impl Handle {
    pub(crate) fn new(data: Arc<Data>) -> Self {
        Self(Mutex::new(Some(data)))
    }

    /// The data, for the length of one call.
    pub(crate) fn get(&self) -> Result<Arc<Data>> {
        lock(&self.0).clone().ok_or_else(closed)
    }

    pub(crate) fn release(&self) {
        lock(&self.0).take();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if lock(&self.0).is_some() { "open" } else { "closed" };
        formatter.write_str(state)
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "").with_message("the memory store was closed")
}

/// Nothing under these locks can panic half-way, so a poisoned one is as good as new.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From the operating system: two processes that start alike must not take each other's tokens for their own.
fn random_epoch() -> Result<u64> {
    getrandom::u64().map_err(no_randomness)
}

fn random_canary() -> Result<Canary> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(no_randomness)?;
    Ok(Canary(bytes))
}

fn no_randomness(error: getrandom::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "open")
        .with_message("the operating system gave no random number")
        .with_source(error)
}

fn misuse(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, "remove_namespace").with_message(message)
}
