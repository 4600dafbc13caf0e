//! Filters: operators, operands, and what they match.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{at, document, plan, reason};
use serde_json::{Value, json};
use syntrix_storage_core::{
    ErrorKind, FILTERS_MAX, Filter, IN_VALUES_MAX, Operand, Operator, Query, QueryPlan, Reason,
    Scalar, Version,
};

const ALL: [&str; 8] = ["==", "!=", "<", "<=", ">", ">=", "in", "contains"];

fn operator(text: &str) -> Operator {
    text.parse().unwrap()
}

/// Whether a document whose field `v` is `value` (or missing) passes.
fn matches(value: Option<&Value>, operator_text: &str, operand: &Value) -> bool {
    let data = value.map_or(json!({}), |value| json!({ "v": value }));
    let filter = Filter::new("v", operator(operator_text), operand.clone()).unwrap();
    filter.matches(&document("c/a", &data), &data)
}

#[test]
fn op_unknown() {
    for text in ALL {
        assert_eq!(operator(text).to_string(), text);
    }
    for text in ["", "=", "===", "<>", "IN", " ==", "not in", "array-contains"] {
        assert_eq!(reason(text.parse::<Operator>()), Reason::OpUnknown, "{text:?}");
    }
}

#[test]
fn operand_type() {
    let not_scalar = [json!([1]), json!({"a": 1}), json!([]), json!({})];
    for operand in not_scalar {
        for text in ALL.into_iter().filter(|text| *text != "in") {
            let filter = Filter::new("v", operator(text), operand.clone());
            assert_eq!(reason(filter), Reason::OperandType, "{text} {operand}");
        }
        let list = Filter::new("v", Operator::In, json!([operand]));
        assert_eq!(reason(list), Reason::OperandType);
    }
    for bound in [json!(null), json!(true), json!(false)] {
        for text in ["<", "<=", ">", ">="] {
            let filter = Filter::new("v", operator(text), bound.clone());
            assert_eq!(reason(filter), Reason::OperandType, "{text} {bound}");
        }
        assert!(Filter::new("v", Operator::Equal, bound).is_ok());
    }
    for list in [json!(1), json!("a"), json!(null), json!({"0": 1})] {
        assert_eq!(reason(Filter::new("v", Operator::In, list)), Reason::OperandType);
    }
}

#[test]
fn operand_too_long_counts_bytes() {
    for text in ["x".repeat(513), "é".repeat(257)] {
        for op in ALL.into_iter().filter(|op| *op != "in") {
            let filter = Filter::new("v", operator(op), text.clone());
            assert_eq!(reason(filter), Reason::OperandTooLong, "{op}");
        }
        assert_eq!(reason(Filter::new("v", Operator::In, json!([text]))), Reason::OperandTooLong);
    }
    assert!(Filter::new("v", Operator::Equal, "é".repeat(256)).is_ok());
}

#[test]
fn operands_are_normalised_and_out_of_range_ones_refused() {
    let one = |value: Value| Filter::new("v", Operator::Equal, value).unwrap().operand().clone();
    assert_eq!(one(json!(1.0)), Operand::One(Scalar::Integer(1)));
    assert_eq!(one(json!(-0.0)), Operand::One(Scalar::Integer(0)));
    assert_eq!(one(json!(1e19)), Operand::One(Scalar::Double(1e19)));
    let refused = Filter::new("v", Operator::Equal, json!(9_223_372_036_854_775_808u64));
    assert_eq!(reason(refused), Reason::NumberOutOfRange);
}

#[test]
fn in_too_many() {
    let list = |count: usize| Filter::new("v", Operator::In, (0..count).collect::<Value>());
    assert!(list(IN_VALUES_MAX).is_ok());
    assert_eq!(reason(list(IN_VALUES_MAX + 1)), Reason::InTooMany);
    // The limit is on what was written, not on what is left of it.
    let repeated = Filter::new("v", Operator::In, json!(vec![1; IN_VALUES_MAX + 1]));
    assert_eq!(reason(repeated), Reason::InTooMany);
}

#[test]
fn in_lists_are_sorted_and_without_repeats() {
    let filter = Filter::new("v", Operator::In, json!(["b", 1.0, null, 1, "a", true])).unwrap();
    let expected = [json!(null), json!(1), json!("a"), json!("b"), json!(true)];
    let expected = expected.iter().map(common::scalar).collect();
    assert_eq!(filter.operand(), &Operand::Many(expected));
}

#[test]
fn too_many_filters() {
    let query = |count: usize| {
        let filter = Filter::new("v", Operator::NotEqual, 1).unwrap();
        let query = Query::new("c").unwrap();
        QueryPlan::check((0..count).fold(query, |query, _| query.with_filter(filter.clone())))
    };
    assert_eq!(query(FILTERS_MAX).unwrap().filters().len(), FILTERS_MAX);
    assert_eq!(reason(query(FILTERS_MAX + 1)), Reason::TooManyFilters);
}

#[test]
fn a_missing_field_matches_nothing() {
    for text in ALL {
        let operand = if text == "in" { json!([null, 1]) } else { json!(1) };
        assert!(!matches(None, text, &operand), "{text}");
    }
    assert!(!matches(None, "!=", &json!(null)));
    assert!(!matches(None, "==", &json!(null)));
    let below_scalar = Filter::new("v.x", Operator::NotEqual, 1).unwrap();
    let data = json!({"v": 5});
    assert!(!below_scalar.matches(&document("c/a", &data), &data));
}

#[test]
fn operators_match_as_specified() {
    let long = json!("x".repeat(513));
    let table = [
        (json!(5), "==", json!(5), true),
        (json!(5), "==", json!(5.0), true),
        (json!("5"), "==", json!(5), false),
        (json!([5]), "==", json!(5), false),
        (json!(true), "==", json!(1), false),
        (json!(null), "==", json!(null), true),
        (json!([null]), "==", json!(null), false),
        (json!({}), "==", json!(null), false),
        (json!(9_007_199_254_740_993i64), "==", json!(9_007_199_254_740_992.0), false),
        (json!(0.30000000000000004), "==", json!(0.3), false),
        (json!("é"), "==", json!("e\u{301}"), false),
        (json!(null), "!=", json!(5), true),
        (json!([5]), "!=", json!(5), true),
        (json!({"a": 1}), "!=", json!(5), true),
        (long.clone(), "!=", json!(5), true),
        (json!(5), "!=", json!(5), false),
        (json!("5"), "!=", json!(5), true),
        (json!(4), "<", json!(5), true),
        (json!(5), "<", json!(5), false),
        (json!(5), "<=", json!(5), true),
        (json!(5.5), ">", json!(5), true),
        (json!(5), ">=", json!(5), true),
        (json!("4"), "<", json!(5), false),
        (json!(4), "<", json!("5"), false),
        (json!(null), "<", json!(5), false),
        (json!(false), ">", json!(5), false),
        (json!(true), ">", json!("a"), false),
        (json!("B"), "<", json!("a"), true),
        (json!("\u{ffff}"), "<", json!("\u{10000}"), true),
        (long, ">", json!("a"), false),
        (json!([7]), ">", json!(5), false),
        (json!(1), "in", json!([2, 1]), true),
        (json!(true), "in", json!([1]), false),
        (json!(null), "in", json!([null]), true),
        (json!([1]), "in", json!([1]), false),
        (json!(1), "in", json!([]), false),
        (json!([1, 2]), "contains", json!(2), true),
        (json!([[1]]), "contains", json!(1), false),
        (json!([true]), "contains", json!(1), false),
        (json!([1]), "contains", json!(true), false),
        (json!([null]), "contains", json!(null), true),
        (json!([]), "contains", json!(null), false),
        (json!("abc"), "contains", json!("b"), false),
        (json!({"b": 1}), "contains", json!("b"), false),
        (json!(1), "contains", json!(1), false),
    ];
    for (value, text, operand, expected) in table {
        assert_eq!(matches(Some(&value), text, &operand), expected, "{value} {text} {operand}");
    }
}

#[test]
fn an_integer_outside_i64_that_storage_gives_back_is_a_double() {
    let stored: Value = serde_json::from_str(r#"{"v":10000000000000000000}"#).unwrap();
    let filter = Filter::new("v", Operator::Equal, json!(1e19)).unwrap();
    assert!(filter.matches(&document("c/a", &stored), &stored));
}

#[test]
fn all_filters_must_hold_and_two_on_one_field_are_two_conditions() {
    let between = |low: i64, high: i64| {
        let query = Query::new("c").unwrap();
        let query = query.filter("v", Operator::Greater, low).unwrap();
        plan(query.filter("v", Operator::Less, high).unwrap())
    };
    let data = json!({"v": 5});
    let five = document("c/a", &data);
    assert!(between(4, 6).selects(&five, &data));
    assert!(!between(5, 6).selects(&five, &data));
    assert!(!between(4, 5).selects(&five, &data));
    let array = json!({"v": [4, 7]});
    assert!(!between(5, 6).selects(&document("c/b", &array), &array));
}

#[test]
fn tombstones_are_selected_only_when_asked_for() {
    let tombstone = document("c/a", &json!({"v": 1})).tombstone(at(2000));
    let query = Query::new("c").unwrap();
    let select = |query: Query| plan(query).selects(&tombstone, &json!({}));
    assert!(!select(query.clone()));
    assert!(select(query.clone().show_deleted(true)));
    let deleted = query.filter("deleted", Operator::Equal, true).unwrap();
    assert!(!select(deleted.clone()));
    assert!(select(deleted.show_deleted(true)));
}

#[test]
fn the_usual_precondition_is_a_filter_on_the_version() {
    let document = document("c/a", &json!({}));
    let data = json!({});
    assert!(Filter::version_is(Version::FIRST).matches(&document, &data));
    assert!(!Filter::version_is(Version::new(2)).matches(&document, &data));
    assert_eq!(
        Filter::version_is(Version::FIRST),
        Filter::new("`version`", Operator::Equal, 1.0).unwrap()
    );
}

#[test]
fn errors_name_the_field_and_never_the_operand() {
    let error = Filter::new("v", Operator::Equal, json!({"hunter2": 1})).unwrap_err();
    assert_eq!((error.kind(), error.fact("field")), (ErrorKind::InvalidArgument, Some("v")));
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}
