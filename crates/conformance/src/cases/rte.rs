//! Routes: what is written arrives on the shadow as it is, and no read is older than it may be.

use std::time::Duration;

use serde_json::{Value, json};
use syntrix_storage_core::{
    BulkItem, Consistency, Document, DocumentPath, ITEMS_MAX, Operator, Patch, Query, QueryOptions,
    ReadOptions, Result, Retention,
};

use super::rte_steps::{
    at_path, expect_equal_sides, find, mirror_late, plant, read, shadow, with_data,
};
use super::steps::{create, everything, expect_not_found, fill, get, ids_of, in_tasks, patch};
use crate::case::case;
use crate::harness::Route;
use crate::{Case, CaseResult, Context, expect, expect_equal};

/// Rounds of a write and its reads.
const ROUNDS: i64 = 20;
/// Updates of each of two handles that write one document.
const UPDATES: i64 = 20;
/// Documents on three pages, and how many on each.
const DOCUMENTS: usize = 30;
const PAGE: u32 = 10;

pub(super) static CASES: &[Case] = &[
    case!(
        "RTE-02",
        Rte,
        "What is created, updated, patched, deleted and revived is the same on both sides.",
        "Writes that are made again on the shadow, with versions and times of its own.",
        [],
        async |context| { every_write_arrives(&context).await }
    ),
    case!(
        "RTE-07",
        Rte,
        "Updates of one document by two handles end as the primary's last one on both sides.",
        "A shadow that takes writes in the order in which they come to it.",
        [Shared],
        async |context| { the_primarys_order_counts(&context).await }
    ),
    case!(
        "RTE-14",
        Rte,
        "A route that was dropped is filled again with what was written meanwhile.",
        "A shadow that believes in a checkpoint behind which nobody has followed.",
        [Durable],
        async |context| { filled_again(&context).await }
    ),
    case!(
        "RTE-18",
        Rte,
        "A handle sees its own writes in its next reads, whichever side answers.",
        "A read of a shadow that the write has not reached yet.",
        [],
        async |context| {
            // Means nothing without one.
            context.route()?;
            for n in 0..ROUNDS {
                own_writes_are_seen(&context, n).await?;
            }
            Ok(())
        }
    ),
    case!(
        "RTE-19",
        Rte,
        "A read that allows no age sees at once what somebody wrote who knows no shadow.",
        "A shadow that is taken for fresh because nothing is known to be missing.",
        [],
        async |context| { no_age_is_the_primarys(&context).await }
    ),
    case!(
        "RTE-27",
        Rte,
        "Later pages are no older than what the handle wrote since the first one.",
        "A cursor that leads to a side which is behind the one it came from.",
        [],
        async |context| { later_pages_are_not_older(&context).await }
    ),
];

async fn every_write_arrives(context: &Context) -> CaseResult {
    let (route, store) = (context.route()?, context.store());
    let path = |name| context.path(name);
    let paths = [path("a")?, path("b")?, path("c")?, path("d")?, path("e")?, path("f")?];
    let [_created, updated, patched, deleted, revived, twice] = &paths;
    for path in &paths {
        let data = json!({"n": 1, "deep": {"list": [1, 2.5, null, "ü"]}});
        create(context, path, data).await?;
    }
    context.clock().advance(Duration::from_secs(1));
    // Beyond 2^53, where a copy that goes through a float is another number.
    store.update(updated, json!({"n": 9_007_199_254_740_993_i64}), Default::default()).await?;
    patch(context, patched, Patch::new().set("deep.added", true).remove("n")).await?;
    store.delete(deleted, Default::default()).await?;
    store.delete(revived, Default::default()).await?;
    context.clock().advance(Duration::from_secs(1));
    create(context, revived, json!({"n": 2})).await?;
    update_twice(context, twice).await?;
    expect_equal_sides(&*route, &paths).await?;
    // What a mirror wrote otherwise would have been put right by now.
    expect_equal(route.lineage().await?, 0, "records that had to be replaced")
}

/// Both in one call.
async fn update_twice(context: &Context, path: &DocumentPath) -> CaseResult {
    let update = |n| {
        let (path, data, preconditions) = (path.clone(), json!({"n": n}), Vec::new());
        BulkItem::Update { path, data, preconditions }
    };
    let items = vec![update(1), update(2)];
    for result in context.store().bulk(items, Default::default()).await? {
        result?;
    }
    Ok(())
}

async fn the_primarys_order_counts(context: &Context) -> CaseResult {
    let (route, path) = (context.route()?, context.unique_path()?);
    let first = create(context, &path, json!({"n": 0})).await?;
    let stores = [context.store(), context.second_handle().await?.documents()?];
    let updating = in_tasks(stores.len(), |number| {
        let (store, path) = (stores[number].clone(), path.clone());
        async move {
            for n in 0..UPDATES {
                let data = json!({"handle": number, "n": n});
                store.update(&path, data, Default::default()).await?;
            }
            Ok(())
        }
    });
    updating.await?;
    let last = read(&route.primary(), &path).await?.version();
    expect_equal(last.get(), 1 + 2 * UPDATES, "the primary's version")?;
    route.drain().await?;
    mirror_late(&shadow(&*route)?, first).await?;
    expect_equal_sides(&*route, &[path]).await
}

/// A shadow that is filled again has what was written while nobody followed, and no longer what the primary has forgotten meanwhile
/// or never had: no feed tells of that.
async fn filled_again(context: &Context) -> CaseResult {
    let name = |n| format!("d{n:02}");
    let path = |n| context.path(&name(n));
    let route = context.route()?;
    let shadow = shadow(&*route)?;
    fill(context, (0..30).map(|n| (name(n), json!({"n": n})))).await?;
    route.drain().await?;
    route.drop_route().await?;
    for n in 0..10 {
        context.store().update(&path(n)?, json!({"n": -n}), Default::default()).await?;
        context.store().delete(&path(n + 10)?, Default::default()).await?;
        create(context, &path(n + 30)?, json!({"n": n})).await?;
    }
    forget_tombstones(context).await?;
    plant(&shadow, at_path(&read(&shadow, &path(0)?).await?, context.path("phantom")?)).await?;
    expect_equal(find(&shadow, &path(30)?).await?, None, "what nobody brought to the shadow")?;
    // They hold on to what is closed now.
    drop((route, shadow));
    context.reopen().await?;
    let kept = (0..10).chain(20..40).map(path).collect::<CaseResult<Vec<_>>>()?;
    expect_equal_sides(&*context.route()?, &kept).await
}

/// Removes every tombstone of the primary.
async fn forget_tombstones(context: &Context) -> CaseResult {
    context.clock().advance(Retention::default().soft_delete() * 2);
    let purged = context.admin().purge_expired(ITEMS_MAX).await?.purged;
    expect_equal(purged, 10, "tombstones that were purged")
}

/// Each kind of read, behind each kind of write.
async fn own_writes_are_seen(context: &Context, n: i64) -> CaseResult {
    let (store, path) = (context.store(), context.unique_path()?);
    create(context, &path, json!({"n": n, "old": true})).await?;
    expect_seen(context, &path, n, json!({"n": n, "old": true})).await?;
    store.update(&path, json!({"n": n}), Default::default()).await?;
    expect_seen(context, &path, n, json!({"n": n})).await?;
    store.delete(&path, Default::default()).await?;
    expect_not_found(context, &path).await?;
    expect_equal(context.ids(by_number(context, n)?).await?.len(), 0, "found behind a delete")
}

async fn expect_seen(context: &Context, path: &DocumentPath, n: i64, data: Value) -> CaseResult {
    expect_equal(get(context, path).await?.value()?, data.clone(), "what get sees")?;
    let many = context.store().get_many(std::slice::from_ref(path), Default::default()).await?;
    let many = many.iter().flatten().map(|found| found.value()).collect::<Result<Vec<_>>>()?;
    expect_equal(many, [data.clone()], "what get_many sees")?;
    let page = context.query(by_number(context, n)?).await?;
    let found = page.documents.iter().map(|found| found.value()).collect::<Result<Vec<_>>>()?;
    expect_equal(found, [data], "what a query sees")
}

fn by_number(context: &Context, n: i64) -> CaseResult<Query> {
    Ok(everything(context)?.filter("n", Operator::Equal, n)?)
}

async fn no_age_is_the_primarys(context: &Context) -> CaseResult {
    let (route, path) = (context.route()?, context.unique_path()?);
    create(context, &path, json!({"n": 0})).await?;
    for _ in 0..ROUNDS {
        let current = read(&route.primary(), &path).await?;
        let next = with_data(&current, current.version().next(), r#"{"n":1}"#);
        plant(&route.primary(), next.clone()).await?;
        for consistency in [Consistency::Bounded(Duration::ZERO), Consistency::Strong] {
            let options = ReadOptions::default().with_consistency(consistency);
            let seen = context.store().get(&path, options).await?.version();
            expect_equal(seen, next.version(), format_args!("what {consistency:?} sees"))?;
        }
    }
    Ok(())
}

async fn later_pages_are_not_older(context: &Context) -> CaseResult {
    let route = context.route()?;
    fill(context, (0..DOCUMENTS).map(|n| (format!("d{n:02}"), json!({"n": n})))).await?;
    let query = everything(context)?.limit(PAGE);
    let mut page = context.query(query.clone()).await?;
    let (mut seen, mut deleted) = (page.documents.len(), 0);
    while let Some(cursor) = page.next.take() {
        let behind = query.clone().after(cursor);
        let following = context.query(behind.clone()).await?;
        let Some(gone) = following.documents.first() else { break };
        if deleted == 0 {
            delete_unmirrored(context, &*route, gone).await?;
        } else {
            context.store().delete(gone.path(), Default::default()).await?;
        }
        page = context.query(behind).await?;
        let is_there = ids_of(&page).iter().any(|id| id == gone.id());
        expect(!is_there, format_args!("{} was deleted, and is there", gone.path()))?;
        (seen, deleted) = (seen + page.documents.len(), deleted + 1);
    }
    expect_equal(seen + deleted, DOCUMENTS, "documents on a page or deleted")
}

/// Deletes as somebody who knows no shadow, and reads a page that shows it, so that no later one may be older.
async fn delete_unmirrored(context: &Context, route: &dyn Route, gone: &Document) -> CaseResult {
    let now = gone.updated_at();
    plant(&route.primary(), gone.tombstone(now)).await?;
    let strong = QueryOptions::default().with_consistency(Consistency::Strong);
    context.store().query(everything(context)?.limit(PAGE), strong).await?;
    Ok(())
}
