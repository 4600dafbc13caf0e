//! Preconditions on version.

use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{BulkItem, ErrorKind, Filter, Operator, Patch, Retry, Version};

use super::steps::{
    create, expect_never_written, expect_not_found, expect_unchanged, only_if, patch,
};
use crate::case::case;
use crate::{Case, expect_equal, expect_kind};

pub(super) static CASES: &[Case] = &[
    case!(
        "PRE-01",
        Pre,
        "An update at the expected version is applied and counts the version up.",
        "Preconditions that are compared with the wrong thing, for example the new version.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let mut current = create(&context, &path, json!({"n": 0})).await?;
            for number in 1..=5 {
                let options = only_if([Filter::version_is(current.version())]);
                let written = context.store().update(&path, json!({"n": number}), options).await?;
                expect_equal(written.version(), current.version().next(), "version")?;
                current = written.document;
            }
            expect_equal(current.value()?, json!({"n": 5}), "data")?;
            expect_unchanged(&context, &current).await
        }
    ),
    case!(
        "PRE-02",
        Pre,
        "An update at a stale or future version is refused and changes nothing.",
        "Checking the version in one round trip and writing in another.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            create(&context, &path, json!({"n": 1})).await?;
            let current = store.update(&path, json!({"n": 2}), Default::default()).await?.document;
            context.clock().advance(Duration::from_secs(1));
            for version in [1, 3, 0, -1, i64::MAX, i64::MIN].map(Version::new) {
                let stale = only_if([Filter::version_is(version)]);
                let updated = store.update(&path, json!({"n": 3}), stale.clone()).await;
                let error = expect_kind(updated, ErrorKind::PreconditionFailed, "update")?;
                expect_equal(error.retry(), Retry::Never, "retry advice")?;
                expect_unchanged(&context, &current).await?;

                let preconditions = stale.preconditions;
                let item = BulkItem::Update { path: path.clone(), data: json!({}), preconditions };
                let result = store.bulk(vec![item], Default::default()).await?.remove(0);
                expect_kind(result, ErrorKind::PreconditionFailed, "update in a bulk")?;
                expect_unchanged(&context, &current).await?;
            }
            Ok(())
        }
    ),
    case!(
        "PRE-03",
        Pre,
        "A precondition on a missing document is not_found, for update, patch and delete.",
        "Reporting a lost race where there never was a document.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            for condition in [
                Filter::version_is(Version::FIRST),
                Filter::version_is(Version::new(0)),
                Filter::new("n", Operator::Equal, 1)?,
            ] {
                let options = only_if([condition]);
                let updated = store.update(&path, json!({}), options.clone()).await;
                expect_kind(updated, ErrorKind::NotFound, "update")?;
                let patched = store.patch(&path, Patch::new().set("a", 1), options.clone()).await;
                expect_kind(patched, ErrorKind::NotFound, "patch")?;
                expect_kind(store.delete(&path, options).await, ErrorKind::NotFound, "delete")?;
                expect_never_written(&context, &path).await?;
            }
            Ok(())
        }
    ),
    case!(
        "PRE-04",
        Pre,
        "A delete at a stale version is refused; at the current one it is done.",
        "Deletes that do not look at the precondition.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let first = create(&context, &path, json!({"n": 1})).await?;
            let current = patch(&context, &path, Patch::new().set("n", 2)).await?;
            let stale = only_if([Filter::version_is(first.version())]);
            let deleted = store.delete(&path, stale.clone()).await;
            expect_kind(deleted, ErrorKind::PreconditionFailed, "stale delete")?;
            let preconditions = stale.preconditions;
            let item = BulkItem::Delete { path: path.clone(), preconditions };
            let result = store.bulk(vec![item], Default::default()).await?.remove(0);
            expect_kind(result, ErrorKind::PreconditionFailed, "stale delete in a bulk")?;
            expect_unchanged(&context, &current).await?;

            store.delete(&path, only_if([Filter::version_is(current.version())])).await?;
            expect_not_found(&context, &path).await
        }
    ),
    case!(
        "PRE-05",
        Pre,
        "A patch at a stale version is refused and none of it is applied.",
        "Applying the changes one by one.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let first = create(&context, &path, json!({"n": 1, "old": 1})).await?;
            let current = patch(&context, &path, Patch::new().set("n", 2)).await?;
            let stale = only_if([Filter::version_is(first.version())]);
            let changes = Patch::new().set("n", 3).set("new.deep", true).remove("old");
            let patched = store.patch(&path, changes.clone(), stale.clone()).await;
            expect_kind(patched, ErrorKind::PreconditionFailed, "patch")?;
            let preconditions = stale.preconditions;
            let item = BulkItem::Patch { path, patch: changes, preconditions };
            let result = store.bulk(vec![item], Default::default()).await?.remove(0);
            expect_kind(result, ErrorKind::PreconditionFailed, "patch in a bulk")?;
            expect_unchanged(&context, &current).await
        }
    ),
    case!(
        "PRE-06",
        Pre,
        "A failed precondition tells the version that is there.",
        "Callers that need a second read to find out what they lost against.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            create(&context, &path, json!({"n": 1})).await?;
            store.update(&path, json!({"n": 2}), Default::default()).await?;
            for stale in [Filter::version_is(Version::FIRST), Filter::new("n", Operator::Equal, 1)?]
            {
                let updated = store.update(&path, json!({"n": 3}), only_if([stale.clone()])).await;
                let error = expect_kind(updated, ErrorKind::PreconditionFailed, "update")?;
                expect_equal(error.fact("version"), Some("2"), "the fact `version`")?;
                expect_equal(error.fact("path"), Some(path.as_str()), "the fact `path`")?;
                let deleted = store.delete(&path, only_if([stale])).await;
                let error = expect_kind(deleted, ErrorKind::PreconditionFailed, "delete")?;
                expect_equal(error.fact("version"), Some("2"), "the fact `version`")?;
            }
            Ok(())
        }
    ),
];
