//! A route of documents, as the suite's cases about both of its databases use it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use syntrix_storage_conformance::{Difference, Route};
use syntrix_storage_core::backend::DocumentBackend;
use syntrix_storage_core::{DocumentPath, Error, ErrorKind, Result, Timestamp};
use syntrix_storage_routing::{
    Depth, DocumentReplication, Finding, Repair, Repaired, RouteControl, VerifyOptions,
};

use super::FILL_WAIT;

/// Both databases of an open route.
pub(super) struct OpenRoute {
    replication: Arc<DocumentReplication>,
    primary: Arc<dyn DocumentBackend>,
    shadow: Arc<dyn DocumentBackend>,
    repair: Repair,
}

impl OpenRoute {
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if nobody may write the shadow, [`ErrorKind::Unavailable`] if it was not reached.
    pub(super) fn new(replication: Arc<DocumentReplication>) -> Result<Self> {
        let repair = replication.repair()?.executing();
        let (primary, shadow) = replication.sides()?;
        Ok(Self { replication, primary, shadow, repair })
    }
}

#[async_trait]
impl Route for OpenRoute {
    fn primary(&self) -> Arc<dyn DocumentBackend> {
        Arc::clone(&self.primary)
    }

    fn shadow(&self) -> Arc<dyn DocumentBackend> {
        Arc::clone(&self.shadow)
    }

    async fn drain(&self) -> Result<()> {
        self.replication.drain(FILL_WAIT).await
    }

    async fn verify(&self) -> Result<Vec<Difference>> {
        // The suite's clock stands years ago, and whatever it deletes would be expired by ours.
        let options = VerifyOptions::default()
            .with_depth(Depth::Deep)
            .with_expired_before(Timestamp::default());
        let mut differences = Vec::new();
        let mut report = |finding| {
            differences.push(difference(&finding)?);
            Ok(())
        };
        self.replication.verify(options, FILL_WAIT, &mut report).await?;
        Ok(differences)
    }

    async fn repair(&self, path: &DocumentPath) -> Result<bool> {
        Ok(self.repair.document(path).await? != Repaired::Equal)
    }

    async fn give_up(&self) -> Result<()> {
        self.replication.drop_route().await
    }
}

fn difference(finding: &Finding) -> Result<Difference> {
    match serde_json::to_value(finding.verdict) {
        Ok(Value::String(verdict)) => Ok(Difference { path: finding.path.to_string(), verdict }),
        other => Err(Error::new(ErrorKind::Internal, "verify")
            .with_message(format!("a verdict is a word: {other:?}"))),
    }
}
