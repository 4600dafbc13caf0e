//! Closing.

use std::fmt::Debug;
use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{
    BulkItem, ErrorKind, IndexDefinition, OrderBy, Patch, Query, Result, Retention, ScanRequest,
    WatchOptions, WatchStart,
};

use super::steps::{create, fill, get, in_tasks};
use crate::case::case;
use crate::{
    Case, CaseResult, Context, Failure, Watcher, expect_equal, expect_kind, within, within_limit,
};

/// `close` waits up to 5 s for calls in flight.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

pub(super) static CASES: &[Case] = &[
    case!(
        "CLS-01",
        Cls,
        "Closing twice is closing once, also at the same time.",
        "A second close that fails, hangs, or returns before the first one is done.",
        [],
        async |context| {
            context.store().close().await?;
            context.store().close().await?;
            context.handle().close().await?;
            context.handle().close().await?;

            let other = context.other_store().await?;
            let closing = in_tasks(4, |_| {
                let other = other.clone();
                async move { Ok(other.close().await?) }
            });
            within_limit(CLOSE_LIMIT, closing).await??;
            Ok(())
        }
    ),
    case!(
        "CLS-02",
        Cls,
        "After close every operation is refused as closed.",
        "Calls that hang, panic or reconnect after close.",
        [],
        async |context| {
            let path = context.unique_path()?;
            create(&context, &path, json!({})).await?;
            context.store().close().await?;
            within(every_operation_is_closed(&context)).await?
        }
    ),
    case!(
        "CLS-03",
        Cls,
        "Close lets calls in flight finish, refuses the others, and writes nothing in part.",
        "Closing the connection under running writes.",
        [],
        async |context| {
            let tasks = in_tasks(51, |number| {
                let context = context.clone();
                async move {
                    match number {
                        0 => close_store(&context).await,
                        _ => write_until_closed(&context, number).await,
                    }
                }
            });
            let acknowledged: Vec<_> = within_limit(CLOSE_LIMIT, tasks).await??.concat();
            context.reopen().await?;
            if context.capabilities().durable {
                for id in acknowledged {
                    let read = get(&context, &context.path(&id)?).await?;
                    expect_equal(read.value()?, whole(&id), format!("data of {id}"))?;
                }
            }
            Ok(())
        }
    ),
    case!(
        "CLS-04",
        Cls,
        "Close ends every watch with closed.",
        "Watchers that wait for ever on a store that is gone.",
        [Watch],
        async |context| {
            let mut idle = context.watch_all().await?;
            let mut unread = context.watch_all().await?;
            idle.bookmark().await?;
            let ending = tokio::spawn(async move { idle.end(ErrorKind::Closed).await });
            within_limit(CLOSE_LIMIT, context.handle().close()).await??;
            let ended = ending.await;
            ended.map_err(|error| Failure::new(format_args!("the reader died: {error}")))??;
            unread.end(ErrorKind::Closed).await?;
            Ok(())
        }
    ),
    case!(
        "CLS-05",
        Cls,
        "Closing one of two handles leaves the other at work.",
        "One connection with two owners, of which the first to leave closes it.",
        [Shared],
        async |context| {
            let second = context.second_handle().await?;
            let path = context.unique_path()?;
            create(&context, &path, json!({"n": 1})).await?;
            let mut watcher = context.watch_all().await?;
            second.close().await?;

            get(&context, &path).await?;
            create(&context, &context.unique_path()?, json!({})).await?;
            watcher.event().await?;
            let read = second.documents()?.get(&path, Default::default()).await;
            expect_kind(read, ErrorKind::Closed, "get on the closed handle")?;
            Ok(())
        }
    ),
    case!(
        "CLS-07",
        Cls,
        "Dropping a handle without closing it ends its watches and harms nobody else.",
        "Workers and locks that outlive their store.",
        [Shared, Watch],
        async |context| {
            let stray = context.stray_handle().await?;
            let store = stray.documents()?;
            let mut watcher =
                Watcher::new(store.watch(None, WatchStart::Now, WatchOptions::default()).await?);
            drop((stray, store));
            watcher.end(ErrorKind::Closed).await?;
            let path = context.unique_path()?;
            create(&context, &path, json!({})).await?;
            get(&context, &path).await?;
            Ok(())
        }
    ),
    case!(
        "CLS-09",
        Cls,
        "Close and a purge that runs at the same time never wait for each other.",
        "Closing under the very lock that the worker needs to finish.",
        [],
        async |context| {
            for _ in 0..20 {
                delete_many(&context, 50).await?;
                context.clock().advance(Retention::default().soft_delete() * 2);
                let admin = context.admin();
                let purging = tokio::spawn(async move {
                    while admin.purge_expired(5).await?.more {}
                    Ok::<_, syntrix_storage_core::Error>(())
                });
                within_limit(CLOSE_LIMIT, context.handle().close()).await??;
                let purged = within(purging).await?;
                match purged.map_err(|error| Failure::new(format_args!("died: {error}")))? {
                    Ok(()) => {}
                    Err(error) => expect_equal(error.kind(), ErrorKind::Closed, "the purge")?,
                }
                context.reopen().await?;
            }
            Ok(())
        }
    ),
    case!(
        "CLS-11",
        Cls,
        "What was acknowledged right before close is there after opening again.",
        "Acknowledging writes that only a cache has.",
        [Durable],
        async |context| {
            fill(&context, (0..300).map(|n| (format!("d{n}"), json!({"n": n})))).await?;
            let path = context.path("last")?;
            let last = create(&context, &path, json!({"last": true})).await?;
            context.reopen().await?;
            expect_equal(
                get(&context, &path).await?.metadata(),
                last.metadata(),
                "the last write",
            )?;
            let ids = context.ids(Query::of(context.collection()?).limit(1000)).await?;
            expect_equal(ids.len(), 301, "documents")
        }
    ),
    case!(
        "CLS-12",
        Cls,
        "A reader of a watch may close the store it reads from.",
        "Close that waits for a stream which waits for close.",
        [Watch],
        async |context| {
            let mut watcher = context.watch_all().await?;
            create(&context, &context.unique_path()?, json!({})).await?;
            watcher.event().await?;
            within_limit(CLOSE_LIMIT, context.store().close()).await??;
            watcher.end(ErrorKind::Closed).await?;
            Ok(())
        }
    ),
    case!(
        "CLS-14",
        Cls,
        "A store can be closed from another runtime and thread.",
        "Close that needs the runtime the store was opened in, and hangs or panics elsewhere.",
        [],
        async |context| {
            create(&context, &context.unique_path()?, json!({})).await?;
            let handle = context.handle();
            let elsewhere = tokio::task::spawn_blocking(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map(|runtime| runtime.block_on(handle.close()))
            });
            let closed = within_limit(CLOSE_LIMIT, elsewhere).await?;
            let closed = closed.map_err(|error| Failure::new(format_args!("died: {error}")))?;
            closed.map_err(|error| Failure::new(format_args!("no runtime: {error}")))??;
            let read = context.store().get(&context.unique_path()?, Default::default()).await;
            expect_kind(read, ErrorKind::Closed, "get")?;
            Ok(())
        }
    ),
    case!(
        "CLS-15",
        Cls,
        "A store can be opened and closed many times in one process.",
        "Files, sessions and tasks that every opening leaves behind.",
        [],
        async |context| {
            let path = context.path("x")?;
            create(&context, &path, json!({})).await?;
            for _ in 0..200 {
                context.reopen().await?;
            }
            match context.capabilities().durable {
                true => get(&context, &path).await?,
                false => create(&context, &path, json!({})).await?,
            };
            Ok(())
        }
    ),
];

async fn every_operation_is_closed(context: &Context) -> CaseResult {
    let (store, admin) = (context.store(), context.admin());
    let (path, options) = (context.path("x")?, Default::default);
    closed("get", store.get(&path, Default::default()).await)?;
    closed("get_many", store.get_many(std::slice::from_ref(&path), Default::default()).await)?;
    closed("create", store.create(&path, json!({}), options()).await)?;
    closed("update", store.update(&path, json!({}), options()).await)?;
    closed("patch", store.patch(&path, Patch::new().set("a", 1), options()).await)?;
    closed("delete", store.delete(&path, options()).await)?;
    closed("query", store.query(Query::new("case")?, Default::default()).await)?;
    let item = BulkItem::Create { path, data: json!({}) };
    closed("bulk", store.bulk(vec![item], Default::default()).await)?;
    let watch = store.watch(None, WatchStart::Now, WatchOptions::default()).await;
    closed("watch", watch.map(|_| ()))?;

    let fields = vec![OrderBy::new("a", syntrix_storage_core::Direction::Ascending)?];
    let index = IndexDefinition::new("case", fields)?;
    closed("create_index", admin.create_index(&index).await)?;
    closed("drop_index", admin.drop_index(index.name()).await)?;
    closed("list_indexes", admin.list_indexes().await)?;
    closed("scan", admin.scan(ScanRequest::default()).await)?;
    closed("purge_expired", admin.purge_expired(10).await)?;
    closed("health", admin.health().await)
}

fn closed<T: Debug>(operation: &str, result: Result<T>) -> CaseResult {
    let error = expect_kind(result, ErrorKind::Closed, operation)?;
    expect_equal(error.operation(), operation, "operation of the error")
}

async fn close_store(context: &Context) -> CaseResult<Vec<String>> {
    // Some writes first, so that close meets the others under way.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    context.store().close().await?;
    Ok(Vec::new())
}

/// Creates documents until the store is closed, or there are enough; the ids of those that were acknowledged.
async fn write_until_closed(context: &Context, writer: usize) -> CaseResult<Vec<String>> {
    let (store, mut acknowledged) = (context.store(), Vec::new());
    for number in 0..200 {
        let id = format!("w{writer}-{number}");
        match store.create(&context.path(&id)?, whole(&id), Default::default()).await {
            Ok(_) => acknowledged.push(id),
            Err(error) => {
                expect_equal(error.kind(), ErrorKind::Closed, "a write that meets close")?;
                break;
            }
        }
        // A store that never has to wait would leave no turn to whoever closes it.
        tokio::task::yield_now().await;
    }
    Ok(acknowledged)
}

fn whole(id: &str) -> serde_json::Value {
    json!({"name": id, "padding": id.repeat(40)})
}

async fn delete_many(context: &Context, count: usize) -> CaseResult {
    for number in 0..count {
        let path = context.path(&format!("d{number}"))?;
        create(context, &path, json!({})).await?;
        context.store().delete(&path, Default::default()).await?;
    }
    Ok(())
}
