//! The document store over a thin backend.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use syntrix_storage_core::backend::{CallContext, DocumentBackend, StoreKind};
use syntrix_storage_core::{
    BulkItem, BulkOptions, CollectionPath, Consistency, Document, DocumentPath, DocumentStore,
    Error, ErrorKind, ITEMS_MAX, Operation, Page, Patch, Query, QueryOptions, QueryPlan,
    ReadOptions, Reason, Result, Retention, SessionToken, WatchOptions, WatchStart, WatchStream,
    WriteOptions, WriteResult, encode_data, normalize_data,
};

use crate::calls::{Calls, deadline};
use crate::index_cache::IndexCache;
use crate::maintenance;
use crate::meter::Meter;
use crate::options::EngineOptions;
use crate::turns::Turns;
use crate::watch::{Hub, WatchCounts};
use crate::write::{self, Intent};

/// A document store over a backend. Dropping it without `close` stops its workers, too.
pub struct DocumentEngine {
    pub(crate) backend: Arc<dyn DocumentBackend>,
    pub(crate) options: EngineOptions,
    pub(crate) retention: Retention,
    pub(crate) calls: Calls,
    pub(crate) indexes: IndexCache,
    pub(crate) turns: Turns,
    hub: Arc<Hub>,
}

impl DocumentEngine {
    /// Starts an engine. Must be called within a tokio runtime, which runs its workers.
    pub fn start(backend: Arc<dyn DocumentBackend>, options: EngineOptions) -> Self {
        let calls =
            Calls::new(Meter::new(StoreKind::Documents, backend.kind()), options.close_timeout);
        let retention = options.retention.unwrap_or_else(|| backend.retention());
        let hub = Hub::new(Arc::clone(&backend), calls.closing());
        maintenance::start_documents(&backend, &options, retention, calls.closing());
        Self {
            backend,
            options,
            retention,
            calls,
            indexes: IndexCache::default(),
            turns: Turns::new(),
            hub,
        }
    }

    /// Who watches through this engine now.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_engine::DocumentEngine;
    ///
    /// fn is_watched(store: &DocumentEngine) -> bool {
    ///     store.watch_counts().subscribers > 0
    /// }
    /// ```
    pub fn watch_counts(&self) -> WatchCounts {
        self.hub.counts()
    }

    async fn find(&self, path: &DocumentPath, options: &ReadOptions) -> Result<Document> {
        let context = self.read_context(options).await?;
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
        let context = self.read_context(options).await?;
        let found = self.backend.get_many(paths, &context).await?;
        Ok(found.into_iter().map(live).collect())
    }

    async fn read_page(&self, query: Query, options: &QueryOptions) -> Result<Page> {
        let plan = self.plan(query).await?;
        let context = CallContext::new(Operation::Query).with_deadline(deadline(options.timeout));
        let consistency = self.consistency(options.consistency, &options.session, &context).await?;
        let context = context.with_consistency(consistency);
        let (documents, resume_token) = if options.resume_token {
            let (documents, position, time) =
                self.backend.query_with_position(&plan, &context).await?;
            (documents, Some(self.backend.token_seal().seal(&position, time)))
        } else {
            (self.backend.query(&plan, &context).await?, None)
        };
        page(&plan, documents, resume_token)
    }

    async fn read_context(&self, options: &ReadOptions) -> Result<CallContext> {
        let context = CallContext::new(Operation::Read).with_deadline(deadline(options.timeout));
        let consistency = self.consistency(options.consistency, &options.session, &context).await?;
        Ok(context.with_consistency(consistency))
    }

    /// How fresh a read must be that must not be older than a write: of this handle's session if that keeps to the write, or if the
    /// write is there, which keeps it there from now on; else strong. An age says nothing of sessions, so with one the primary answers.
    async fn consistency(
        &self,
        asked: Consistency,
        session: &Option<SessionToken>,
        context: &CallContext,
    ) -> Result<Consistency> {
        let Some(token) = session else { return Ok(asked) };
        let write = token.open(self.backend.token_seal().store_id())?;
        if matches!(asked, Consistency::Strong | Consistency::Bounded(_)) {
            return Ok(Consistency::Strong);
        }
        if self.backend.keep_to(&write) {
            return Ok(Consistency::Session);
        }
        let mut any = CallContext::new(Operation::Read).with_consistency(Consistency::Any);
        any.deadline = context.deadline;
        let found = self.backend.get(&write.path, &any).await?;
        Ok(match write.is_in(found.as_ref()) {
            true => Consistency::Session,
            false => Consistency::Strong,
        })
    }

    /// What a caller is told of a write, with what its session token needs.
    fn told(&self, result: Result<WriteResult>) -> Result<WriteResult> {
        result.map(|result| result.of_store(self.backend.token_seal().store_id()))
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
}

#[async_trait]
impl DocumentStore for DocumentEngine {
    async fn get(&self, path: &DocumentPath, options: ReadOptions) -> Result<Document> {
        self.calls.run("get", options.timeout, self.find(path, &options)).await
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        options: ReadOptions,
    ) -> Result<Vec<Option<Document>>> {
        self.calls.run("get_many", options.timeout, self.find_many(paths, &options)).await
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
            self.told(self.insert(path, &body, &write_context(&options)).await)
        };
        self.calls.run("create", options.timeout, work).await
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
            let context = write_context(&options);
            self.told(self.modify(path, &intent, &options.preconditions, &context).await)
        };
        self.calls.run("update", options.timeout, work).await
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
            let context = write_context(&options);
            self.told(self.modify(path, &intent, &options.preconditions, &context).await)
        };
        self.calls.run("patch", options.timeout, work).await
    }

    async fn delete(&self, path: &DocumentPath, options: WriteOptions) -> Result<WriteResult> {
        let work = async {
            write::check_preconditions(&options.preconditions)?;
            let context = write_context(&options);
            self.told(self.modify(path, &Intent::Delete, &options.preconditions, &context).await)
        };
        self.calls.run("delete", options.timeout, work).await
    }

    async fn query(&self, query: Query, options: QueryOptions) -> Result<Page> {
        self.calls.run("query", options.timeout, self.read_page(query, &options)).await
    }

    async fn watch(
        &self,
        collection: Option<&CollectionPath>,
        start: WatchStart,
        options: WatchOptions,
    ) -> Result<WatchStream> {
        self.calls.run("watch", None, self.hub.subscribe(collection, start, options)).await
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
            let results = self.run_bulk(items, &context).await;
            Ok(results.into_iter().map(|result| self.told(result)).collect())
        };
        self.calls.run("bulk", options.timeout, work).await
    }

    async fn close(&self) -> Result<()> {
        let let_go = async {
            self.hub.wait_until_stopped(self.options.close_timeout).await;
            self.backend.close().await
        };
        self.calls.close(let_go).await
    }
}

impl Drop for DocumentEngine {
    fn drop(&mut self) {
        if self.calls.abandon() {
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

fn write_context(options: &WriteOptions) -> CallContext {
    CallContext::new(Operation::Write).with_deadline(deadline(options.timeout))
}

pub(crate) fn check_items(count: usize) -> Result<()> {
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
