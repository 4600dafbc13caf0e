//! Patches: what may stand in one, and what it does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{nested, path, reason};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use syntrix_storage_core::{CheckedPatch, DEPTH_MAX, ErrorKind, Patch, Reason, Result};

fn check(patch: Value) -> Result<CheckedPatch> {
    Patch::from_value(patch)?.check(&path("c/own"))
}

fn apply(data: Value, patch: Value) -> Result<Value> {
    let Value::Object(members) = data else { panic!("data is an object") };
    check(patch)?.apply(members).map(Value::Object)
}

#[test]
fn a_patch_is_an_object() {
    for patch in [json!(null), json!([]), json!("a")] {
        assert_eq!(reason(Patch::from_value(patch)), Reason::DataNotObject);
    }
}

#[test]
fn a_value_replaces_what_was_there_and_parents_are_created() {
    let table = [
        (json!({"a": {"b": 1}}), json!({"a": {"c": 2}}), json!({"a": {"c": 2}})),
        (json!({"a": {"b": 1}}), json!({"a.c": 2}), json!({"a": {"b": 1, "c": 2}})),
        (json!({}), json!({"a.b.c": 1}), json!({"a": {"b": {"c": 1}}})),
        (json!({"a": 1}), json!({"a": null}), json!({"a": null})),
        (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
        (json!({}), json!({"`a.b`": 1, "a.b": 2}), json!({"a.b": 1, "a": {"b": 2}})),
        (json!({}), json!({"``.``": 1}), json!({"": {"": 1}})),
        (json!({}), json!({"a": 5.0, "b": -0.0}), json!({"a": 5, "b": 0})),
        (json!({"a": {"0": 1}}), json!({"a.0": 2}), json!({"a": {"0": 2}})),
        (json!({"a": 1}), json!({}), json!({"a": 1})),
    ];
    for (data, patch, expected) in table {
        assert_eq!(apply(data, patch.clone()).unwrap(), expected, "{patch}");
    }
}

#[test]
fn path_conflict_through_anything_but_an_object() {
    for parent in [json!(5), json!("s"), json!(null), json!([1]), json!(true)] {
        for patch in [json!({"a.b": 1}), json!({"a.0": 1}), json!({"a.b.c": 1, "z": 1})] {
            let error = apply(json!({ "a": parent }), patch).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PathConflict);
            assert_eq!(error.fact("at"), Some("a"));
        }
    }
}

#[test]
fn a_field_is_removed_by_the_sentinel_and_a_missing_one_is_no_error() {
    let gone = json!({"$delete": true});
    let table = [
        (json!({"a": 1, "b": 2}), "a", json!({"b": 2})),
        (json!({"a": {"b": 1}}), "a.b", json!({"a": {}})),
        (json!({"b": 2}), "a", json!({"b": 2})),
        (json!({"a": 5}), "a.b.c", json!({"a": 5})),
        (json!({"a": [1]}), "a.0", json!({"a": [1]})),
        (json!({}), "a.b", json!({})),
    ];
    for (data, field, expected) in table {
        assert_eq!(apply(data, json!({ field: gone })).unwrap(), expected, "{field}");
    }
    assert_eq!(Patch::new().remove("a"), Patch::from_value(json!({ "a": gone })).unwrap());
}

#[test]
fn delete_sentinel() {
    for value in [json!(false), json!(1), json!(null), json!("true"), json!({}), json!([true])] {
        assert_eq!(reason(check(json!({"a": {"$delete": value}}))), Reason::DeleteSentinel);
    }
    let plain = [
        json!({"a": {"$delete": true, "b": 1}}),
        json!({"a": {"b": {"$delete": true}}}),
        json!({"a": [{"$delete": true}]}),
        json!({"$delete": true}),
        json!({"$delete": 5}),
    ];
    for patch in plain {
        assert_eq!(apply(json!({}), patch.clone()).unwrap(), patch);
    }
}

#[test]
fn reserved_field_and_the_own_id() {
    let system =
        ["_id", "fullpath", "collection", "parent", "createdAt", "updatedAt", "version", "deleted"];
    for name in system {
        for key in [name.to_owned(), format!("`{name}`")] {
            assert_eq!(reason(check(json!({ &key: 1 }))), Reason::ReservedField, "{key}");
            let gone = json!({ &key: {"$delete": true} });
            assert_eq!(reason(check(gone)), Reason::ReservedField, "{key}");
        }
        let below = format!("{name}.a");
        assert_eq!(reason(check(json!({ below: 1 }))), Reason::FieldPath);
        let deeper = format!("a.{name}");
        assert!(check(json!({ deeper: 1 })).is_ok());
    }
    assert_eq!(
        apply(json!({"n": 1}), json!({"id": "own", "`id`": "own"})).unwrap(),
        json!({"n": 1})
    );
    for id in [json!("other"), json!(1), json!(null), json!({"$delete": true})] {
        assert_eq!(reason(check(json!({ "id": id }))), Reason::ReservedField);
    }
    assert_eq!(reason(check(json!({"id.a": 1}))), Reason::FieldPath);
    assert!(check(json!({"a.id": 1})).is_ok());
}

#[test]
fn patch_overlap_whatever_the_spelling() {
    let overlapping = [
        vec!["a", "`a`"],
        vec!["a.b", "`a`.`b`"],
        vec!["a", "a.b"],
        vec!["a.b.c", "z", "`a`"],
        vec!["a", "a!", "a.b"],
        vec!["``", "``.x"],
        vec!["a.b", "a.b.`c.d`.e", "a.b.`c.d`"],
    ];
    for fields in overlapping {
        for turned in [false, true] {
            let mut fields = fields.clone();
            if turned {
                fields.reverse();
            }
            let patch = fields.iter().fold(Patch::new(), |patch, field| patch.set(*field, 1));
            assert_eq!(reason(patch.check(&path("c/own"))), Reason::PatchOverlap, "{fields:?}");
        }
    }
    assert_eq!(reason(check(json!({"a": {"$delete": true}, "a.b": 1}))), Reason::PatchOverlap);
    let twice = Patch::new().set("a", 1).set("a", 1).check(&path("c/own"));
    assert_eq!(reason(twice), Reason::PatchOverlap);
    for fields in [["`a.b`", "a.b"], ["a.b", "a.bc"], ["a", "aa"], ["a.b", "b.a"]] {
        let patch = fields.iter().fold(Patch::new(), |patch, field| patch.set(*field, 1));
        assert!(patch.check(&path("c/own")).is_ok(), "{fields:?}");
    }
}

#[test]
fn values_obey_the_rules_of_data_where_they_will_lie() {
    assert_eq!(reason(check(json!({"a": u64::MAX}))), Reason::NumberOutOfRange);
    assert_eq!(reason(check(json!({"a": {"k\0": 1}}))), Reason::KeyNul);
    assert_eq!(reason(check(json!({"a": {"k".repeat(513): 1}}))), Reason::KeyTooLong);
    assert_eq!(reason(check(json!({"a": "\0"}))), Reason::StringNul);
    let deepest = vec!["a"; DEPTH_MAX].join(".");
    assert!(check(json!({ &deepest: 1 })).is_ok());
    assert_eq!(reason(check(json!({ &deepest: [] }))), Reason::TooDeep);
    assert!(check(json!({"a.b": nested(DEPTH_MAX - 2, json!(1))})).is_ok());
    assert_eq!(reason(check(json!({"a.b": nested(DEPTH_MAX - 1, json!(1))}))), Reason::TooDeep);
}

/// The patch rule once more, as simply as it can be said: one change after the other, on the tree.
fn model(data: &Value, changes: &[(Vec<String>, Option<Value>)]) -> Option<Value> {
    changes.iter().try_fold(data.clone(), |data, (keys, value)| change(data, keys, value.as_ref()))
}

fn change(data: Value, keys: &[String], value: Option<&Value>) -> Option<Value> {
    let Some((key, rest)) = keys.split_first() else { return value.cloned() };
    let Value::Object(mut members) = data else {
        // Nothing can be set here, and nothing has to be removed.
        return if value.is_some() { None } else { Some(data) };
    };
    let old = members.remove(key);
    let new = match (old, value) {
        (None, None) => None,
        (Some(_), None) if rest.is_empty() => None,
        (Some(old), _) if !rest.is_empty() => Some(change(old, rest, value)?),
        (None, Some(_)) if !rest.is_empty() => Some(change(json!({}), rest, value)?),
        (_, value) => value.cloned(),
    };
    if let Some(new) = new {
        members.insert(key.clone(), new);
    }
    Some(Value::Object(members))
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "a.b", "", "`"]).prop_map(str::to_owned)
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (0i64..3).prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map(key(), tree(), 0..4)
        .prop_map(|members| members.into_iter().collect())
}

type Changes = Vec<(Vec<String>, Option<Value>)>;

fn changes() -> impl Strategy<Value = Changes> {
    let change = (prop::collection::vec(key(), 1..4), prop::option::weighted(0.7, tree()));
    prop::collection::vec(change, 0..4)
}

fn text(keys: &[String]) -> String {
    let segment = |key: &String| format!("`{}`", key.replace('`', "``"));
    keys.iter().map(segment).collect::<Vec<_>>().join(".")
}

proptest! {
    #[test]
    fn a_patch_equals_the_full_update_of_a_model(data in object(), changes in changes()) {
        let overlaps = changes.iter().enumerate().any(|(position, (keys, _))| {
            let others = changes.iter().enumerate().filter(|(other, _)| *other != position);
            others.into_iter().any(|(_, (other, _))| keys.starts_with(other))
        });
        let patch = changes.iter().fold(Patch::new(), |patch, (keys, value)| match value {
            Some(value) => patch.set(text(keys), value.clone()),
            None => patch.remove(text(keys)),
        });
        match patch.check(&path("c/own")) {
            Err(error) => {
                prop_assert!(overlaps);
                prop_assert_eq!(error.reason(), Some(Reason::PatchOverlap));
            }
            Ok(checked) => {
                prop_assert!(!overlaps);
                let expected = model(&Value::Object(data.clone()), &changes);
                match checked.apply(data) {
                    Ok(found) => prop_assert_eq!(Some(Value::Object(found)), expected),
                    Err(error) => {
                        prop_assert_eq!(error.kind(), ErrorKind::PathConflict);
                        prop_assert_eq!(expected, None);
                    }
                }
            }
        }
    }
}
