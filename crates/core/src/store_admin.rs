//! What operators and tools do with a store of accounts or of revoked tokens beside reading and writing it.

use async_trait::async_trait;

use crate::capabilities::Capabilities;
use crate::document_admin::{HealthReport, PurgeReport};
use crate::error::Result;

/// Purge and health of one store of accounts or of revoked tokens.
#[async_trait]
pub trait StoreAdmin: Send + Sync + std::fmt::Debug {
    /// Removes up to `limit` records that mean nothing any more. Answers do not depend on when that happens.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{backend::StoreKind, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let admin = storage.store_admin(StoreKind::Revocations)?;
    /// let report = admin.purge_expired(1000).await?;
    /// assert_eq!(report.purged, 0);
    /// # Ok(())
    /// # }
    /// ```
    async fn purge_expired(&self, limit: usize) -> Result<PurgeReport>;

    /// Whether the store answers, how fast, and what its operator should know. One that does not is `ready: false`, with
    /// the error as a fact.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{backend::StoreKind, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let admin = storage.store_admin(StoreKind::Users)?;
    /// assert!(admin.health().await?.ready);
    /// # Ok(())
    /// # }
    /// ```
    async fn health(&self) -> Result<HealthReport>;

    /// What the backend behind the store offers.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{backend::StoreKind, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let admin = storage.store_admin(StoreKind::Users)?;
    /// assert!(!admin.capabilities().durable, "it is in memory");
    /// # Ok(())
    /// # }
    /// ```
    fn capabilities(&self) -> Capabilities;
}
