//! Documents: limits, neighbours, copies, times, and reading many at once.

use std::time::Duration;

use serde_json::{Map, Value, json};
use syntrix_storage_core::{
    CollectionPath, Document, DocumentPath, ITEMS_MAX, Query, Reason, Timestamp,
};

use super::steps::{create, expect_not_found, expect_unchanged, fill, get, refuse_data};
use crate::case::case;
use crate::{Case, CaseResult, Setup, expect, expect_equal, expect_reason};

const DEPTH_MAX: usize = 64;
const BYTES_MAX: usize = 1 << 20;

pub(super) static CASES: &[Case] = &[
    case!(
        "DOC-32",
        Doc,
        "64 levels of objects and arrays are stored; one more is refused, as are a thousand.",
        "Stack overflow in a codec, and limits that differ between backends.",
        [],
        async |context| {
            for deepest in [nested_objects(DEPTH_MAX), nested_arrays(DEPTH_MAX)] {
                let path = context.unique_path()?;
                let created = create(&context, &path, deepest.clone()).await?;
                expect_equal(get(&context, &path).await?.value()?, deepest, "64 levels")?;
                expect_unchanged(&context, &created).await?;
            }
            for levels in [DEPTH_MAX + 1, 1000] {
                refuse_data(&context, nested_objects(levels), Reason::TooDeep).await?;
                refuse_data(&context, nested_arrays(levels), Reason::TooDeep).await?;
            }
            Ok(())
        }
    ),
    case!(
        "DOC-33",
        Doc,
        "1 MiB of JSON is stored; one byte more is refused, and the store works on.",
        "Limits of a driver or a page size in place of ours; a connection lost over a large body.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let created = create(&context, &path, body_of(BYTES_MAX)).await?;
            expect_equal(created.raw().len(), BYTES_MAX, "bytes of the largest body")?;
            expect_unchanged(&context, &created).await?;
            let worst = json!({"zeros": vec![0; (BYTES_MAX - 12) / 2]});
            context.store().update(&path, worst.clone(), Default::default()).await?;
            expect(get(&context, &path).await?.value()? == worst, "half a million numbers")?;

            refuse_data(&context, body_of(BYTES_MAX + 1), Reason::TooLarge).await?;
            let own_id = json!({"id": path.id(), "s": "x".repeat(BYTES_MAX - 8)});
            context.store().update(&path, own_id, Default::default()).await?;
            create(&context, &context.unique_path()?, json!({"n": 1})).await?;
            Ok(())
        }
    ),
    case!(
        "DOC-34",
        Doc,
        "2000 fields come back, whatever order they were given in.",
        "Column and parameter limits, and equality that depends on member order.",
        [],
        async |context| {
            let members = |numbers: &mut dyn Iterator<Item = u32>| -> Value {
                numbers
                    .map(|number| (format!("f{number}"), json!(number)))
                    .collect::<Map<_, _>>()
                    .into()
            };
            let path = context.unique_path()?;
            let created = create(&context, &path, members(&mut (0..2000).rev())).await?;
            expect_equal(get(&context, &path).await?.value()?, members(&mut (0..2000)), "data")?;
            expect_unchanged(&context, &created).await
        }
    ),
    case!(
        "DOC-35",
        Doc,
        "One id in two collections and in two stores is three documents.",
        "Keys made of the id alone, and stores that share a table without telling apart.",
        [],
        async |context| {
            let (first, second) = (context.path("same")?, DocumentPath::parse("elsewhere/same")?);
            let other = context.other_store().await?.documents()?;
            let created = create(&context, &first, json!({"n": 1})).await?;
            create(&context, &second, json!({"n": 2})).await?;
            other.create(&first, json!({"n": 3}), Default::default()).await?;

            context.store().update(&second, json!({"n": 4}), Default::default()).await?;
            expect_unchanged(&context, &created).await?;
            other.delete(&first, Default::default()).await?;
            expect_unchanged(&context, &created).await?;
            context.store().delete(&first, Default::default()).await?;
            expect_equal(get(&context, &second).await?.value()?, json!({"n": 4}), "the neighbour")
        }
    ),
    case!(
        "DOC-36",
        Doc,
        "A document below another one is independent of it.",
        "Deletes that cascade, and collections that show the documents below them.",
        [],
        async |context| {
            let (above, below) = (context.path("1")?, DocumentPath::parse("case/1/parts/2")?);
            let part = create(&context, &below, json!({"part": 2})).await?;
            expect_not_found(&context, &above).await?;
            create(&context, &above, json!({"whole": 1})).await?;
            context.store().delete(&above, Default::default()).await?;
            expect_unchanged(&context, &part).await?;

            let parts = Query::of(CollectionPath::parse("case/1/parts")?);
            expect_equal(context.ids(parts).await?, ["2"], "the lower collection")?;
            let none = context.ids(Query::of(context.collection()?)).await?;
            expect(none.is_empty(), "the upper collection does not show the lower document")
        }
    ),
    case!(
        "DOC-37",
        Doc,
        "Changing what a read returned changes nothing in the store.",
        "Data shared between the store and its callers.",
        [],
        async |context| {
            let path = context.unique_path()?;
            let created = create(&context, &path, json!({"list": [1, 2], "n": 1})).await?;
            let mut value = get(&context, &path).await?.value()?;
            value["list"] = json!("changed");
            let mut returned = created.value()?;
            returned["n"] = json!(2);
            expect_equal(
                get(&context, &path).await?.value()?,
                json!({"list": [1, 2], "n": 1}),
                "data",
            )?;
            expect_unchanged(&context, &created).await
        }
    ),
    case!(
        "DOC-39",
        Doc,
        "Times are the clock's milliseconds as they are, and updatedAt never goes back.",
        "Seconds, rounding, the database's clock or zone, and a clock that was set back.",
        [],
        async |context| {
            let (path, clock) = (context.unique_path()?, context.clock());
            for moment in [Setup::START_MS + 999, Setup::START_MS + 86_399_999, 1] {
                clock.set(moment);
                let created = create(&context, &context.unique_path()?, json!({})).await?;
                let read = get(&context, created.path()).await?;
                expect_equal(read.created_at(), Timestamp::from_milliseconds(moment), "createdAt")?;
                expect_equal(read.updated_at(), Timestamp::from_milliseconds(moment), "updatedAt")?;
            }
            clock.set(Setup::START_MS + 5000);
            let created = create(&context, &path, json!({"n": 1})).await?;
            clock.set(Setup::START_MS);
            let updated =
                context.store().update(&path, json!({"n": 2}), Default::default()).await?;
            expect_equal(updated.document.updated_at(), created.updated_at(), "updatedAt")?;
            expect_unchanged(&context, &updated.document).await?;

            let tombstone = context.store().delete(&path, Default::default()).await?.document;
            expect_equal(
                tombstone.updated_at(),
                created.updated_at(),
                "updatedAt of the tombstone",
            )?;
            let revived = create(&context, &path, json!({"n": 1})).await?;
            expect_equal(
                revived.updated_at(),
                created.updated_at(),
                "updatedAt after a new create",
            )?;
            expect_unchanged(&context, &revived).await?;

            clock.advance(Duration::from_millis(5001));
            let updated =
                context.store().update(&path, json!({"n": 3}), Default::default()).await?;
            let moved = Timestamp::from_milliseconds(Setup::START_MS + 5001);
            expect_equal(updated.document.updated_at(), moved, "updatedAt once the clock is ahead")
        }
    ),
    case!(
        "DOC-40",
        Doc,
        "Reading many answers in the order asked: present, missing, deleted and repeated.",
        "Answers in the database's order, dropped gaps, and repeats answered once.",
        [],
        async |context| {
            fill(&context, [("a", json!({"n": 1})), ("b", json!({"n": 2})), ("gone", json!({}))])
                .await?;
            context.store().delete(&context.path("gone")?, Default::default()).await?;
            let asked = ["b", "missing", "a", "gone", "b", "a"];
            let paths = asked.iter().map(|id| context.path(id)).collect::<CaseResult<Vec<_>>>()?;
            let elsewhere = DocumentPath::parse("elsewhere/a")?;
            let paths: Vec<_> = paths.into_iter().chain([elsewhere]).collect();

            let found = context.store().get_many(&paths, Default::default()).await?;
            let ids: Vec<_> = found.iter().map(|found| found.as_ref().map(Document::id)).collect();
            let expected = [Some("b"), None, Some("a"), None, Some("b"), Some("a"), None];
            expect_equal(ids, expected, "ids")?;
            for found in found.iter().flatten() {
                expect_unchanged(&context, found).await?;
            }
            Ok(())
        }
    ),
    case!(
        "DOC-41",
        Doc,
        "Reading none is an empty answer, 1000 are read, 1001 are refused.",
        "Parameter limits of a driver, and statements that an empty list makes invalid.",
        [],
        async |context| {
            let none = context.store().get_many(&[], Default::default()).await?;
            expect(none.is_empty(), "none for none")?;
            let ids: Vec<_> = (0..=ITEMS_MAX).map(|number| format!("d{number:04}")).collect();
            fill(&context, ids.iter().step_by(2).map(|id| (id.clone(), json!({"id": id})))).await?;
            let mut paths =
                ids.iter().map(|id| context.path(id)).collect::<CaseResult<Vec<_>>>()?;

            let too_many = context.store().get_many(&paths, Default::default()).await;
            expect_reason(too_many, Reason::TooManyItems, "1001 paths")?;
            paths.truncate(ITEMS_MAX);
            let found = context.store().get_many(&paths, Default::default()).await?;
            for (number, (path, found)) in paths.iter().zip(&found).enumerate() {
                let expected = (number % 2 == 0).then_some(path);
                expect_equal(found.as_ref().map(Document::path), expected, "one of 1000")?;
            }
            expect_equal(found.len(), ITEMS_MAX, "answers")
        }
    ),
];

fn nested_objects(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({"a": inner}))
}

/// An object around arrays, `levels` in all.
fn nested_arrays(levels: usize) -> Value {
    json!({"a": (1..levels).fold(json!(1), |inner, _| json!([inner]))})
}

/// Data whose canonical JSON has `bytes` bytes.
fn body_of(bytes: usize) -> Value {
    json!({"s": "x".repeat(bytes - r#"{"s":""}"#.len())})
}
