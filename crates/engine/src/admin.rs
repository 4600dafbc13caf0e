//! Indexes, scan, purge and health over a thin backend.

use async_trait::async_trait;
use syntrix_storage_core::backend::CallContext;
use syntrix_storage_core::{
    Capabilities, DocumentAdmin, Error, ErrorKind, HealthReport, ITEMS_MAX, IndexDefinition,
    IndexStatus, Operation, PurgeReport, Reason, Result, ScanPage, ScanRequest,
};

use crate::documents::DocumentEngine;

#[async_trait]
impl DocumentAdmin for DocumentEngine {
    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        self.calls.run("list_indexes", None, self.backend.list_indexes()).await
    }

    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        let created = self.calls.run("create_index", None, self.backend.create_index(index)).await;
        self.indexes.forget();
        created
    }

    async fn drop_index(&self, name: &str) -> Result<()> {
        let dropped = self.calls.run("drop_index", None, self.backend.drop_index(name)).await;
        self.indexes.forget();
        if dropped? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, "drop_index")
            .with_message("there is no index of this name; list them first")
            .with_fact("name", name))
    }

    async fn scan(&self, request: ScanRequest) -> Result<ScanPage> {
        self.calls.run("scan", None, self.scan_page(request)).await
    }

    async fn purge_expired(&self, limit: usize) -> Result<PurgeReport> {
        self.calls.run("purge_expired", None, self.purge_once(limit)).await
    }

    async fn health(&self) -> Result<HealthReport> {
        self.calls.health(self.backend.health()).await
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }
}

impl DocumentEngine {
    async fn purge_once(&self, limit: usize) -> Result<PurgeReport> {
        let now = self.options.clock.now();
        let report =
            self.backend.purge(now.saturating_sub(self.retention.soft_delete()), limit).await?;
        self.backend.trim_feed(now.saturating_sub(self.retention.watch()), limit).await?;
        Ok(report)
    }

    async fn scan_page(&self, mut request: ScanRequest) -> Result<ScanPage> {
        let limit = match request.limit {
            0 => ITEMS_MAX,
            limit if limit <= ITEMS_MAX => limit,
            limit => {
                let message = "a scan page has at most 1000 documents";
                return Err(
                    Error::invalid("limit", Reason::Limit, message).with_fact("value", limit)
                );
            }
        };
        request.limit = limit;
        let documents = self.backend.scan(&request, &CallContext::new(Operation::Scan)).await?;
        let full = documents.len() == limit;
        let next = documents.last().filter(|_| full).map(|last| last.path().as_str().to_owned());
        Ok(ScanPage { documents, next })
    }
}
