//! Opening the stores under test, the same way in every process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use syntrix_storage::routing::{MirrorFault, ReplicationOptions};
use syntrix_storage::{
    DocumentStore, Error, ErrorKind, Storage, StorageConfig, TokenRevocationStore,
};
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::failure::{Context, Failure, Result};

/// The one collection all processes use.
pub(crate) const COLLECTION: &str = "soak";

/// The document whose only event is the last.
pub(crate) const END: &str = "soak/end";

/// Longest a process tries to open a store whose server is away.
const OPENING_MAX: Duration = Duration::from_secs(60);

/// Longest any call may take: shorter than some faults last, so that these are felt.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(5);

/// So that a lease is taken over while a process is stopped.
const LEASE: Duration = Duration::from_secs(1);

/// What to open.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    /// The configuration; below its folder lie files of embedded stores
    #[arg(long)]
    pub(crate) config: PathBuf,
}

/// Two threads, so that tasks truly run at once.
pub(crate) fn runtime() -> Result<Runtime> {
    let built = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.context(|| "starting the runtime".into())
}

/// What is open; either store may be missing from the configuration.
pub(crate) struct Stores {
    pub(crate) storage: Storage,
    pub(crate) documents: Option<Arc<dyn DocumentStore>>,
    pub(crate) revocations: Option<Arc<dyn TokenRevocationStore>>,
}

impl Stores {
    /// Opens them; a server that is away is waited for.
    ///
    /// # Errors
    ///
    /// What else opening says, or when it takes too long.
    pub(crate) async fn open(options: &Config) -> Result<Self> {
        Self::open_with(&options.config, None).await
    }

    /// As [`Stores::open`], in a process that dies where `fault` says.
    ///
    /// # Errors
    ///
    /// As [`Stores::open`].
    pub(crate) async fn open_with(file: &Path, fault: Option<MirrorFault>) -> Result<Self> {
        let deadline = Instant::now() + OPENING_MAX;
        loop {
            match open(file, fault.clone()).await {
                Ok(storage) => return Self::of(storage),
                Err(error) if is_outage(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(told(&error)).context(|| "opening the store".into()),
            }
        }
    }

    fn of(storage: Storage) -> Result<Self> {
        let documents = present(storage.documents())?;
        let revocations = present(storage.revocations())?;
        Ok(Self { storage, documents, revocations })
    }

    /// Closes them; what cannot be told to a server that is away is nobody's loss.
    pub(crate) async fn close(&self) {
        let _ = self.storage.close().await;
    }
}

async fn open(file: &Path, fault: Option<MirrorFault>) -> syntrix_storage::Result<Storage> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut replication = ReplicationOptions::default();
    replication.lease_time = LEASE;
    replication.standby_interval = LEASE / 10;
    replication.fault = fault;
    let config = StorageConfig::from_file(file)?.with_data_dir(folder);
    Storage::from_config(config.with_replication(replication)).await
}

fn present<T>(store: syntrix_storage::Result<T>) -> Result<Option<T>> {
    match store {
        Ok(store) => Ok(Some(store)),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(told(&error)),
    }
}

/// The server is away, or was too slow.
pub(crate) fn is_outage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}

/// An error with everything that led to it, for the person who has to find out.
pub(crate) fn told(error: &Error) -> Failure {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Failure::new(text)
}

/// Microseconds since 1970, for measuring between processes of one machine; nothing is ordered by it.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Comes when our input ends. Nothing is ever sent: the other end is closed when we are to end, also if whoever holds it dies.
pub(crate) async fn asked_to_end() {
    let _ = tokio::io::stdin().read(&mut [0]).await;
}
