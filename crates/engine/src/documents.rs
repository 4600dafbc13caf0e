//! The document store over a thin backend.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use syntrix_storage_core::backend::{CallContext, DocumentBackend};
use syntrix_storage_core::{
    BulkItem, BulkOptions, CollectionPath, Document, DocumentPath, DocumentStore, Error, ErrorKind,
    ITEMS_MAX, Operation, Page, Patch, Query, QueryOptions, QueryPlan, ReadOptions, Reason, Result,
    Retention, WatchOptions, WatchStart, WatchStream, WriteOptions, WriteResult, encode_data,
    normalize_data,
};
use tokio::sync::Mutex;

use crate::gate::{Gate, Pass};
use crate::index_cache::IndexCache;
use crate::maintenance;
use crate::options::EngineOptions;
use crate::turns::Turns;
use crate::watch::Hub;
use crate::write::{self, Intent};

/// A document store over a backend. Dropping it without `close` stops its workers, too.
pub struct DocumentEngine {
    pub(crate) backend: Arc<dyn DocumentBackend>,
    pub(crate) options: EngineOptions,
    pub(crate) retention: Retention,
    pub(crate) gate: Gate,
    pub(crate) indexes: IndexCache,
    pub(crate) turns: Turns,
    hub: Arc<Hub>,
    /// Whether the backend was let go of. Held while closing, so that a second `close` returns only when that is done, and
    /// does it itself when the first one was dropped half way.
    close_turn: Mutex<bool>,
}

impl DocumentEngine {
    /// Starts an engine. Must be called within a tokio runtime, which runs its workers.
    pub fn start(backend: Arc<dyn DocumentBackend>, options: EngineOptions) -> Self {
        let gate = Gate::new();
        let retention = options.retention.unwrap_or_else(|| backend.retention());
        let hub = Hub::new(Arc::clone(&backend), gate.closing());
        maintenance::start(&backend, &options, retention, gate.closing());
        Self {
            backend,
            options,
            retention,
            gate,
            indexes: IndexCache::default(),
            turns: Turns::new(),
            hub,
            close_turn: Mutex::new(false),
        }
    }

    async fn find(&self, path: &DocumentPath, options: &ReadOptions) -> Result<Document> {
        let context = CallContext::new(Operation::Read)
            .with_consistency(options.consistency)
            .with_deadline(deadline(options.timeout));
        let found = self.backend.get(path, &context).await?;
        live(found).ok_or_else(|| write::not_found(path))
    }

    async fn find_many(
        &self,
        paths: &[DocumentPath],
        options: &ReadOptions,
    ) -> Result<Vec<Option<Document>>> {
        check_items(paths.len())?;
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let context = CallContext::new(Operation::Read)
            .with_consistency(options.consistency)
            .with_deadline(deadline(options.timeout));
        let found = self.backend.get_many(paths, &context).await?;
        Ok(found.into_iter().map(live).collect())
    }

    async fn read_page(&self, query: Query, options: &QueryOptions) -> Result<Page> {
        let plan = self.plan(query).await?;
        let context = CallContext::new(Operation::Query)
            .with_consistency(options.consistency)
            .with_deadline(deadline(options.timeout));
        let (documents, resume_token) = if options.resume_token {
            let (documents, position, time) =
                self.backend.query_with_position(&plan, &context).await?;
            (documents, Some(self.backend.token_seal().seal(&position, time)))
        } else {
            (self.backend.query(&plan, &context).await?, None)
        };
        page(&plan, documents, resume_token)
    }

    /// A missing index is looked for once more in the store itself, so that a new one works at once.
    async fn plan(&self, query: Query) -> Result<QueryPlan> {
        let mut plan = QueryPlan::check(query)?;
        let known = self.indexes.ready(&*self.backend).await?;
        match plan.assign_index(&known) {
            Err(error) if error.kind() == ErrorKind::IndexRequired => {
                let fresh = self.indexes.refresh(&*self.backend).await?;
                plan.assign_index(&fresh)?;
            }
            other => other?,
        }
        Ok(plan)
    }

    /// Runs `work` as `operation`: refused when closed, ended by the timeout, errors named.
    pub(crate) async fn run<T>(
        &self,
        operation: &'static str,
        timeout: Option<Duration>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _pass: Pass<'_> = self.gate.enter(operation)?;
        // A backend that never has to wait would let a busy caller starve every other task of its thread.
        tokio::task::consume_budget().await;
        let result = match timeout {
            None => work.await,
            // Boxed: the future of every call would be twice the size for the sake of those with a deadline.
            Some(limit) => Box::pin(tokio::time::timeout(limit, work))
                .await
                .unwrap_or_else(|_| Err(timed_out(operation, limit))),
        };
        result.map_err(|error| error.in_operation(operation))
    }
}

#[async_trait]
impl DocumentStore for DocumentEngine {
    async fn get(&self, path: &DocumentPath, options: ReadOptions) -> Result<Document> {
        self.run("get", options.timeout, self.find(path, &options)).await
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        options: ReadOptions,
    ) -> Result<Vec<Option<Document>>> {
        self.run("get_many", options.timeout, self.find_many(paths, &options)).await
    }

    async fn create(
        &self,
        path: &DocumentPath,
        data: Value,
        options: WriteOptions,
    ) -> Result<WriteResult> {
        let work = async {
            write::refuse_preconditions(&options.preconditions)?;
            let body = encode_data(normalize_data(path, data)?)?;
            self.insert(path, &body, &write_context(&options)).await
        };
        self.run("create", options.timeout, work).await
    }

    async fn update(
        &self,
        path: &DocumentPath,
        data: Value,
        options: WriteOptions,
    ) -> Result<WriteResult> {
        let work = async {
            write::check_preconditions(&options.preconditions)?;
            let intent = Intent::Update(encode_data(normalize_data(path, data)?)?);
            self.modify(path, &intent, &options.preconditions, &write_context(&options)).await
        };
        self.run("update", options.timeout, work).await
    }

    async fn patch(
        &self,
        path: &DocumentPath,
        patch: Patch,
        options: WriteOptions,
    ) -> Result<WriteResult> {
        let work = async {
            write::check_preconditions(&options.preconditions)?;
            let intent = Intent::Patch(patch.check(path)?);
            self.modify(path, &intent, &options.preconditions, &write_context(&options)).await
        };
        self.run("patch", options.timeout, work).await
    }

    async fn delete(&self, path: &DocumentPath, options: WriteOptions) -> Result<WriteResult> {
        let work = async {
            write::check_preconditions(&options.preconditions)?;
            let context = write_context(&options);
            self.modify(path, &Intent::Delete, &options.preconditions, &context).await
        };
        self.run("delete", options.timeout, work).await
    }

    async fn query(&self, query: Query, options: QueryOptions) -> Result<Page> {
        self.run("query", options.timeout, self.read_page(query, &options)).await
    }

    async fn watch(
        &self,
        collection: Option<&CollectionPath>,
        start: WatchStart,
        options: WatchOptions,
    ) -> Result<WatchStream> {
        self.run("watch", None, self.hub.subscribe(collection, start, options)).await
    }

    async fn bulk(
        &self,
        items: Vec<BulkItem>,
        options: BulkOptions,
    ) -> Result<Vec<Result<WriteResult>>> {
        let work = async {
            check_items(items.len())?;
            let context =
                CallContext::new(Operation::Bulk).with_deadline(deadline(options.timeout));
            Ok(self.run_bulk(items, &context).await)
        };
        self.run("bulk", options.timeout, work).await
    }

    async fn close(&self) -> Result<()> {
        let mut done = self.close_turn.lock().await;
        if *done {
            return Ok(());
        }
        self.gate.close();
        self.gate.wait_until_empty(self.options.close_timeout).await;
        self.hub.wait_until_stopped(self.options.close_timeout).await;
        let closed = self.backend.close().await;
        *done = true;
        closed.map_err(|error| error.in_operation("close"))
    }
}

impl Drop for DocumentEngine {
    fn drop(&mut self) {
        if self.gate.close() {
            tracing::debug!(
                backend = self.backend.kind(),
                "a document store was dropped without close"
            );
        }
    }
}

impl fmt::Debug for DocumentEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DocumentEngine")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

pub(crate) fn live(found: Option<Document>) -> Option<Document> {
    found.filter(|document| !document.is_deleted())
}

pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

fn write_context(options: &WriteOptions) -> CallContext {
    CallContext::new(Operation::Write).with_deadline(deadline(options.timeout))
}

fn timed_out(operation: &'static str, limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, operation)
        .with_message("the deadline passed; a write may have been applied")
        .with_fact("timeout_ms", limit.as_millis())
}

fn check_items(count: usize) -> Result<()> {
    if count > ITEMS_MAX {
        return Err(Error::invalid(
            "items",
            Reason::TooManyItems,
            "a call takes at most 1000 items",
        )
        .with_fact("items", count)
        .with_fact("limit", ITEMS_MAX));
    }
    Ok(())
}

/// Cuts the probe row off and turns the last document into a cursor if the probe row was there.
fn page(
    plan: &QueryPlan,
    mut documents: Vec<Document>,
    resume_token: Option<syntrix_storage_core::ResumeToken>,
) -> Result<Page> {
    let more = documents.len() > plan.limit();
    documents.truncate(plan.limit());
    let next = match documents.last() {
        Some(last) if more => Some(plan.cursor_after(last)?),
        _ => None,
    };
    Ok(Page { documents, next, resume_token })
}
