//! Documents: create, get, update, delete.

use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{BulkItem, ErrorKind, Retry, Version};

use super::steps::{
    create, everything, expect_never_written, expect_not_found, expect_unchanged, get, id_set,
    strong,
};
use crate::case::case;
use crate::{Case, expect, expect_equal, expect_kind};

pub(super) static CASES: &[Case] = &[
    case!(
        "DOC-01",
        Doc,
        "A created document is read back with its data at version 1.",
        "Losing or changing data on the way in, and metadata that differs between write and read.",
        [],
        async |context| {
            let (path, data) = (context.unique_path()?, json!({"topic": "rust", "seats": 12}));
            let created = create(&context, &path, data.clone()).await?;
            let read = get(&context, &path).await?;

            expect_equal(read.path(), &path, "path")?;
            expect_equal(read.value()?, data, "data")?;
            expect_equal(read.version(), Version::FIRST, "version")?;
            expect_equal(read.created_at(), read.updated_at(), "both times")?;
            expect(!read.is_deleted(), "a live document is not marked deleted")?;
            expect_equal(created.metadata(), read.metadata(), "metadata that create returned")?;
            expect_unchanged(&context, &created).await
        }
    ),
    case!(
        "DOC-02",
        Doc,
        "Creating over a live document is refused and leaves it as it was.",
        "A create that overwrites.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let first = create(&context, &path, json!({"n": 1})).await?;
            context.clock().advance(Duration::from_secs(1));

            let again = store.create(&path, json!({"n": 2}), Default::default()).await;
            let error = expect_kind(again, ErrorKind::AlreadyExists, "second create")?;
            expect_equal(error.retry(), Retry::Never, "retry advice")?;
            expect_unchanged(&context, &first).await?;

            let item = BulkItem::Create { path: path.clone(), data: json!({"n": 3}) };
            let mut results = store.bulk(vec![item], Default::default()).await?;
            expect_equal(results.len(), 1, "results of a bulk of one")?;
            expect_kind(results.remove(0), ErrorKind::AlreadyExists, "create in a bulk")?;
            expect_unchanged(&context, &first).await
        }
    ),
    case!(
        "DOC-03",
        Doc,
        "Creating the same data twice is refused as well.",
        "Equal data making a create idempotent on some backends only.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let first = create(&context, &path, json!({"n": 1})).await?;
            let again = store.create(&path, json!({"n": 1}), Default::default()).await;
            expect_kind(again, ErrorKind::AlreadyExists, "second create")?;
            expect_unchanged(&context, &first).await
        }
    ),
    case!(
        "DOC-04",
        Doc,
        "Reading a missing document is not_found, and the error names path and operation.",
        "Errors that leave the caller to guess which of many reads failed.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let read = context.store().get(&path, Default::default()).await;
            let error = expect_kind(read, ErrorKind::NotFound, "get")?;
            expect_equal(error.fact("path"), Some(path.as_str()), "the fact `path`")?;
            expect_equal(error.operation(), "get", "operation")?;
            expect_equal(error.retry(), Retry::Never, "retry advice")
        }
    ),
    case!(
        "DOC-05",
        Doc,
        "An update counts the version up by one and moves updatedAt, not createdAt.",
        "Versions that skip or stand still, and a creation time that is overwritten.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let created = create(&context, &path, json!({"n": 1})).await?;
            context.clock().advance(Duration::from_millis(1500));
            let updated =
                context.store().update(&path, json!({"n": 2}), Default::default()).await?.document;

            let moved =
                updated.updated_at().as_milliseconds() - created.updated_at().as_milliseconds();
            expect_equal(moved, 1500, "how far updatedAt moved")?;
            expect_equal(updated.version(), created.version().next(), "version")?;
            expect_equal(updated.created_at(), created.created_at(), "createdAt")?;
            expect_equal(updated.value()?, json!({"n": 2}), "data")?;
            expect_unchanged(&context, &updated).await
        }
    ),
    case!(
        "DOC-06",
        Doc,
        "Updating a missing document is not_found and creates nothing.",
        "An update that is an upsert.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let updated = context.store().update(&path, json!({"n": 1}), Default::default()).await;
            expect_kind(updated, ErrorKind::NotFound, "update")?;
            expect_never_written(&context, &path).await
        }
    ),
    case!(
        "DOC-07",
        Doc,
        "An update replaces the data as a whole.",
        "An update that merges, so that a field can never be removed.",
        [],
        async |context| {
            let path = context.unique_path()?;
            create(&context, &path, json!({"old": 1, "both": {"x": 1, "y": 1}})).await?;
            let data = json!({"both": {"y": 2}, "new": 3});
            context.store().update(&path, data.clone(), Default::default()).await?;
            expect_equal(get(&context, &path).await?.value()?, data, "data")
        }
    ),
    case!(
        "DOC-08",
        Doc,
        "An update with the data that is there counts as a write.",
        "A backend that reports fewer changed rows when nothing differs.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let created = create(&context, &path, json!({"n": 1})).await?;
            context.clock().advance(Duration::from_secs(1));
            let updated =
                context.store().update(&path, json!({"n": 1}), Default::default()).await?;
            expect_equal(updated.version(), created.version().next(), "version")?;
            expect(updated.document.updated_at() > created.updated_at(), "updatedAt moved")?;
            expect_unchanged(&context, &updated.document).await
        }
    ),
    case!(
        "DOC-09",
        Doc,
        "A deleted document is gone for get, get_many and query.",
        "Tombstones that show through one of the ways to read.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            create(&context, &path, json!({"n": 1})).await?;
            store.delete(&path, Default::default()).await?;

            expect_not_found(&context, &path).await?;
            let many = store.get_many(std::slice::from_ref(&path), Default::default()).await?;
            expect_equal(many, vec![None], "get_many")?;
            expect(id_set(&context, everything(&context)?).await?.is_empty(), "the query is empty")
        }
    ),
    case!(
        "DOC-10",
        Doc,
        "Deleting a missing document is not_found and leaves no tombstone.",
        "Deletes that always succeed, and tombstones for documents that never were.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let deleted = context.store().delete(&path, Default::default()).await;
            expect_kind(deleted, ErrorKind::NotFound, "delete")?;
            expect_never_written(&context, &path).await
        }
    ),
    case!(
        "DOC-11",
        Doc,
        "Deleting twice is not_found the second time, and the tombstone stays as it was.",
        "A second delete that counts the tombstone's version up or renews its retention.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            create(&context, &path, json!({"n": 1})).await?;
            store.delete(&path, Default::default()).await?;
            let tombstone = context.tombstone(&path).await?;
            context.clock().advance(Duration::from_secs(1));

            let again = store.delete(&path, Default::default()).await;
            expect_kind(again, ErrorKind::NotFound, "second delete")?;
            expect_equal(
                context.tombstone(&path).await?.metadata(),
                tombstone.metadata(),
                "tombstone",
            )
        }
    ),
    case!(
        "DOC-12",
        Doc,
        "A document created after a delete continues the version and is otherwise new.",
        "A version that starts again, so that stale preconditions hold; old data that is kept.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let first = create(&context, &path, json!({"old": 1})).await?;
            store.delete(&path, Default::default()).await?;
            context.clock().advance(Duration::from_secs(1));

            let revived = create(&context, &path, json!({"new": 2})).await?;
            expect_equal(revived.version(), first.version().next().next(), "version")?;
            expect_equal(revived.value()?, json!({"new": 2}), "data")?;
            expect(revived.created_at() > first.created_at(), "createdAt is new")?;
            expect_equal(revived.created_at(), revived.updated_at(), "both times")?;
            expect_unchanged(&context, &revived).await
        }
    ),
    case!(
        "DOC-13",
        Doc,
        "A write is seen at once through a second handle.",
        "A cache in the handle, and replies before the write is visible to others.",
        [Shared],
        async |context| {
            let (path, other) =
                (context.unique_path()?, context.second_handle().await?.documents()?);
            for number in 0..20 {
                let written = match number {
                    0 => create(&context, &path, json!({"n": 0})).await?,
                    _ => {
                        let data = json!({"n": number});
                        context.store().update(&path, data, Default::default()).await?.document
                    }
                };
                let seen = other.get(&path, strong()).await?;
                expect_equal(seen.metadata(), written.metadata(), "what the other handle sees")?;
                expect_equal(seen.value()?, json!({"n": number}), "its data")?;
            }
            context.store().delete(&path, Default::default()).await?;
            let seen = other.get(&path, strong()).await;
            expect_kind(seen, ErrorKind::NotFound, "get after the delete")?;
            Ok(())
        }
    ),
    case!(
        "DOC-14",
        Doc,
        "What was acknowledged is there after the store was closed and opened again.",
        "Data, versions or times lost on restart; a store that is not durable and claims to be.",
        [],
        async |context| {
            let (kept, gone) = (context.unique_path()?, context.unique_path()?);
            create(&context, &kept, json!({"n": 1})).await?;
            context.clock().advance(Duration::from_secs(1));
            let updated =
                context.store().update(&kept, json!({"n": 2.5}), Default::default()).await?;
            create(&context, &gone, json!({})).await?;
            context.store().delete(&gone, Default::default()).await?;
            let tombstone = context.tombstone(&gone).await?;

            context.reopen().await?;
            if !context.capabilities().durable {
                expect_never_written(&context, &kept).await?;
                return expect_never_written(&context, &gone).await;
            }
            expect_unchanged(&context, &updated.document).await?;
            expect_equal(
                context.tombstone(&gone).await?.metadata(),
                tombstone.metadata(),
                "tombstone",
            )
        }
    ),
];
