//! A route of documents, as the suite's cases about both of its databases use it.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_conformance::{Difference, DifferenceKind, Route};
use syntrix_storage_core::backend::DocumentBackend;
use syntrix_storage_core::{DocumentPath, Error, ErrorKind, Result, Timestamp};
use syntrix_storage_routing::{
    Depth, DocumentReplication, Finding, Repaired, RouteControl, Verdict, VerifyOptions,
};

use super::FILL_WAIT;

/// Both databases of an open route.
pub(super) struct OpenRoute {
    replication: Arc<DocumentReplication>,
    primary: Arc<dyn DocumentBackend>,
    shadow: Arc<dyn DocumentBackend>,
    reads_shadow: bool,
}

impl OpenRoute {
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if the shadow was not reached.
    pub(super) fn new(replication: Arc<DocumentReplication>, reads_shadow: bool) -> Result<Self> {
        let (primary, shadow) = replication.sides()?;
        Ok(Self { replication, primary, shadow, reads_shadow })
    }
}

#[async_trait]
impl Route for OpenRoute {
    fn primary(&self) -> Arc<dyn DocumentBackend> {
        Arc::clone(&self.primary)
    }

    fn shadow(&self) -> Result<Arc<dyn DocumentBackend>> {
        // Who may repair it may damage it.
        self.replication.repair()?;
        Ok(Arc::clone(&self.shadow))
    }

    fn reads_shadow(&self) -> bool {
        self.reads_shadow
    }

    async fn lineage(&self) -> Result<u64> {
        Ok(self.replication.status().await?.replicated.lineage)
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
        let mut report = |finding: Finding| {
            differences.push(Difference { path: finding.path, kind: kind(finding.verdict) });
            Ok(())
        };
        let summary = self.replication.verify(options, FILL_WAIT, &mut report).await?;
        if summary.equal != differences.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "verify")
                .with_message("the summary and the findings do not say the same")
                .with_fact("findings", differences.len()));
        }
        Ok(differences)
    }

    async fn repair(&self, path: &DocumentPath) -> Result<bool> {
        let repair = self.replication.repair()?.executing();
        Ok(repair.document(path).await? != Repaired::Equal)
    }

    async fn drop_route(&self) -> Result<()> {
        self.replication.drop_route().await
    }
}

const fn kind(verdict: Verdict) -> DifferenceKind {
    match verdict {
        Verdict::Missing => DifferenceKind::Missing,
        Verdict::Extra => DifferenceKind::Extra,
        Verdict::Stale => DifferenceKind::Stale,
        Verdict::Different => DifferenceKind::Different,
        Verdict::Unsettled => DifferenceKind::Unsettled,
    }
}
