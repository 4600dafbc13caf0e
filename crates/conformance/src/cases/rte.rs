//! Routes: what is written arrives on the shadow as it is, and no read is older than it may be.

use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{
    BulkItem, Consistency, DocumentPath, ErrorKind, Operator, Patch, Query, QueryOptions,
    ReadOptions,
};

use super::rte_steps::{changed, expect_same_sides, plant, there};
use super::steps::{create, everything, expect_not_found, fill, get, ids_of, in_tasks, patch};
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect, expect_equal, expect_kind};

/// Rounds of a write and its reads.
const ROUNDS: i64 = 20;
/// Updates of each of the handles that write one document.
const UPDATES: i64 = 20;

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
        async |context| {
            let (route, path) = (context.route()?, context.unique_path()?);
            create(&context, &path, json!({"n": 0})).await?;
            let stores = [context.store(), context.second_handle().await?.documents()?];
            in_tasks(stores.len(), |number| {
                let (store, path) = (stores[number].clone(), path.clone());
                async move {
                    for n in 0..UPDATES {
                        let data = json!({"handle": number, "n": n});
                        store.update(&path, data, Default::default()).await?;
                    }
                    Ok(())
                }
            })
            .await?;
            let last = there(&route.primary(), &path).await?.version();
            expect_equal(last.get(), 1 + 2 * UPDATES, "the primary's version")?;
            expect_same_sides(&*route, &[path]).await
        }
    ),
    case!(
        "RTE-14",
        Rte,
        "A route that was given up is filled again with what was written meanwhile.",
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
        async |context| {
            let (route, path) = (context.route()?, context.unique_path()?);
            create(&context, &path, json!({"n": 0})).await?;
            for _ in 0..ROUNDS {
                let current = there(&route.primary(), &path).await?;
                let next = changed(&current, current.version().next(), r#"{"n":1}"#);
                plant(&route.primary(), next.clone()).await?;
                for consistency in [Consistency::Bounded(Duration::ZERO), Consistency::Strong] {
                    let options = ReadOptions::default().with_consistency(consistency);
                    let read = context.store().get(&path, options).await?;
                    let what = format_args!("the version that {consistency:?} reads");
                    expect_equal(read.version(), next.version(), what)?;
                }
            }
            expect_same_sides(&*route, &[path]).await
        }
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
    let names = ["created", "updated", "patched", "deleted", "revived", "twice"];
    let paths = names.map(|name| context.path(name)).into_iter().collect::<CaseResult<Vec<_>>>()?;
    let [_, updated, patched, deleted, revived, twice] = &paths[..] else {
        return Err(Failure::new("six names are six paths"));
    };
    let data = json!({"n": 1, "deep": {"list": [1, 2.5, null, "ü"]}});
    for path in &paths {
        create(context, path, data.clone()).await?;
    }
    context.clock().advance(Duration::from_secs(1));
    store.update(updated, json!({"n": 9007199254740993_i64}), Default::default()).await?;
    patch(context, patched, Patch::new().set("deep.added", true).remove("n")).await?;
    store.delete(deleted, Default::default()).await?;
    store.delete(revived, Default::default()).await?;
    context.clock().advance(Duration::from_secs(1));
    create(context, revived, json!({"n": 2})).await?;
    let update = |n| BulkItem::Update {
        path: twice.clone(),
        data: json!({"n": n}),
        preconditions: Vec::new(),
    };
    for result in store.bulk(vec![update(1), update(2)], Default::default()).await? {
        result?;
    }
    expect_same_sides(&*route, &paths).await
}

/// What a filled shadow has is from the time before; what was deleted meanwhile must not stay.
async fn filled_again(context: &Context) -> CaseResult {
    let route = context.route()?;
    fill(context, (0..30).map(|n| (format!("d{n:02}"), json!({"n": n})))).await?;
    route.drain().await?;
    route.give_up().await?;
    let path = |n| context.path(&format!("d{n:02}"));
    for n in 0..10 {
        context.store().update(&path(n)?, json!({"n": -n}), Default::default()).await?;
        context.store().delete(&path(n + 10)?, Default::default()).await?;
        create(context, &path(n + 30)?, json!({"n": n})).await?;
    }
    drop(route);
    context.reopen().await?;
    let paths = (0..40).map(path).collect::<CaseResult<Vec<_>>>()?;
    expect_same_sides(&*context.route()?, &paths).await
}

/// Each kind of read, behind each kind of write.
async fn own_writes_are_seen(context: &Context, n: i64) -> CaseResult {
    let (store, path) = (context.store(), context.unique_path()?);
    create(context, &path, json!({"n": n, "old": true})).await?;
    expect_seen(context, &path, json!({"n": n, "old": true})).await?;
    store.update(&path, json!({"n": n}), Default::default()).await?;
    expect_seen(context, &path, json!({"n": n})).await?;
    store.delete(&path, Default::default()).await?;
    expect_not_found(context, &path).await?;
    expect_equal(context.ids(by_number(context, n)?).await?.len(), 0, "found behind a delete")
}

async fn expect_seen(
    context: &Context,
    path: &DocumentPath,
    data: serde_json::Value,
) -> CaseResult {
    expect_equal(get(context, path).await?.value()?, data.clone(), "what get sees")?;
    let many = context.store().get_many(std::slice::from_ref(path), Default::default()).await?;
    let many = many.into_iter().flatten().next().map(|found| found.value()).transpose()?;
    expect_equal(many, Some(data.clone()), "what get_many sees")?;
    let number = data["n"].as_i64().unwrap_or_default();
    let page = context.query(by_number(context, number)?).await?;
    let found = page.documents.iter().map(|found| found.value()).collect::<Result<Vec<_>, _>>()?;
    expect_equal(found, [data], "what a query sees")
}

fn by_number(context: &Context, n: i64) -> CaseResult<Query> {
    Ok(everything(context)?.filter("n", Operator::Equal, n)?)
}

async fn later_pages_are_not_older(context: &Context) -> CaseResult {
    context.route()?;
    fill(context, (0..30).map(|n| (format!("d{n:02}"), json!({"n": n})))).await?;
    let query = everything(context)?.limit(10);
    let (mut left, mut next) = (30, query.clone());
    loop {
        let page = context.store().query(next, QueryOptions::default()).await?;
        left -= page.documents.len();
        let Some(cursor) = page.next else { break };
        let behind = query.clone().after(cursor.clone());
        let following = context.store().query(behind.clone(), QueryOptions::default()).await?;
        let Some(gone) = following.documents.first() else { break };
        context.store().delete(gone.path(), Default::default()).await?;
        left -= 1;
        let again = context.store().query(behind.clone(), QueryOptions::default()).await?;
        let gone = gone.id().to_owned();
        expect(!ids_of(&again).contains(&gone), format_args!("{gone} was deleted, and is there"))?;
        next = behind;
    }
    expect_equal(left, 0, "documents that were on no page")?;
    let missing = context.store().get(&context.path("d99")?, ReadOptions::default()).await;
    expect_kind(missing, ErrorKind::NotFound, "what was never there").map(|_| ())
}
