//! A block that an example leaves open: it passes the check and says what to fill in when it is opened.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{Backend, BackendProvider, OpenContext};
use syntrix_storage_core::{Error, ErrorKind, Result};

/// Stands for the provider of a block whose setting `key`, which has no default, is `...`.
#[derive(Debug)]
pub(crate) struct LeftOpen {
    /// Where the block stands, for example `storage.user.pg`.
    pub(crate) path: String,
    pub(crate) key: String,
}

impl LeftOpen {
    fn refused(&self) -> Error {
        Error::new(ErrorKind::ConfigInvalid, "open")
            .with_message(
                "a setting without a default is left open; write its value instead of `...`",
            )
            .with_fact("key", format!("{}.{}", self.path, self.key))
    }
}

#[async_trait]
impl BackendProvider for LeftOpen {
    fn connection_key(&self) -> String {
        self.path.clone()
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Backend>> {
        Err(self.refused())
    }

    async fn remove_namespace(&self, _: &OpenContext) -> Result<()> {
        Err(self.refused())
    }
}
