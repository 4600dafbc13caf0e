//! Preconditions on any field, and what a failed one leaves behind.

use std::time::Duration;

use serde_json::{Value, json};
use syntrix_storage_core::{ErrorKind, EventType, Filter, Operator, Patch, Reason, Version};

use super::steps::{
    create, everything, expect_never_written, expect_not_found, expect_unchanged, get, only_if,
    patch,
};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_kind, expect_reason};

pub(super) static CASES: &[Case] = &[
    case!(
        "PRE-07",
        Pre,
        "A condition on a field decides whether the write happens.",
        "Conditions on data that are ignored.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let before = create(&context, &path, json!({"state": "open", "n": 1})).await?;
            let is = |state: &str| Filter::new("state", Operator::Equal, state);
            let closed = store.update(&path, json!({}), only_if([is("closed")?])).await;
            expect_kind(closed, ErrorKind::PreconditionFailed, "update of a closed one")?;
            let deleted = store.delete(&path, only_if([is("closed")?])).await;
            expect_kind(deleted, ErrorKind::PreconditionFailed, "delete of a closed one")?;
            expect_unchanged(&context, &before).await?;

            let options = only_if([is("open")?]);
            let updated = store.update(&path, json!({"state": "closed"}), options.clone()).await?;
            expect_unchanged(&context, &updated.document).await?;
            let again = store.update(&path, json!({"state": "late"}), options).await;
            expect_kind(again, ErrorKind::PreconditionFailed, "the same update again")?;
            expect_unchanged(&context, &updated.document).await
        }
    ),
    case!(
        "PRE-08",
        Pre,
        "A condition holds exactly where a query with the same filter finds the document.",
        "Two evaluators that drift apart.",
        [],
        async |context| {
            let values = json!([null, false, true, 0, 1, 2.5, "", "1", "é", [1], [], {"c": 1}]);
            for stored in values.as_array().into_iter().flatten() {
                agree(&context, json!({"a": {"b": stored}}), stored).await?;
            }
            agree(&context, json!({"a": {}}), &json!("nothing")).await?;
            agree(&context, json!({"a": [{"b": 1}]}), &json!("an array above")).await
        }
    ),
    case!(
        "PRE-09",
        Pre,
        "A condition on a missing field never holds, whatever the operator.",
        "Missing fields that count as null or as different.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let before = create(&context, &path, json!({"there": 1})).await?;
            for operator in OPERATORS {
                let operand = if operator == Operator::In { json!([1]) } else { json!(1) };
                let condition = Filter::new("missing", operator, operand)?;
                let updated = store.update(&path, json!({}), only_if([condition])).await;
                expect_kind(updated, ErrorKind::PreconditionFailed, operator)?;
            }
            let null = Filter::new("missing", Operator::Equal, Value::Null)?;
            let deleted = store.delete(&path, only_if([null])).await;
            expect_kind(deleted, ErrorKind::PreconditionFailed, "== null")?;
            expect_unchanged(&context, &before).await
        }
    ),
    case!(
        "PRE-10",
        Pre,
        "All conditions must hold: one that does not is enough.",
        "Conditions that are joined by or, and a second one on the same field that is lost.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let before = create(&context, &path, json!({"a": 1, "b": 2})).await?;
            let a = |operator, value: i64| Filter::new("a", operator, value);
            let b = |operator, value: i64| Filter::new("b", operator, value);
            for conditions in [
                [a(Operator::Equal, 1)?, b(Operator::Equal, 3)?],
                [a(Operator::Equal, 2)?, b(Operator::Equal, 2)?],
                [a(Operator::Greater, 0)?, a(Operator::Less, 1)?],
                [a(Operator::Less, 1)?, a(Operator::Greater, 0)?],
            ] {
                let patched =
                    store.patch(&path, Patch::new().set("a", 9), only_if(conditions)).await;
                expect_kind(patched, ErrorKind::PreconditionFailed, "one condition fails")?;
                expect_unchanged(&context, &before).await?;
            }
            let both = only_if([a(Operator::Equal, 1)?, b(Operator::Equal, 2)?]);
            store.patch(&path, Patch::new().set("a", 9), both).await?;
            expect_equal(get(&context, &path).await?.value()?, json!({"a": 9, "b": 2}), "data")
        }
    ),
    case!(
        "PRE-11",
        Pre,
        "A version and a condition on data must both hold.",
        "A shortcut for versions that forgets the rest.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let before = create(&context, &path, json!({"a": 1})).await?;
            let version = |number| Filter::version_is(Version::new(number));
            let a = |value: i64| Filter::new("a", Operator::Equal, value);
            for conditions in [
                [version(1), a(2)?],
                [a(2)?, version(1)],
                [version(2), a(1)?],
                [version(1), version(2)],
            ] {
                let updated = store.update(&path, json!({}), only_if(conditions.clone())).await;
                expect_kind(updated, ErrorKind::PreconditionFailed, "update")?;
                let deleted = store.delete(&path, only_if(conditions)).await;
                expect_kind(deleted, ErrorKind::PreconditionFailed, "delete")?;
                expect_unchanged(&context, &before).await?;
            }
            store.update(&path, json!({}), only_if([a(1)?, version(1)])).await?;
            Ok(())
        }
    ),
    case!(
        "PRE-12",
        Pre,
        "An operand of another type than the field makes the condition fail, no other error.",
        "Database errors from comparing text with numbers, and comparisons across types.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let data =
                json!({"number": 5, "text": "5", "flag": true, "list": [5], "object": {"a": 5}});
            let before = create(&context, &path, data).await?;
            for (field, operator, operand) in [
                ("number", Operator::Equal, json!("5")),
                ("number", Operator::Less, json!("9")),
                ("text", Operator::Equal, json!(5)),
                ("text", Operator::Greater, json!(1)),
                ("flag", Operator::Equal, json!(1)),
                ("flag", Operator::GreaterOrEqual, json!(0)),
                ("list", Operator::Equal, json!(5)),
                ("list", Operator::Contains, json!("5")),
                ("object", Operator::LessOrEqual, json!("z")),
                ("number", Operator::Contains, json!(5)),
                ("number", Operator::In, json!(["5", true, null])),
            ] {
                let condition = Filter::new(field, operator, operand)?;
                let updated = store.update(&path, json!({}), only_if([condition])).await;
                let what = format_args!("{field} {operator}").to_string();
                expect_kind(updated, ErrorKind::PreconditionFailed, what)?;
            }
            expect_unchanged(&context, &before).await
        }
    ),
    case!(
        "PRE-13",
        Pre,
        "A malformed condition is refused before anything is read or written.",
        "Conditions that reach the driver as they are.",
        [],
        async |context| {
            expect_reason("~=".parse::<Operator>(), Reason::OpUnknown, "an unknown operator")?;
            for field in ["", "a..b", ".a", "`a", "_id", "version.x"] {
                let condition = Filter::new(field, Operator::Equal, 1);
                expect_reason(condition, Reason::FieldPath, format_args!("the field {field:?}"))?;
            }
            let condition = Filter::new("a", Operator::Less, json!([1]));
            expect_reason(condition, Reason::OperandType, "an array as operand")?;

            let (store, path) = (context.store(), context.unique_path()?);
            let condition = Filter::new("a", Operator::Equal, 1)?;
            let many = || only_if(std::iter::repeat_n(condition.clone(), 21));
            let updated = store.update(&path, json!({}), many()).await;
            expect_reason(updated, Reason::TooManyFilters, "21 conditions on nothing")?;
            let before = create(&context, &path, json!({"a": 1})).await?;
            let deleted = store.delete(&path, many()).await;
            expect_reason(deleted, Reason::TooManyFilters, "21 conditions")?;
            expect_unchanged(&context, &before).await?;
            store.delete(&path, only_if(std::iter::repeat_n(condition.clone(), 20))).await?;
            expect_not_found(&context, &path).await
        }
    ),
    case!(
        "PRE-15",
        Pre,
        "A version from before a change and its reversal is stale.",
        "Comparing contents: A, B and A again looks unchanged.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let first = create(&context, &path, json!({"n": "A"})).await?;
            store.update(&path, json!({"n": "B"}), Default::default()).await?;
            let back = store.update(&path, json!({"n": "A"}), Default::default()).await?.document;
            let stale = only_if([Filter::version_is(first.version())]);
            let updated = store.update(&path, json!({"n": "C"}), stale).await;
            expect_kind(updated, ErrorKind::PreconditionFailed, "update")?;
            expect_unchanged(&context, &back).await
        }
    ),
    case!(
        "PRE-16",
        Pre,
        "Versions from before a delete and a new create are stale.",
        "A version that starts again at 1, so that a stale writer overwrites the new document.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            create(&context, &path, json!({"n": 1})).await?;
            store.update(&path, json!({"n": 2}), Default::default()).await?;
            store.delete(&path, Default::default()).await?;
            let revived = create(&context, &path, json!({"n": 3})).await?;
            expect_equal(revived.version(), Version::new(4), "version after four writes")?;
            for version in 1..4 {
                let stale = || only_if([Filter::version_is(Version::new(version))]);
                let updated = store.update(&path, json!({}), stale()).await;
                expect_kind(updated, ErrorKind::PreconditionFailed, "update")?;
                let deleted = store.delete(&path, stale()).await;
                expect_kind(deleted, ErrorKind::PreconditionFailed, "delete")?;
            }
            expect_unchanged(&context, &revived).await
        }
    ),
    case!(
        "PRE-17",
        Pre,
        "A version read before a restart holds if nothing changed and is stale otherwise.",
        "Counters that live in the process and start again.",
        [Durable],
        async |context| {
            let (kept, changed) = (context.unique_path()?, context.unique_path()?);
            let old = create(&context, &kept, json!({"n": 1})).await?.version();
            create(&context, &changed, json!({"n": 1})).await?;
            let current = patch(&context, &changed, Patch::new().set("n", 2)).await?;
            context.reopen().await?;

            let options = only_if([Filter::version_is(old)]);
            context.store().update(&kept, json!({"n": 2}), options.clone()).await?;
            let stale = context.store().update(&changed, json!({"n": 3}), options).await;
            expect_kind(stale, ErrorKind::PreconditionFailed, "update")?;
            expect_unchanged(&context, &current).await
        }
    ),
    case!(
        "PRE-21",
        Pre,
        "The version a write returns is the one the next read shows.",
        "Versions computed beside the write.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let created = create(&context, &path, json!({"n": 1})).await?;
            expect_unchanged(&context, &created).await?;
            let updated = store.update(&path, json!({"n": 2}), Default::default()).await?;
            expect_unchanged(&context, &updated.document).await?;
            let patched = patch(&context, &path, Patch::new().set("n", 3)).await?;
            expect_unchanged(&context, &patched).await?;
            let deleted = store.delete(&path, Default::default()).await?;
            let tombstone = context.tombstone(&path).await?;
            expect_equal(deleted.document.metadata(), tombstone.metadata(), "tombstone")?;
            expect_equal(deleted.version(), Version::new(4), "version after four writes")
        }
    ),
    case!(
        "PRE-22",
        Pre,
        "A condition on a deleted document is not_found, whatever it says.",
        "Tombstones that can be written to by who knows their version.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            create(&context, &path, json!({"n": 1})).await?;
            let tombstone = store.delete(&path, Default::default()).await?.document;
            for condition in [
                Filter::version_is(Version::FIRST),
                Filter::version_is(tombstone.version()),
                Filter::new("deleted", Operator::Equal, true)?,
            ] {
                let options = only_if([condition]);
                let updated = store.update(&path, json!({"n": 2}), options.clone()).await;
                expect_kind(updated, ErrorKind::NotFound, "update")?;
                let patched = store.patch(&path, Patch::new().set("n", 2), options.clone()).await;
                expect_kind(patched, ErrorKind::NotFound, "patch")?;
                expect_kind(store.delete(&path, options).await, ErrorKind::NotFound, "delete")?;
            }
            let now = context.tombstone(&path).await?;
            expect_equal(now.metadata(), tombstone.metadata(), "tombstone")
        }
    ),
    case!(
        "PRE-23",
        Pre,
        "Create takes no precondition, whether or not there is a document.",
        "A guard that is silently ignored.",
        [],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let options = only_if([Filter::version_is(Version::FIRST)]);
            let created = store.create(&path, json!({}), options.clone()).await;
            expect_reason(created, Reason::Precondition, "create of a new one")?;
            expect_never_written(&context, &path).await?;
            let before = create(&context, &path, json!({"n": 1})).await?;
            let again = store.create(&path, json!({}), options).await;
            expect_reason(again, Reason::Precondition, "create over a live one")?;
            expect_unchanged(&context, &before).await
        }
    ),
    case!(
        "PRE-24",
        Pre,
        "A write whose precondition fails makes no event and moves no time.",
        "Events for writes that did not happen.",
        [Watch],
        async |context| {
            let (store, path) = (context.store(), context.unique_path()?);
            let before = create(&context, &path, json!({"n": 1})).await?;
            let mut watcher = context.watch_all().await?;
            context.clock().advance(Duration::from_secs(1));
            let wrong = || only_if([Filter::version_is(Version::new(7))]);
            let updated = store.update(&path, json!({"n": 2}), wrong()).await;
            expect_kind(updated, ErrorKind::PreconditionFailed, "update")?;
            let patched = store.patch(&path, Patch::new().set("n", 2), wrong()).await;
            expect_kind(patched, ErrorKind::PreconditionFailed, "patch")?;
            let deleted = store.delete(&path, wrong()).await;
            expect_kind(deleted, ErrorKind::PreconditionFailed, "delete")?;
            expect_unchanged(&context, &before).await?;

            store.delete(&path, Default::default()).await?;
            let event = watcher.event().await?;
            expect_equal(event.event_type, EventType::Delete, "the first event")?;
            expect_equal(event.document.version(), before.version().next(), "its version")
        }
    ),
];

const OPERATORS: [Operator; 8] = [
    Operator::Equal,
    Operator::NotEqual,
    Operator::Less,
    Operator::LessOrEqual,
    Operator::Greater,
    Operator::GreaterOrEqual,
    Operator::In,
    Operator::Contains,
];

/// Every operator and operand decides alike as a filter and as a precondition on `data`.
async fn agree(context: &Context, data: Value, shown: &Value) -> CaseResult {
    let path = context.unique_path()?;
    create(context, &path, data).await?;
    for operator in OPERATORS {
        for operand in operands(operator) {
            let filter = Filter::new("a.b", operator, operand.clone())?;
            let found = context.ids(everything(context)?.with_filter(filter.clone())).await?;
            let written = context.store().patch(&path, Patch::new(), only_if([filter])).await;
            let what = format!("{shown} {operator} {operand}");
            match found.is_empty() {
                true => drop(expect_kind(written, ErrorKind::PreconditionFailed, what)?),
                false => expect(written.is_ok(), format_args!("{what}: found but not written"))?,
            }
        }
    }
    context.store().delete(&path, Default::default()).await?;
    Ok(())
}

fn operands(operator: Operator) -> Vec<Value> {
    let comparable =
        vec![json!(0), json!(1), json!(1.5), json!(3), json!(""), json!("1"), json!("z")];
    match operator {
        Operator::In => vec![json!([]), json!([null, 1, "1"]), json!([true, 2.5, "é"])],
        operator if operator.is_range() => comparable,
        _ => comparable.into_iter().chain([json!(null), json!(true), json!(false)]).collect(),
    }
}
