//! Soft delete, retention and purge.

use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{
    Document, DocumentPath, ErrorKind, Patch, PurgeReport, Retention, Timestamp, Version,
};

use super::reg::document_config;
use super::steps::{create, everything, expect_not_found, fill, get, id_set, in_tasks};
use crate::case::case;
use crate::{Case, CaseResult, Context, Setup, expect, expect_equal, expect_kind, within};

pub(super) static CASES: &[Case] = &[
    case!(
        "SDL-01",
        Sdl,
        "A deleted document is gone for readers and stays as a tombstone one version later.",
        "Removing the record at once, so that watchers and replicas cannot tell what happened.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let created = create(&context, &path, json!({"n": 1})).await?;
            context.clock().advance(Duration::from_secs(1));
            let deleted = delete(&context, &path).await?;

            expect_not_found(&context, &path).await?;
            let tombstone = context.tombstone(&path).await?;
            expect_equal(tombstone.version(), created.version().next(), "version")?;
            expect_equal(tombstone.created_at(), created.created_at(), "createdAt")?;
            expect_equal(tombstone.updated_at(), after(1000), "updatedAt, when it was deleted")?;
            expect_equal(deleted.metadata(), tombstone.metadata(), "what delete returned")
        }
    ),
    case!(
        "SDL-02",
        Sdl,
        "A tombstone has no data, so no filter or order on data finds it.",
        "Keeping data that its owner deleted.",
        [],
        async |context| {
            use syntrix_storage_core::{Direction, Operator};
            let path = context.unique_path()?;
            create(&context, &path, json!({"n": 1, "secret": "text"})).await?;
            let deleted = delete(&context, &path).await?;

            expect_equal(deleted.value()?, json!({}), "data that delete returned")?;
            expect_equal(context.tombstone(&path).await?.value()?, json!({}), "data")?;
            let all = everything(&context)?.show_deleted(true);
            let filtered = all.clone().filter("n", Operator::Equal, 1)?;
            expect_equal(id_set(&context, filtered).await?, Vec::<String>::new(), "filter")?;
            let ordered = all.order_by("n", Direction::Ascending)?;
            expect_equal(id_set(&context, ordered).await?, Vec::<String>::new(), "order")
        }
    ),
    case!(
        "SDL-03",
        Sdl,
        "A tombstone is neither updated nor patched nor deleted.",
        "Writes that bring a deleted document back by accident.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            create(&context, &path, json!({"n": 1})).await?;
            let deleted = delete(&context, &path).await?;
            context.clock().advance(Duration::from_secs(1));

            let update = store.update(&path, json!({"n": 2}), Default::default()).await;
            expect_kind(update, ErrorKind::NotFound, "update")?;
            let patch = Patch::new().set("n", 2);
            let patched = store.patch(&path, patch, Default::default()).await;
            expect_kind(patched, ErrorKind::NotFound, "patch")?;
            let again = store.delete(&path, Default::default()).await;
            expect_kind(again, ErrorKind::NotFound, "delete")?;
            let tombstone = context.tombstone(&path).await?;
            expect_equal(tombstone.metadata(), deleted.metadata(), "the tombstone")
        }
    ),
    case!(
        "SDL-04",
        Sdl,
        "Creating over a tombstone starts a new life at the next version.",
        "A version that starts again, so that an old `version == 1` suddenly holds.",
        [],
        async |context| {
            let path = context.unique_path()?;
            create(&context, &path, json!({"old": true})).await?;
            let deleted = delete(&context, &path).await?;
            context.clock().advance(Duration::from_secs(1));
            let revived = create(&context, &path, json!({"new": true})).await?;

            expect_equal(revived.version(), deleted.version().next(), "version")?;
            expect_equal(revived.created_at(), after(1000), "createdAt")?;
            expect_equal(revived.updated_at(), after(1000), "updatedAt")?;
            let read = get(&context, &path).await?;
            expect_equal(read.metadata(), revived.metadata(), "what get sees")?;
            expect_equal(read.value()?, json!({"new": true}), "data")
        }
    ),
    case!(
        "SDL-05",
        Sdl,
        "A second delete does not move the time of the first.",
        "Prolonging a tombstone's life with every attempt to delete it again.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            create(&context, &path, json!({})).await?;
            delete(&context, &path).await?;
            context.clock().advance(Duration::from_secs(60));
            let again = store.delete(&path, Default::default()).await;
            expect_kind(again, ErrorKind::NotFound, "second delete")?;
            let tombstone = context.tombstone(&path).await?;
            expect_equal(tombstone.updated_at(), after(0), "when it was deleted")
        }
    ),
    case!(
        "SDL-06",
        Sdl,
        "A purge leaves a tombstone alone until its retention is over.",
        "Retention that counts from the wrong moment, or is off by the unit.",
        [],
        async |context| {
            let path = context.unique_path()?;
            create(&context, &path, json!({})).await?;
            delete(&context, &path).await?;

            context.clock().advance(Retention::default().soft_delete());
            expect_equal(purge(&context, 100).await?.purged, 0, "purged at the last moment")?;
            context.tombstone(&path).await?;
            context.clock().advance(Duration::from_millis(1));
            expect_equal(purge(&context, 100).await?.purged, 1, "purged afterwards")?;
            expect_equal(context.stored(&path).await?, None, "what is left")?;
            expect_not_found(&context, &path).await
        }
    ),
    case!(
        "SDL-07",
        Sdl,
        "A purge says how many it removed, and a second one finds nothing.",
        "Counts that are guesses.",
        [],
        async |context| {
            fill_tombstones(&context, 7).await?;
            create(&context, &context.path("live")?, json!({})).await?;
            expire(&context);
            let expected = PurgeReport { purged: 7, more: false };
            expect_equal(purge(&context, 100).await?, expected, "first purge")?;
            expect_equal(purge(&context, 100).await?, PurgeReport::default(), "second purge")
        }
    ),
    case!(
        "SDL-08",
        Sdl,
        "A purge stops at its limit and says that there is more.",
        "One purge that blocks writers for as long as there are tombstones.",
        [],
        async |context| {
            fill_tombstones(&context, 7).await?;
            expire(&context);
            let first = purge(&context, 5).await?;
            expect_equal(first, PurgeReport { purged: 5, more: true }, "first purge")?;
            let left = context.ids(everything(&context)?.show_deleted(true)).await?;
            expect_equal(left.len(), 2, "tombstones left")?;
            let second = purge(&context, 5).await?;
            expect_equal(second, PurgeReport { purged: 2, more: false }, "second purge")
        }
    ),
    case!(
        "SDL-09",
        Sdl,
        "A purge never removes a live document, even one that is being re-created.",
        "Looking for tombstones in one step and removing what has their key in another.",
        [],
        async |context| {
            const COUNT: usize = 200;
            fill_tombstones(&context, COUNT).await?;
            expire(&context);
            let tasks = in_tasks(5, |number| {
                let context = context.clone();
                async move {
                    match number {
                        0 => purge_all(&context).await,
                        _ => revive(&context, number - 1, COUNT).await,
                    }
                }
            });
            within(tasks).await??;
            purge_all(&context).await?;
            let live = id_set(&context, everything(&context)?).await?;
            expect_equal(live.len(), COUNT, "documents that are still there")
        }
    ),
    case!(
        "SDL-10",
        Sdl,
        "History that would outlive the tombstones is refused in the configuration.",
        "A watcher that resumes behind a purge and never learns of the deletion.",
        [],
        async |context| {
            let settings = "softDeleteRetention: 1h, watchRetention: 2h";
            let yaml = document_config(&context, settings);
            let checked = context.harness().check_config(&yaml, &[]).await;
            expect_kind(checked, ErrorKind::ConfigInvalid, "2h of history, 1h of tombstones")?;
            let settings = "softDeleteRetention: 2h, watchRetention: 2h";
            let yaml = document_config(&context, settings);
            context.harness().check_config(&yaml, &[]).await?;
            Ok(())
        }
    ),
    case!(
        "SDL-11",
        Sdl,
        "Without retention a tombstone goes with the first purge after its delete.",
        "Reading a retention of zero as none at all, and keeping tombstones for ever.",
        [],
        async |context| {
            context.reopen_with_retention(Retention::new(Duration::ZERO, Duration::ZERO)?).await?;
            let path = context.unique_path()?;
            create(&context, &path, json!({})).await?;
            delete(&context, &path).await?;
            context.tombstone(&path).await?;
            context.clock().advance(Duration::from_millis(1));
            expect_equal(purge(&context, 100).await?.purged, 1, "purged")?;
            expect_equal(context.stored(&path).await?, None, "what is left")
        }
    ),
    case!(
        "SDL-12",
        Sdl,
        "After a purge the path is as if it had never been used.",
        "Traces of a purged document: an old version, an old creation time.",
        [],
        async |context| {
            let path = context.unique_path()?;
            create(&context, &path, json!({"old": true})).await?;
            delete(&context, &path).await?;
            expire(&context);
            purge(&context, 100).await?;
            let now = Timestamp::from_milliseconds(context_now(&context));
            let created = create(&context, &path, json!({"new": true})).await?;
            expect_equal(created.version(), Version::FIRST, "version")?;
            expect_equal((created.created_at(), created.updated_at()), (now, now), "times")?;
            expect_equal(get(&context, &path).await?.value()?, json!({"new": true}), "data")
        }
    ),
    case!(
        "SDL-19",
        Sdl,
        "A clock that goes back revives nothing, removes nothing early, and moves no time back.",
        "Trusting the clock to go forward.",
        [],
        async |context| {
            let (live, dead) = (context.path("live")?, context.path("dead")?);
            create(&context, &live, json!({"n": 1})).await?;
            create(&context, &dead, json!({})).await?;
            delete(&context, &dead).await?;
            context.clock().set(Setup::START_MS - 3_600_000);

            expect_not_found(&context, &dead).await?;
            expect_equal(purge(&context, 100).await?.purged, 0, "purged")?;
            let patch = Patch::new().set("n", 2);
            let patched = context.store().patch(&live, patch, Default::default()).await?.document;
            expect_equal(patched.updated_at(), after(0), "updatedAt of the patched document")?;
            let revived = create(&context, &dead, json!({})).await?;
            expect_equal(revived.updated_at(), after(0), "updatedAt of the revived document")?;
            expect(revived.created_at() <= revived.updated_at(), "created before it was updated")
        }
    ),
];

async fn delete(context: &Context, path: &DocumentPath) -> CaseResult<Document> {
    Ok(context.store().delete(path, Default::default()).await?.document)
}

async fn purge(context: &Context, limit: usize) -> CaseResult<PurgeReport> {
    Ok(context.admin().purge_expired(limit).await?)
}

async fn purge_all(context: &Context) -> CaseResult {
    while purge(context, 10).await?.more {}
    Ok(())
}

/// Deletes `case/t0`, `case/t1`, … right after creating them.
async fn fill_tombstones(context: &Context, count: usize) -> CaseResult {
    use syntrix_storage_core::BulkItem;
    fill(context, (0..count).map(|number| (format!("t{number}"), json!({})))).await?;
    let deletion = |number| {
        let path = context.path(&format!("t{number}"))?;
        Ok(BulkItem::Delete { path, preconditions: Vec::new() })
    };
    let items = (0..count).map(deletion).collect::<CaseResult<_>>()?;
    for result in context.store().bulk(items, Default::default()).await? {
        result?;
    }
    Ok(())
}

/// Re-creates every fourth of `count` documents from `first` on.
async fn revive(context: &Context, first: usize, count: usize) -> CaseResult {
    for number in (first..count).step_by(4) {
        create(context, &context.path(&format!("t{number}"))?, json!({})).await?;
    }
    Ok(())
}

/// Moves the clock to where every tombstone there is has expired.
fn expire(context: &Context) {
    context.clock().advance(Retention::default().soft_delete() + Duration::from_millis(1));
}

fn context_now(context: &Context) -> i64 {
    use syntrix_storage_core::Clock;
    context.clock().now().as_milliseconds()
}

/// `milliseconds` after the clock of a case starts.
fn after(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(Setup::START_MS + milliseconds)
}
