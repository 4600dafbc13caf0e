//! Patches: what each change does.

use std::time::Duration;

use serde_json::{Value, json};
use syntrix_storage_core::{ErrorKind, Patch, Reason, Retry};

use super::steps::{create, expect_never_written, expect_unchanged, get, patch, quoted};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect_equal, expect_kind, expect_reason};

pub(super) static CASES: &[Case] = &[
    case!(
        "PAT-01",
        Pat,
        "Setting a top-level field changes that field only.",
        "Patches that rewrite or lose the siblings.",
        [],
        async |context| {
            let others =
                json!({"i": 9_007_199_254_740_993_i64, "f": 0.1, "l": [1, {"x": null}], "s": "é"});
            let mut data = others.clone();
            data["n"] = json!(1);
            let path = context.unique_path()?;
            create(&context, &path, data.clone()).await?;
            let patched = patch(&context, &path, Patch::new().set("n", 2).set("new", "x")).await?;
            data["n"] = json!(2);
            data["new"] = json!("x");
            expect_equal(get(&context, &path).await?.value()?, data, "data")?;
            expect_unchanged(&context, &patched).await
        }
    ),
    case!(
        "PAT-02",
        Pat,
        "Setting a nested field leaves its siblings on every level.",
        "Replacing the parent instead of the field.",
        [],
        async |context| {
            let before = json!({"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": 4});
            let after = json!({"a": {"b": {"c": 9, "d": 2}, "e": 3}, "f": 4});
            becomes(&context, before, Patch::new().set("a.b.c", 9), after).await
        }
    ),
    case!(
        "PAT-03",
        Pat,
        "Setting a field below a missing one makes the objects between.",
        "Patches that do nothing, silently, where a parent is missing.",
        [],
        async |context| {
            let set = || Patch::new().set("a.b.c", json!(null));
            becomes(&context, json!({}), set(), json!({"a": {"b": {"c": null}}})).await?;
            let there = json!({"a": {"x": 1}});
            becomes(&context, there, set(), json!({"a": {"x": 1, "b": {"c": null}}})).await
        }
    ),
    case!(
        "PAT-04",
        Pat,
        "Setting a field below a scalar is path_conflict and changes nothing.",
        "Replacing the scalar by an object, or reporting success without doing anything.",
        [],
        async |context| {
            for scalar in
                [json!(5), json!(0.5), json!("text"), json!(true), json!(false), json!("")]
            {
                conflicts(&context, json!({"a": scalar, "o": {"p": scalar}}), "a.b").await?;
                conflicts(&context, json!({"a": scalar, "o": {"p": scalar}}), "o.p.q.r").await?;
            }
            Ok(())
        }
    ),
    case!(
        "PAT-05",
        Pat,
        "Setting a field below null is path_conflict and changes nothing.",
        "Null taken for missing.",
        [],
        async |context| {
            conflicts(&context, json!({"a": null}), "a.b").await?;
            conflicts(&context, json!({"a": {"b": null}}), "a.b.c").await
        }
    ),
    case!(
        "PAT-06",
        Pat,
        "Setting a field to null stores null.",
        "Merge patches, where null removes.",
        [],
        async |context| {
            let after = json!({"a": null, "o": {"p": null, "q": 1}, "new": null});
            let changes =
                Patch::new().set("a", json!(null)).set("o.p", json!(null)).set("new", json!(null));
            becomes(&context, json!({"a": 1, "o": {"p": 1, "q": 1}}), changes, after).await
        }
    ),
    case!(
        "PAT-07",
        Pat,
        "Removing a field makes it missing; removing a missing one changes no data.",
        "Errors or nulls where a field is removed twice, and parents made by a removal.",
        [],
        async |context| {
            becomes(&context, json!({"a": 1, "b": 2}), Patch::new().remove("a"), json!({"b": 2}))
                .await?;
            let data = json!({"b": 2, "s": "x", "n": null, "l": [{"y": 1}]});
            for missing in ["a", "a.b.c", "b.x", "s.x", "n.x", "l.y", "l.0", "l.0.y"] {
                becomes(&context, data.clone(), Patch::new().remove(missing), data.clone()).await?;
            }
            Ok(())
        }
    ),
    case!(
        "PAT-08",
        Pat,
        "Removing the last field of an object leaves the empty object.",
        "Parents that vanish with their last field.",
        [],
        async |context| {
            let before = json!({"a": {"b": {"c": 1}}});
            let remove = Patch::new().remove("a.b.c");
            becomes(&context, before, remove, json!({"a": {"b": {}}})).await?;
            becomes(&context, json!({"a": 1}), Patch::new().remove("a"), json!({})).await
        }
    ),
    case!(
        "PAT-09",
        Pat,
        "Setting and removing one field in one patch is refused, however it is spelt.",
        "Outcomes that depend on the order of members.",
        [],
        async |context| {
            for (first, second) in
                [("a", "a"), ("a", "`a`"), ("a.b", "`a`.`b`"), ("`a.b`", "`a.b`")]
            {
                let set_first = Patch::new().set(first, 1).remove(second);
                refused(&context, set_first, Reason::PatchOverlap).await?;
                let remove_first = Patch::new().remove(first).set(second, 1);
                refused(&context, remove_first, Reason::PatchOverlap).await?;
                let set_twice = Patch::new().set(first, 1).set(second, 1);
                refused(&context, set_twice, Reason::PatchOverlap).await?;
            }
            Ok(())
        }
    ),
    case!(
        "PAT-10",
        Pat,
        "A path and one that leads through it are refused; similar names are not.",
        "Comparing paths as text, where another name sorts between the two.",
        [],
        async |context| {
            let overlapping: [&[&str]; 5] = [
                &["a", "a.b"],
                &["a.b", "a"],
                &["a", "a+x", "a.b"],
                &["a.b.c", "a!", "a-", "`a`.b"],
                &["x", "``.y", "``", "z"],
            ];
            for fields in overlapping {
                let changes = fields.iter().fold(Patch::new(), |all, field| all.set(*field, 1));
                refused(&context, changes, Reason::PatchOverlap).await?;
            }
            let changes = Patch::new().set("a", 1).set("ab", 2).set("`a.b`", 3).set("b.a", 4);
            let after = json!({"a": 1, "ab": 2, "a.b": 3, "b": {"a": 4}});
            becomes(&context, json!({}), changes, after).await
        }
    ),
    case!(
        "PAT-11",
        Pat,
        "An empty patch changes no data and counts as a write.",
        "Patches that are skipped when nothing differs, so that versions depend on the data.",
        [],
        async |context| {
            let data = json!({"a": 1});
            becomes(&context, data.clone(), Patch::new(), data.clone()).await?;
            becomes(&context, data.clone(), Patch::new().set("a", 1.0), data).await
        }
    ),
    case!(
        "PAT-13",
        Pat,
        "A patch that only removes is applied.",
        "An update statement without assignments.",
        [],
        async |context| {
            let before = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": 4});
            let changes = Patch::new().remove("a").remove("b.c").remove("missing");
            becomes(&context, before, changes, json!({"b": {"d": 3}, "e": 4})).await
        }
    ),
    case!(
        "PAT-22",
        Pat,
        "A path never enters an array: setting is path_conflict, removing does nothing.",
        "Backends that change, pad or unset an element.",
        [],
        async |context| {
            let data = json!({"list": [1, {"b": 2}], "none": []});
            for field in ["list.0", "list.1.b", "list.5", "none.0", "list.b", "list.-"] {
                conflicts(&context, data.clone(), field).await?;
                becomes(&context, data.clone(), Patch::new().remove(field), data.clone()).await?;
            }
            let number = json!({"map": {"0": {"b": 1}}});
            let after = json!({"map": {"0": {"b": 2}}});
            becomes(&context, number, Patch::new().set("map.0.b", 2), after).await
        }
    ),
    case!(
        "PAT-23",
        Pat,
        "A quoted name with a dot is that field and not the nested one.",
        "Joining keys to text and splitting it again.",
        [],
        async |context| {
            let before = json!({"a.b": 1, "a": {"b": 2}, "v": {"1.0.1": {"x": 3}}});
            let after = json!({"a.b": 9, "a": {"b": 2}, "v": {"1.0.1": {"x": 8}}});
            let quoted = Patch::new().set("`a.b`", 9).set("v.`1.0.1`.x", 8);
            becomes(&context, before.clone(), quoted, after).await?;
            let after = json!({"a.b": 1, "a": {"b": 9}, "v": {"1": {"0": 7}, "1.0.1": {"x": 3}}});
            let bare = Patch::new().set("a.b", 9).set("v.1.0", 7);
            becomes(&context, before.clone(), bare, after).await?;
            let after = json!({"a": {"b": 2}, "v": {}});
            becomes(&context, before, Patch::new().remove("`a.b`").remove("v.`1.0.1`"), after).await
        }
    ),
    case!(
        "PAT-24",
        Pat,
        "Names that are operators or syntax elsewhere are plain names in a patch.",
        "Injection through field names.",
        [],
        async |context| {
            for name in [
                "$set",
                "$unset",
                "__proto__",
                "constructor",
                "*",
                "[*]",
                "[?(@.a)]",
                "$",
                "#",
                "-",
                "%",
                "x'; DROP TABLE documents; --",
                "\"",
                "\\",
                "a\nb",
                "{}",
                "",
                ".",
                "`",
                "0",
                "-1",
                "last",
            ] {
                let mut after = json!({"a": {"b": 1}, "x": 2});
                after[name] = json!({name: [1]});
                let field = format!("{}.{}", quoted(name), quoted(name));
                let set = Patch::new().set(field, json!([1]));
                becomes(&context, json!({"a": {"b": 1}, "x": 2}), set, after.clone()).await?;
                let removed = Patch::new().remove(quoted(name));
                becomes(&context, after, removed, json!({"a": {"b": 1}, "x": 2})).await?;
            }
            Ok(())
        }
    ),
    case!(
        "PAT-25",
        Pat,
        "An empty segment, an open quote or a system name's child is refused.",
        "Paths that are repaired by guessing.",
        [],
        async |context| {
            for field in [
                "",
                ".",
                "a.",
                ".a",
                "a..b",
                "`a",
                "a`",
                "a`b`",
                "`a`b",
                "a.`",
                "```",
                "a\0b",
                "version.x",
                "_id.x",
                "id.x",
            ] {
                refused(&context, Patch::new().set(field, 1), Reason::FieldPath).await?;
                refused(&context, Patch::new().remove(field), Reason::FieldPath).await?;
            }
            for field in ["version", "_id", "`deleted`", "createdAt", "fullpath"] {
                refused(&context, Patch::new().set(field, 1), Reason::ReservedField).await?;
            }
            refused(&context, Patch::new().set("id", "another"), Reason::ReservedField).await?;
            let long = "k".repeat(513);
            refused(&context, Patch::new().set(long, 1), Reason::FieldPath).await?;
            let deep = ["a"; 65].join(".");
            refused(&context, Patch::new().set(deep, 1), Reason::FieldPath).await
        }
    ),
];

/// A patch of `before` stores `after`, one version and some time later.
pub(super) async fn becomes(
    context: &Context,
    before: Value,
    changes: Patch,
    after: Value,
) -> CaseResult {
    let path = context.unique_path()?;
    let created = create(context, &path, before).await?;
    context.clock().advance(Duration::from_millis(1));
    let patched = patch(context, &path, changes).await?;
    expect_equal(get(context, &path).await?.value()?, after, "data")?;
    expect_equal(patched.version(), created.version().next(), "version")?;
    expect_unchanged(context, &patched).await
}

/// Setting `field` in `data` leads through something that is no object.
async fn conflicts(context: &Context, data: Value, field: &str) -> CaseResult {
    let path = context.unique_path()?;
    let created = create(context, &path, data).await?;
    let changes = Patch::new().set(field, 1).set("other", 2);
    let patched = context.store().patch(&path, changes, Default::default()).await;
    let error = expect_kind(patched, ErrorKind::PathConflict, format_args!("setting {field}"))?;
    expect_equal(error.retry(), Retry::Never, "retry advice")?;
    expect_unchanged(context, &created).await
}

/// The patch breaks a rule, whether or not the document is there.
pub(super) async fn refused(context: &Context, changes: Patch, reason: Reason) -> CaseResult {
    let (store, missing) = (context.store(), context.unique_path()?);
    let what = format!("{changes:?}");
    let patched = store.patch(&missing, changes.clone(), Default::default()).await;
    expect_reason(patched, reason, format_args!("{what} on nothing"))?;
    expect_never_written(context, &missing).await?;

    let path = context.unique_path()?;
    let created = create(context, &path, json!({"a": {"b": 1}, "x": 2})).await?;
    let patched = store.patch(&path, changes, Default::default()).await;
    expect_reason(patched, reason, what)?;
    expect_unchanged(context, &created).await
}
