//! An open file: its connections, and how they are opened and let go.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{Canary, LeaseCount, Leased, OpenContext, StoreId};
use syntrix_storage_core::{Clock, Error, Result, Retention, TokenSeal};

use crate::error::{from_sqlite, lost};
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
    pub(crate) store_id: StoreId,
    pub(crate) canary: Canary,
    pub(crate) clock: Arc<dyn Clock>,
    /// Stores that were handed out and not closed.
    leases: LeaseCount,
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
        let store_id = schema::store_id(&connection).map_err(failed)?;
        let canary = schema::canary(&connection).map_err(failed)?;
        let reader = || connect::open_reader(&file, settings);
        let wake = Arc::new(reader().and_then(Wake::new).map_err(failed)?);
        let readers = (0..settings.readers_max).map(|_| reader());
        let readers = readers.collect::<rusqlite::Result<_>>().map_err(failed)?;
        Ok(Self {
            readers: Readers::start(readers, reader().map_err(failed)?, settings.inline_reads)?,
            writer: Writer::start(connection, Arc::clone(&context.clock), Arc::clone(&wake))?,
            wake,
            seal,
            store_id,
            canary,
            clock: Arc::clone(&context.clock),
            leases: LeaseCount::default(),
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

/// One store's hold.
pub(crate) type Lease = syntrix_storage_core::backend::Lease<Store>;

#[async_trait]
impl Leased for Store {
    fn leases(&self) -> &LeaseCount {
        &self.leases
    }

    async fn close(&self) -> Result<()> {
        Store::close(self).await
    }
}

/// Removes a closed namespace's file and what SQLite keeps beside it. Blocks.
pub(crate) fn remove_namespace(settings: &Settings, context: &OpenContext) -> Result<()> {
    context.removable_namespace()?;
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
