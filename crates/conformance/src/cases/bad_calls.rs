//! Bad input: calls that are refused.

use fastrand::Rng;
use serde_json::{Value, json};
use syntrix_storage_core::{
    ErrorKind, FILTERS_MAX, Filter, IN_VALUES_MAX, LIMIT_MAX, Operator, Patch, Query, Reason,
};

use super::steps::{create, expect_never_written, expect_unchanged, id_set, only_if};
use crate::case::case;
use crate::{Case, expect, expect_equal, expect_kind, expect_reason, within};

pub(super) static CASES: &[Case] = &[
    case!(
        "BAD-07",
        Bad,
        "Data that is no object is refused and changes nothing.",
        "Bodies that are wrapped, or stored as null.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let missing = context.unique_path()?;
            let stored = create(&context, &path, json!({"n": 1})).await?;
            for data in
                [json!([]), json!([{"a": 1}]), json!(1), json!("{}"), json!(true), json!(null)]
            {
                let written = store.create(&missing, data.clone(), Default::default()).await;
                expect_reason(written, Reason::DataNotObject, format!("create {data}"))?;
                let written = store.update(&path, data.clone(), Default::default()).await;
                expect_reason(written, Reason::DataNotObject, format!("update {data}"))?;
                let patch = Patch::from_value(data.clone());
                expect_reason(patch, Reason::DataNotObject, format!("patch {data}"))?;
            }
            expect_never_written(&context, &missing).await?;
            expect_unchanged(&context, &stored).await
        }
    ),
    case!(
        "BAD-09",
        Bad,
        "Unknown operators and operands of the wrong type are refused before anything is read.",
        "Operands that a backend interprets in its own way.",
        [],
        async |_context| {
            for name in ["", "=", "===", "$eq", "not-in", "like", "IN", "contains-any", "<>"] {
                let parsed = name.parse::<Operator>();
                expect_reason(parsed, Reason::OpUnknown, format!("operator {name:?}"))?;
            }
            use Operator::{Contains, Equal, Greater, In, Less, NotEqual};
            let wrong = [
                (Equal, json!([1])),
                (Equal, json!({"$ne": 1})),
                (NotEqual, json!({})),
                (Less, json!(null)),
                (Greater, json!(true)),
                (Less, json!([])),
                (In, json!(1)),
                (In, json!("abc")),
                (In, json!({"0": 1})),
                (In, json!([[1]])),
                (Contains, json!([1])),
                (Contains, json!({"a": 1})),
            ];
            for (operator, operand) in wrong {
                let what = format!("{operator} {operand}");
                expect_reason(Filter::new("n", operator, operand), Reason::OperandType, what)?;
            }
            let long = "x".repeat(513);
            expect_reason(
                Filter::new("n", Equal, long.clone()),
                Reason::OperandTooLong,
                "513 bytes",
            )?;
            let list = Filter::new("n", In, json!([long]));
            expect_reason(list, Reason::OperandTooLong, "513 bytes in a list")?;
            let huge = Filter::new("n", Equal, u64::MAX);
            expect_reason(huge, Reason::NumberOutOfRange, "an integer beyond 64 bits signed")?;
            Ok(())
        }
    ),
    case!(
        "BAD-10",
        Bad,
        "Filters beyond their limits are refused; at the limits they work.",
        "Statements that grow with the input until the server refuses them.",
        [],
        async |context| {
            create(&context, &context.path("x")?, json!({"n": 1})).await?;
            let filters = |count: usize| {
                (0..count).try_fold(Query::of(context.collection()?), |query, _| {
                    Ok::<_, crate::Failure>(query.filter("n", Operator::NotEqual, 2)?)
                })
            };
            expect_equal(id_set(&context, filters(FILTERS_MAX)?).await?, vec!["x"], "20 filters")?;
            let asked = context.store().query(filters(FILTERS_MAX + 1)?, Default::default()).await;
            expect_reason(asked, Reason::TooManyFilters, "21 filters")?;

            let condition = Filter::new("n", Operator::Equal, 1)?;
            let conditions = only_if(vec![condition; FILTERS_MAX + 1]);
            let path = context.path("x")?;
            let written = context.store().update(&path, json!({}), conditions).await;
            expect_reason(written, Reason::TooManyFilters, "21 preconditions")?;

            let values = |count: usize| (1..=count).map(Value::from).collect::<Value>();
            let query = Query::of(context.collection()?);
            let most = query.filter("n", Operator::In, values(IN_VALUES_MAX))?;
            expect_equal(id_set(&context, most).await?, vec!["x"], "100 values")?;
            let more = Filter::new("n", Operator::In, values(IN_VALUES_MAX + 1));
            expect_reason(more, Reason::InTooMany, "101 values")?;
            Ok(())
        }
    ),
    case!(
        "BAD-16",
        Bad,
        "Two hundred generated bad inputs are refused for the reason they should be.",
        "Validation that differs from backend to backend, or depends on luck.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let stored = create(&context, &path, json!({"n": 1})).await?;
            // A fixed seed: the same inputs on every backend and in every run.
            let mut random = Rng::with_seed(16);
            for round in 0..200 {
                let (data, reason) = bad_data(&mut random);
                let what = format!("round {round}, {}", reason.as_str());
                let written = match round % 3 {
                    0 => store.update(&path, data, Default::default()).await,
                    1 => {
                        let missing = context.unique_path()?;
                        store.create(&missing, data, Default::default()).await
                    }
                    _ => {
                        let patch = Patch::from_value(data)?;
                        store.patch(&path, patch, Default::default()).await
                    }
                };
                expect_reason(written, reason, what)?;
            }
            expect_unchanged(&context, &stored).await?;
            expect_equal(
                id_set(&context, Query::of(context.collection()?)).await?.len(),
                1,
                "documents",
            )
        }
    ),
    case!(
        "BAD-17",
        Bad,
        "Input is checked before existence, and existence before preconditions.",
        "Answers that depend on which check a backend happens to make first.",
        [],
        async |context| {
            let (store, missing) = (context.store(), context.unique_path()?);
            let never = || Filter::new("n", Operator::Equal, 99);
            let written = store.update(&missing, json!([]), only_if([never()?])).await;
            expect_reason(written, Reason::DataNotObject, "bad data for a missing document")?;
            let overlap = Patch::new().set("a", 1).set("a.b", 1);
            let written = store.patch(&missing, overlap.clone(), only_if([never()?])).await;
            expect_reason(written, Reason::PatchOverlap, "a bad patch of a missing document")?;
            let written = store.update(&missing, json!({}), only_if([never()?])).await;
            expect_kind(written, ErrorKind::NotFound, "a condition on a missing document")?;

            let path = context.unique_path()?;
            let stored = create(&context, &path, json!({"n": 1})).await?;
            let written = store.create(&path, json!({"version": 1}), Default::default()).await;
            expect_reason(written, Reason::ReservedField, "bad data for a live document")?;
            let written = store.patch(&path, overlap, only_if([never()?])).await;
            expect_reason(written, Reason::PatchOverlap, "a bad patch under a false condition")?;
            let conflict = Patch::new().set("n.x", 1);
            let written = store.patch(&path, conflict, only_if([never()?])).await;
            expect_kind(written, ErrorKind::PreconditionFailed, "a conflict under a false one")?;
            expect_unchanged(&context, &stored).await
        }
    ),
    case!(
        "BAD-18",
        Bad,
        "A refused call leaves no trace: no document, no tombstone, no version, no event.",
        "Checks that come after the first write.",
        [Watch],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let missing = context.unique_path()?;
            let stored = create(&context, &path, json!({"n": 1})).await?;
            let mut watcher = context.watch_all().await?;
            let bad = json!({"deleted": true});
            for path in [&path, &missing] {
                let written = store.create(path, bad.clone(), Default::default()).await;
                expect_reason(written, Reason::ReservedField, "create")?;
                let written = store.update(path, bad.clone(), Default::default()).await;
                expect_reason(written, Reason::ReservedField, "update")?;
                let patch = Patch::new().set("a", 1).set("version", 7);
                let written = store.patch(path, patch, Default::default()).await;
                expect_reason(written, Reason::ReservedField, "patch")?;
            }
            expect_unchanged(&context, &stored).await?;
            expect_never_written(&context, &missing).await?;
            watcher.no_event().await
        }
    ),
    case!(
        "BAD-19",
        Bad,
        "The largest legal limit on an empty collection costs nothing.",
        "Memory reserved for what was asked instead of what is there.",
        [],
        async |context| {
            let query = Query::of(context.collection()?).limit(LIMIT_MAX);
            for _ in 0..100 {
                let page =
                    within(context.store().query(query.clone(), Default::default())).await??;
                expect(page.documents.is_empty() && page.next.is_none(), "an empty last page")?;
            }
            let beyond = query.limit(u32::MAX);
            let asked = context.store().query(beyond, Default::default()).await;
            expect_reason(asked, Reason::Limit, "a limit beyond the largest")?;
            Ok(())
        }
    ),
];

/// Data that breaks one rule, and which.
fn bad_data(random: &mut Rng) -> (Value, Reason) {
    let (mut data, reason) = match random.u8(0..7) {
        0 => (json!({"key\0": 1}), Reason::KeyNul),
        1 => (json!({"k".repeat(random.usize(513..900)): 1}), Reason::KeyTooLong),
        2 => (json!({"text": "a\0b"}), Reason::StringNul),
        3 => (json!({"n": random.u64(1 << 63..=u64::MAX)}), Reason::NumberOutOfRange),
        4 => (json!({"text": "x".repeat((1 << 20) + random.usize(0..9))}), Reason::TooLarge),
        5 => (nested(random.usize(65..90)), Reason::TooDeep),
        _ => {
            let names = ["_id", "fullpath", "version", "deleted", "createdAt", "parent"];
            return (json!({names[random.usize(0..names.len())]: 1}), Reason::ReservedField);
        }
    };
    if reason == Reason::KeyNul || reason == Reason::KeyTooLong {
        // At the top a patch reads a key as a field path; below it, it is a key.
        data = json!({"outer": data});
    }
    (data, reason)
}

/// An object with `levels` levels below it, lists and objects in turn.
fn nested(levels: usize) -> Value {
    let wrap = |inner: Value, level: usize| match level % 2 {
        0 => json!([inner]),
        _ => json!({"a": inner}),
    };
    json!({"a": (0..levels).fold(json!(1), wrap)})
}
