//! What operators and tools do with a route.

use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_core::Result;

use crate::replicator::DeadLetter;
use crate::replicator::status::StatusReport;

/// A store's route with a shadow, as operators and tools see it.
#[async_trait]
pub trait RouteControl: Send + Sync + std::fmt::Debug {
    /// How it is. A side that is down makes the report shorter, not an error.
    async fn status(&self) -> Result<StatusReport>;

    /// Returns when the shadow has everything that was written before this call. Takes the lease if nobody holds it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](syntrix_storage_core::ErrorKind::Timeout) after `limit`, naming how the shadow is;
    /// [`ErrorKind::Conflict`](syntrix_storage_core::ErrorKind::Conflict) if it has everything but what it refuses.
    async fn drain(&self, limit: Duration) -> Result<()>;

    /// Documents that the shadow refuses.
    async fn dead_letters(&self) -> Result<Vec<DeadLetter>>;

    /// Brings the document of a dead letter to the shadow as the primary has it now; `false` if it is refused again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](syntrix_storage_core::ErrorKind::NotFound) if there is no such letter.
    async fn retry_dead_letter(&self, path: &str) -> Result<bool>;

    /// Forgets a dead letter: the document stays as it is on the shadow.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](syntrix_storage_core::ErrorKind::NotFound) if there is no such letter.
    async fn drop_dead_letter(&self, path: &str) -> Result<()>;

    /// Gives the route up: voids the shadow's checkpoint, lets every process stop replicating, and lifts the pin that keeps
    /// tombstones on the primary. A storage that is opened with the route afterwards fills the shadow anew.
    async fn drop_route(&self) -> Result<()>;
}
