//! The thin backend: stores and finds; the engine above decides everything else.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redb::{Database, ReadableDatabase, ReadableTable, Table};
use syntrix_storage::backend::{Applied, CallContext, DocumentBackend, Feed, FeedPage, Write};
use syntrix_storage::{
    Capabilities, CollectionPath, Document, DocumentPath, Error, ErrorKind, HealthReport,
    INDEXES_MAX, IndexDefinition, IndexStatus, IndexSuggestion, Position, PurgeReport, QueryPlan,
    Reason, Result, Retention, ScanRequest, Timestamp, TokenSeal,
};

use crate::factory::unavailable;
use crate::table::{DOCUMENTS, INDEXES, decode, encode};

#[derive(Debug)]
pub(crate) struct Documents {
    database: Arc<Database>,
    retention: Retention,
    seal: TokenSeal,
}

type DocumentTable<'transaction> = Table<'transaction, &'static str, &'static str>;

impl Documents {
    pub(crate) fn new(database: Arc<Database>, retention: Retention) -> Self {
        // Never used: this backend offers no watch.
        Self { database, retention, seal: TokenSeal::new(0x80, [0; 8], 0, [0; 32]) }
    }

    /// The documents whose path begins with `prefix`, by path.
    fn range(&self, prefix: &str) -> Result<Vec<Document>> {
        let transaction = self.database.begin_read().map_err(unavailable)?;
        let table = transaction.open_table(DOCUMENTS).map_err(unavailable)?;
        let mut found = Vec::new();
        for row in table.range(prefix..).map_err(unavailable)? {
            let (path, text) = row.map_err(unavailable)?;
            if !path.value().starts_with(prefix) {
                break;
            }
            found.push(decode(DocumentPath::parse(path.value())?, text.value())?);
        }
        Ok(found)
    }

    fn write_all(&self, writes: Vec<Write>) -> Result<Vec<Result<Applied>>> {
        let transaction = self.database.begin_write().map_err(unavailable)?;
        let outcomes = {
            let mut table = transaction.open_table(DOCUMENTS).map_err(unavailable)?;
            writes.into_iter().map(|write| apply(&mut table, write)).collect()
        };
        transaction.commit().map_err(unavailable)?;
        Ok(outcomes)
    }

    fn indexes(&self) -> Result<Vec<IndexDefinition>> {
        let transaction = self.database.begin_read().map_err(unavailable)?;
        let table = transaction.open_table(INDEXES).map_err(unavailable)?;
        let mut found = Vec::new();
        for row in table.iter().map_err(unavailable)? {
            let (_, text) = row.map_err(unavailable)?;
            let suggestion: IndexSuggestion =
                serde_json::from_str(text.value()).map_err(unavailable)?;
            found.push(suggestion.to_definition()?);
        }
        Ok(found)
    }
}

fn find(table: &DocumentTable<'_>, path: &DocumentPath) -> Result<Option<Document>> {
    let row = table.get(path.as_str()).map_err(unavailable)?;
    row.map(|text| decode(path.clone(), text.value())).transpose()
}

fn apply(table: &mut DocumentTable<'_>, write: Write) -> Result<Applied> {
    let current = find(table, write.path())?;
    let document = match (write, &current) {
        (Write::Insert(document), None) => document,
        (Write::Replace { expected, document }, Some(there)) if there.version() == expected => {
            document
        }
        (Write::ApplyIfNewer(document), None) => document,
        (Write::ApplyIfNewer(document), Some(there)) if document.version() > there.version() => {
            document
        }
        _ => return Ok(Applied::No(current)),
    };
    table.insert(document.path().as_str(), encode(&document)?.as_str()).map_err(unavailable)?;
    Ok(Applied::Yes(document))
}

fn no_watch() -> Error {
    Error::new(ErrorKind::Unsupported, "watch").with_message("redb keeps no history of changes")
}

#[async_trait]
impl DocumentBackend for Documents {
    fn kind(&self) -> &'static str {
        "redb"
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::NONE;
        capabilities.durable = true;
        capabilities
    }

    fn retention(&self) -> Retention {
        self.retention
    }

    fn token_seal(&self) -> &TokenSeal {
        &self.seal
    }

    async fn get(&self, path: &DocumentPath, _: &CallContext) -> Result<Option<Document>> {
        let transaction = self.database.begin_read().map_err(unavailable)?;
        let table = transaction.open_table(DOCUMENTS).map_err(unavailable)?;
        let row = table.get(path.as_str()).map_err(unavailable)?;
        row.map(|text| decode(path.clone(), text.value())).transpose()
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        context: &CallContext,
    ) -> Result<Vec<Option<Document>>> {
        let mut found = Vec::with_capacity(paths.len());
        for path in paths {
            found.push(self.get(path, context).await?);
        }
        Ok(found)
    }

    async fn write(&self, writes: Vec<Write>, _: &CallContext) -> Vec<Result<Applied>> {
        let count = writes.len();
        self.write_all(writes).unwrap_or_else(|error| {
            let repeat =
                || Err(Error::new(error.kind(), "").with_message("the transaction failed"));
            (0..count).map(|_| repeat()).collect()
        })
    }

    /// Without an index structure the reference functions of core decide; a real backend translates the plan.
    async fn query(&self, plan: &QueryPlan, _: &CallContext) -> Result<Vec<Document>> {
        let collection = plan.collection().as_str();
        let mut rows = Vec::new();
        for document in self.range(&format!("{collection}/"))? {
            let inside = document.path().collection_text() == collection;
            if !inside || !plan.selects(&document, &document.value()?) {
                continue;
            }
            if let Some(place) = plan.place_of(&document) {
                rows.push((place, document));
            }
        }
        rows.sort_by(|(left, _), (right, _)| plan.compare(left, right));
        let start = match plan.after() {
            Some(after) => rows.partition_point(|(place, _)| plan.compare(place, after).is_le()),
            None => 0,
        };
        Ok(rows
            .into_iter()
            .skip(start)
            .take(plan.rows_max())
            .map(|(_, document)| document)
            .collect())
    }

    async fn query_with_position(
        &self,
        _: &QueryPlan,
        _: &CallContext,
    ) -> Result<(Vec<Document>, Position, Timestamp)> {
        Err(no_watch())
    }

    async fn scan(&self, request: &ScanRequest, _: &CallContext) -> Result<Vec<Document>> {
        let prefix = request.collection.as_ref().map(|path| format!("{path}/")).unwrap_or_default();
        let wanted = |document: &Document| {
            let own =
                |path: &CollectionPath| request.recursive || document.path().collection() == *path;
            let behind = |after: &String| document.path().as_str() > after.as_str();
            (request.show_deleted || !document.is_deleted())
                && request.collection.as_ref().is_none_or(own)
                && request.after.as_ref().is_none_or(behind)
        };
        Ok(self.range(&prefix)?.into_iter().filter(wanted).take(request.limit).collect())
    }

    async fn feed(&self, _: &Feed, _: Option<&Position>, _: usize) -> Result<FeedPage> {
        Err(no_watch())
    }

    async fn feed_end(&self) -> Result<(Position, Timestamp)> {
        Err(no_watch())
    }

    async fn wait_for_change(&self, _: &Position, _: Duration) -> Result<()> {
        Err(no_watch())
    }

    async fn trim_feed(&self, _: Timestamp, _: usize) -> Result<usize> {
        Ok(0)
    }

    async fn purge(&self, before: Timestamp, limit: usize) -> Result<PurgeReport> {
        let expired = |document: &Document| document.is_deleted() && document.updated_at() < before;
        let transaction = self.database.begin_write().map_err(unavailable)?;
        let mut report = PurgeReport::default();
        {
            let mut table = transaction.open_table(DOCUMENTS).map_err(unavailable)?;
            // Within the transaction, so that a document revived meanwhile is not removed.
            let mut paths = Vec::new();
            for row in table.iter().map_err(unavailable)? {
                let (path, text) = row.map_err(unavailable)?;
                let document = decode(DocumentPath::parse(path.value())?, text.value())?;
                paths.extend(expired(&document).then(|| document.path().clone()));
            }
            report.more = paths.len() > limit;
            paths.truncate(limit);
            for path in &paths {
                table.remove(path.as_str()).map_err(unavailable)?;
            }
            report.purged = paths.len();
        }
        transaction.commit().map_err(unavailable)?;
        Ok(report)
    }

    async fn list_indexes(&self) -> Result<Vec<IndexStatus>> {
        let ready = |definition| IndexStatus { definition, ready: true };
        Ok(self.indexes()?.into_iter().map(ready).collect())
    }

    async fn create_index(&self, index: &IndexDefinition) -> Result<()> {
        let known = self.indexes()?;
        if known.contains(index) {
            return Ok(());
        }
        if known.len() >= INDEXES_MAX {
            return Err(Error::invalid(
                "index",
                Reason::TooManyIndexes,
                "a store has at most 32 indexes",
            ));
        }
        let transaction = self.database.begin_write().map_err(unavailable)?;
        {
            let mut table = transaction.open_table(INDEXES).map_err(unavailable)?;
            let text = index.to_suggestion().to_json();
            table.insert(index.name(), text.as_str()).map_err(unavailable)?;
        }
        transaction.commit().map_err(unavailable)
    }

    async fn drop_index(&self, name: &str) -> Result<bool> {
        let transaction = self.database.begin_write().map_err(unavailable)?;
        let dropped = {
            let mut table = transaction.open_table(INDEXES).map_err(unavailable)?;
            table.remove(name).map_err(unavailable)?.is_some()
        };
        transaction.commit().map_err(unavailable)?;
        Ok(dropped)
    }

    async fn health(&self) -> Result<HealthReport> {
        Ok(HealthReport::new("redb", self.database.begin_read().is_ok())
            .with_fact("durability", "durable"))
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
