//! What every command has at hand: the global options, stdout, and the way to the store.

use syntrix_storage::routing::{MirrorFault, ReplicationOptions};
use syntrix_storage::{Storage, StorageConfig};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::Output;

/// One run of the command line.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) global: Global,
    pub(crate) output: Output,
}

impl Session {
    pub(crate) fn new(global: Global, output: Output) -> Self {
        Self { global, output }
    }

    /// What is configured: the file, or the embedded store in the data directory.
    pub(crate) fn config(&self) -> Result<StorageConfig, Failure> {
        match &self.global.config {
            Some(file) => {
                let config = StorageConfig::from_file(file)?.with_data_dir(self.global.data_dir());
                Ok(self.with_fault(config))
            }
            None => Ok(StorageConfig::embedded(self.global.data_dir())),
        }
    }

    /// With the place to die that a test asks for.
    fn with_fault(&self, config: StorageConfig) -> StorageConfig {
        let Some(number) = self.global.abort_at_mirrored_write else { return config };
        let mut replication = ReplicationOptions::default();
        replication.fault = Some(MirrorFault::nth(number));
        config.with_replication(replication)
    }

    /// Opens the storage, runs `work` on it, and closes it whatever came out.
    pub(crate) async fn with_storage(
        &mut self,
        work: impl AsyncFnOnce(&Storage, &mut Output) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let storage = Storage::from_config(self.config()?).await?;
        let done = work(&storage, &mut self.output).await;
        let closed = storage.close().await;
        done?;
        Ok(closed?)
    }
}
