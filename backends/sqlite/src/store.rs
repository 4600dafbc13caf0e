//! An open file: its connections, and how they are opened and let go.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use syntrix_storage_core::backend::{Canary, OpenContext};
use syntrix_storage_core::{Clock, Error, Result, Retention, TokenSeal};

use crate::error::{closed, from_sqlite, lost};
use crate::readers::Readers;
use crate::settings::{Settings, Synchronous};
use crate::wake::Wake;
use crate::writer::Writer;
use crate::{connect, schema, self_test};

/// One open database file.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) file: PathBuf,
    pub(crate) readers: Readers,
    pub(crate) writer: Writer,
    pub(crate) wake: Arc<Wake>,
    pub(crate) seal: TokenSeal,
    pub(crate) canary: Canary,
    pub(crate) clock: Arc<dyn Clock>,
    /// Stores that were handed out and not closed.
    leases: AtomicUsize,
    pub(crate) retention: Retention,
    pub(crate) synchronous: Synchronous,
}

impl Store {
    /// Opens the file, makes it if it is not there, and brings it to the current version. Blocks.
    pub(crate) fn open(settings: &Settings, context: &OpenContext) -> Result<Self> {
        Self::open_file(settings, context).map_err(|error| error.in_operation("open"))
    }

    fn open_file(settings: &Settings, context: &OpenContext) -> Result<Self> {
        self_test::run()?;
        let file = connect::prepare_file(&connect::file_path(&settings.path, context))?;
        connect::check_identity(&file, settings)?;
        let failed = |error: rusqlite::Error| from_sqlite(&error);
        let mut connection = connect::open_writer(&file, settings).map_err(failed)?;
        schema::migrate(&mut connection)?;
        let seal = schema::token_seal(&connection).map_err(failed)?;
        let canary = schema::canary(&connection).map_err(failed)?;
        let reader = || connect::open_reader(&file, settings);
        let wake = Arc::new(reader().and_then(Wake::new).map_err(failed)?);
        let readers = (0..settings.readers_max).map(|_| reader());
        let readers = readers.collect::<rusqlite::Result<_>>().map_err(failed)?;
        Ok(Self {
            readers: Readers::new(readers, settings.inline_reads),
            writer: Writer::start(connection, Arc::clone(&context.clock), Arc::clone(&wake))?,
            wake,
            seal,
            canary,
            clock: Arc::clone(&context.clock),
            leases: AtomicUsize::new(0),
            retention: settings.retention()?,
            synchronous: settings.synchronous,
            file,
        })
    }

    /// Finishes what is queued and closes every connection; the writer's last, so that SQLite tidies up behind it.
    pub(crate) async fn close(&self) -> Result<()> {
        let (readers, wake) = (self.readers.clone(), Arc::clone(&self.wake));
        let close_readers = move || {
            wake.close();
            readers.close();
        };
        tokio::task::spawn_blocking(close_readers).await.map_err(|_| lost())?;
        self.writer.close().await
    }
}

/// One store's hold on the file. The file closes with the last of them: closing one store leaves the others open.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Arc<Store>,
    released: AtomicBool,
}

impl Lease {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        store.leases.fetch_add(1, Ordering::SeqCst);
        Self { store, released: AtomicBool::new(false) }
    }

    /// The file, for the length of one call.
    pub(crate) fn store(&self) -> Result<&Arc<Store>> {
        if self.released.load(Ordering::SeqCst) { Err(closed()) } else { Ok(&self.store) }
    }

    /// What is known of the file without using it.
    pub(crate) fn known(&self) -> &Store {
        &self.store
    }

    /// Lets go; the last one closes the file. Once dropped half way, the next call goes on with it.
    pub(crate) async fn release(&self) -> Result<()> {
        self.count_out();
        if self.store.leases.load(Ordering::SeqCst) == 0 {
            self.store.close().await?;
        }
        Ok(())
    }

    /// Once, however often it is called.
    fn count_out(&self) {
        if !self.released.swap(true, Ordering::SeqCst) {
            self.store.leases.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A store that was dropped without close keeps nobody from closing the file.
impl Drop for Lease {
    fn drop(&mut self) {
        self.count_out();
    }
}

/// Removes a closed namespace's file and what SQLite keeps beside it. Blocks.
pub(crate) fn remove_namespace(settings: &Settings, context: &OpenContext) -> Result<()> {
    if context.namespace.is_none() {
        return Err(Error::new(
            syntrix_storage_core::ErrorKind::InvalidArgument,
            "remove_namespace",
        )
        .with_message("only a namespace can be removed, not the configured data"));
    }
    let file = connect::file_path(&settings.path, context);
    for path in connect::file_and_companions(&file) {
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Error::new(
                    syntrix_storage_core::ErrorKind::Unavailable,
                    "remove_namespace",
                )
                .with_message("a file of the namespace cannot be removed")
                .with_fact("reason", error.kind()));
            }
        }
    }
    Ok(())
}
