//! What many cases about documents do.

use std::future::Future;
use std::sync::Arc;

use serde_json::{Value, json};
use syntrix_storage_core::{
    BulkItem, CollectionPath, Consistency, Document, DocumentPath, DocumentStore, ErrorKind,
    Filter, ITEMS_MAX, Page, Patch, Query, ReadOptions, Reason, WriteOptions,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::{CaseResult, Context, Failure, expect, expect_equal, expect_kind, expect_reason};

/// No case has more pages than this; beyond it a cursor goes round in circles.
const PAGES_MAX: usize = 5000;

/// Creates a document and returns it as the store did.
pub(super) async fn create(
    context: &Context,
    path: &DocumentPath,
    data: Value,
) -> CaseResult<Document> {
    Ok(context.store().create(path, data, WriteOptions::default()).await?.document)
}

/// Creates `case/<id>` for each pair, in bulk.
pub(super) async fn fill<I: Into<String>>(
    context: &Context,
    documents: impl IntoIterator<Item = (I, Value)>,
) -> CaseResult {
    fill_collection(context, &context.collection()?, documents).await
}

/// Creates a document of `collection` for each pair, in bulk.
pub(super) async fn fill_collection<I: Into<String>>(
    context: &Context,
    collection: &CollectionPath,
    documents: impl IntoIterator<Item = (I, Value)>,
) -> CaseResult {
    let mut items = Vec::new();
    for (id, data) in documents {
        items.push(BulkItem::Create { path: collection.document(&id.into())?, data });
    }
    for chunk in items.chunks(ITEMS_MAX) {
        for result in context.store().bulk(chunk.to_vec(), Default::default()).await? {
            result?;
        }
    }
    Ok(())
}

/// Reads a document that must be there.
pub(super) async fn get(context: &Context, path: &DocumentPath) -> CaseResult<Document> {
    Ok(context.store().get(path, ReadOptions::default()).await?)
}

/// What reads through one handle ask for that must see the writes of another one, wherever a replica may answer.
pub(super) fn strong() -> ReadOptions {
    ReadOptions::default().with_consistency(Consistency::Strong)
}

/// As [`get`], seeing the writes of every handle.
pub(super) async fn get_latest(context: &Context, path: &DocumentPath) -> CaseResult<Document> {
    Ok(context.store().get(path, strong()).await?)
}

/// Patches a document and returns it as the store did.
pub(super) async fn patch(
    context: &Context,
    path: &DocumentPath,
    patch: Patch,
) -> CaseResult<Document> {
    Ok(context.store().patch(path, patch, WriteOptions::default()).await?.document)
}

/// Options of a write that happens only if all of `conditions` hold.
pub(super) fn only_if(conditions: impl IntoIterator<Item = Filter>) -> WriteOptions {
    conditions.into_iter().fold(WriteOptions::default(), WriteOptions::with_precondition)
}

/// Fails unless the document is as it was: same data, version and times, for `get` and for a query.
pub(super) async fn expect_unchanged(context: &Context, expected: &Document) -> CaseResult {
    let (path, now) = (expected.path(), get(context, expected.path()).await?);
    expect_equal(now.metadata(), expected.metadata(), format_args!("version and times of {path}"))?;
    expect_equal(now.value()?, expected.value()?, format_args!("data of {path}"))?;
    let queried = context.stored(path).await?.map(|document| document.metadata());
    expect_equal(queried, Some(expected.metadata()), format_args!("{path} as a query finds it"))
}

/// Neither create nor update takes `data`, and nothing is written.
pub(super) async fn refuse_data(context: &Context, data: Value, reason: Reason) -> CaseResult {
    let (store, path, there) = (context.store(), context.unique_path()?, context.unique_path()?);
    let created = store.create(&path, data.clone(), Default::default()).await;
    expect_reason(created, reason, "create")?;
    expect_never_written(context, &path).await?;

    let before = create(context, &there, json!({"n": 1})).await?;
    expect_reason(store.update(&there, data, Default::default()).await, reason, "update")?;
    expect_unchanged(context, &before).await
}

/// Fails unless there is neither a document nor a tombstone at `path`.
pub(super) async fn expect_never_written(context: &Context, path: &DocumentPath) -> CaseResult {
    expect_not_found(context, path).await?;
    expect_equal(context.stored(path).await?, None, format_args!("what lies at {path}"))
}

/// Fails unless `get` finds nothing at `path`.
pub(super) async fn expect_not_found(context: &Context, path: &DocumentPath) -> CaseResult {
    let read = context.store().get(path, ReadOptions::default()).await;
    expect_kind(read, ErrorKind::NotFound, format_args!("get {path}"))?;
    Ok(())
}

/// All live documents of the collection `case`.
pub(super) fn everything(context: &Context) -> CaseResult<Query> {
    Ok(Query::of(context.collection()?))
}

/// The ids of a query's first page, sorted: for cases that are not about order.
pub(super) async fn id_set(context: &Context, query: Query) -> CaseResult<Vec<String>> {
    let mut ids = context.ids(query.limit(1000)).await?;
    ids.sort_unstable();
    Ok(ids)
}

/// Fails unless the query finds exactly `expected`, in any order.
pub(super) async fn expect_found(
    context: &Context,
    query: Query,
    expected: &[&str],
    what: &str,
) -> CaseResult {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    expect_equal(id_set(context, query).await?, expected, what)
}

/// Fails unless the query finds exactly `expected` in this order.
pub(super) async fn expect_order(
    context: &Context,
    query: Query,
    expected: &[&str],
    what: &str,
) -> CaseResult {
    expect_equal(context.ids(query.limit(1000)).await?, expected.to_vec(), what)
}

/// All pages of a query, as ids. A page above the limit or an empty one behind a cursor fails the case.
pub(super) async fn pages(
    context: &Context,
    query: Query,
    limit: u32,
) -> CaseResult<Vec<Vec<String>>> {
    let query = query.limit(limit);
    let (mut pages, mut next) = (Vec::new(), query.clone());
    while pages.len() < PAGES_MAX {
        let page = context.query(next).await?;
        expect(page.documents.len() <= limit as usize, "a page is longer than its limit")?;
        expect(
            pages.is_empty() || !page.documents.is_empty(),
            "a cursor led to an empty page although nothing was deleted",
        )?;
        pages.push(ids_of(&page));
        match page.next {
            Some(cursor) => next = query.clone().after(cursor),
            None => return Ok(pages),
        }
    }
    Err(Failure::new("the pages of the query never end"))
}

pub(super) fn ids_of(page: &Page) -> Vec<String> {
    page.documents.iter().map(|document| document.id().to_owned()).collect()
}

/// `ids` in the order in which keys break ties.
pub(super) fn by_key(context: &Context, ids: &[&str]) -> CaseResult<Vec<String>> {
    let path = |id: &&str| context.path(id);
    let mut paths = ids.iter().map(path).collect::<CaseResult<Vec<_>>>()?;
    paths.sort_by_key(|path| *path.key());
    Ok(paths.iter().map(|path| path.id().to_owned()).collect())
}

/// The store, and a second handle on the same data where the backend allows one.
pub(super) async fn stores(context: &Context) -> CaseResult<Vec<Arc<dyn DocumentStore>>> {
    let mut stores = vec![context.store()];
    if context.capabilities().shared {
        stores.push(context.second_handle().await?.documents()?);
    }
    Ok(stores)
}

/// Runs `count` tasks that start together; the first failure fails the case.
pub(super) async fn in_tasks<T, F>(count: usize, task: impl Fn(usize) -> F) -> CaseResult<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = CaseResult<T>> + Send + 'static,
{
    let (mut running, start) = (JoinSet::new(), Arc::new(Barrier::new(count)));
    for number in 0..count {
        let (work, start) = (task(number), Arc::clone(&start));
        running.spawn(async move {
            start.wait().await;
            work.await
        });
    }
    let mut results = Vec::with_capacity(count);
    while let Some(result) = running.join_next().await {
        results.push(result.map_err(|error| Failure::new(format_args!("a task died: {error}")))??);
    }
    Ok(results)
}

/// `key` as a segment of a field path, quoted so that every key can be named.
pub(super) fn quoted(key: &str) -> String {
    format!("`{}`", key.replace('`', "``"))
}
