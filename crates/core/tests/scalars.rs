//! The one order of comparable values, and what carries them: cursors, and places read from raw text.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::cmp::Ordering;

use common::{document, plan};
use proptest::prelude::*;
use serde_json::{Number, Value, json};
use syntrix_storage_core::{
    Cursor, Direction, Field, Query, QueryPlan, Scalar, ScalarType, normalize_data,
};

#[test]
fn the_order_on_its_boundaries() {
    let ascending = [
        json!(null),
        json!(f64::MIN),
        json!(-9_223_372_036_854_777_856.0),
        json!(i64::MIN),
        json!(i64::MIN + 1),
        json!(-1.5),
        json!(-1),
        json!(-0.5),
        json!(-5e-324),
        json!(0),
        json!(5e-324),
        json!(0.5),
        json!(1),
        json!(1.5),
        json!(9_007_199_254_740_992i64),
        json!(9_007_199_254_740_993i64),
        json!(i64::MAX),
        json!(9_223_372_036_854_775_808.0),
        json!(f64::MAX),
        json!(""),
        json!("\u{1}"),
        json!("A"),
        json!("a"),
        json!("aa"),
        json!("\u{7f}"),
        json!("é"),
        json!("\u{ffff}"),
        json!("\u{10000}"),
        json!(false),
        json!(true),
    ];
    let scalars: Vec<_> = ascending.iter().map(common::scalar).collect();
    for (left_position, left) in scalars.iter().enumerate() {
        for (right_position, right) in scalars.iter().enumerate() {
            assert_eq!(left.cmp(right), left_position.cmp(&right_position), "{left:?} {right:?}");
        }
    }
    assert!(ScalarType::ALL.is_sorted());
}

#[test]
fn only_scalars_of_at_most_512_bytes_are_comparable() {
    for value in [json!([]), json!({}), json!([1]), json!("x".repeat(513)), json!("é".repeat(257))]
    {
        assert_eq!(Scalar::from_value(&value), None);
    }
    assert!(Scalar::from_value(&json!("é".repeat(256))).is_some());
}

fn number() -> impl Strategy<Value = Number> {
    let near = |number: i64, steps: i8| {
        let double = number as f64;
        let bits = double.to_bits().wrapping_add_signed(steps.into());
        Number::from_f64(f64::from_bits(bits)).unwrap_or_else(|| number.into())
    };
    let finite = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        (-3i64..3).prop_map(Number::from),
        (i64::MAX - 1024..=i64::MAX).prop_map(Number::from),
        (i64::MIN..i64::MIN + 1024).prop_map(Number::from),
        finite.prop_map(|double| Number::from_f64(double).unwrap()),
        (-1000i64..1000).prop_map(|n| Number::from_f64(n as f64 / 8.0).unwrap()),
        (any::<i64>(), -3i8..=3).prop_map(move |(number, steps)| near(number, steps)),
        (-70i64..70, -2i8..=2).prop_map(move |(number, steps)| near(number, steps)),
    ]
}

fn scalar_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        "[\u{1}aA\u{7f}é\u{ffff}\u{10000}]{0,5}".prop_map(Value::from),
        number().prop_map(Value::from),
    ]
}

/// Every digit of a number: Rust prints doubles exactly when it is given enough places.
fn digits(number: &Number) -> (bool, String) {
    let text = match number.as_i64() {
        Some(integer) => format!("{integer}.{}", "0".repeat(1074)),
        None => format!("{:.1074}", number.as_f64().unwrap()),
    };
    let unsigned = text.trim_start_matches('-');
    let zero = unsigned.bytes().all(|byte| byte == b'0' || byte == b'.');
    (text.starts_with('-') && !zero, unsigned.to_owned())
}

fn compare_exactly(left: &Number, right: &Number) -> Ordering {
    let ((left_negative, left), (right_negative, right)) = (digits(left), digits(right));
    let size = left.len().cmp(&right.len()).then_with(|| left.cmp(&right));
    match (left_negative, right_negative) {
        (false, false) => size,
        (true, true) => size.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

fn stored(value: &Value) -> Value {
    let data = normalize_data(&common::path("c/a"), json!({ "v": value })).unwrap();
    data["v"].clone()
}

/// A tree of which some values are comparable and most paths lead nowhere.
fn tree() -> impl Strategy<Value = Value> {
    scalar_value().prop_recursive(3, 16, 3, |inner| {
        let keys =
            prop::sample::select(vec!["a", "b", "", "a.b", "q\"\\\n"]).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn by(field: &str) -> Query {
    Query::new("c").unwrap().order_by(field, Direction::Ascending).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn numbers_compare_by_their_exact_value(left in number(), right in number()) {
        let expected = compare_exactly(&left, &right);
        let scalar = |number: &Number| common::scalar(&stored(&Value::Number(number.clone())));
        prop_assert_eq!(scalar(&left).cmp(&scalar(&right)), expected);
        prop_assert_eq!(scalar(&left) == scalar(&right), expected.is_eq());
    }

    #[test]
    fn the_order_is_total(left in scalar_value(), middle in scalar_value(), right in scalar_value()) {
        let [a, b, c] = [&left, &middle, &right].map(|value| common::scalar(&stored(value)));
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.cmp(&b).is_eq(), a == b);
        prop_assert_eq!(a.scalar_type() < b.scalar_type(), a < b && a.scalar_type() != b.scalar_type());
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn storing_and_reading_back_changes_no_value(value in scalar_value()) {
        let stored = stored(&value);
        let read: Value = serde_json::from_str(&stored.to_string()).unwrap();
        prop_assert_eq!(common::scalar(&read), common::scalar(&stored));
        prop_assert_eq!(common::scalar(&stored).to_value(), stored);
    }

    #[test]
    fn a_cursor_brings_back_the_place_it_was_made_from(
        values in prop::collection::vec(scalar_value(), 1..=4), id in "[a-z]{1,8}"
    ) {
        let names = ["a", "b", "c", "d"];
        let fields = names.iter().zip(&values);
        let query = fields.clone().fold(Query::new("c").unwrap(), |query, (name, _)| {
            query.order_by(name, Direction::Descending).unwrap()
        });
        let data: serde_json::Map<_, _> =
            fields.map(|(name, value)| ((*name).to_owned(), stored(value))).collect();
        let document = document(&format!("c/{id}"), &Value::Object(data));
        let first = plan(query.clone());
        let cursor = first.cursor_after(&document).unwrap();
        let next = plan(query.after(Cursor::from_text(cursor.to_string())));
        let place = first.place_of(&document);
        prop_assert_eq!(next.after(), place.as_ref());
    }

    #[test]
    fn any_text_as_a_cursor_is_refused_and_never_panics(text in "[A-Za-z0-9_=é-]{0,80}") {
        prop_assert!(QueryPlan::check(by("v").after(Cursor::from_text(text))).is_err());
    }

    #[test]
    fn a_place_read_from_raw_text_is_the_one_in_the_tree(
        value in tree(), keys in prop::collection::vec(prop::sample::select(vec!["a", "b", "``", "`a.b`", "`q\"\\\n`"]), 1..4)
    ) {
        let data = json!({"a": stored(&value), "b": 1});
        let text = keys.join(".");
        let Field::Data(field) = Field::parse(&text).unwrap() else { unreachable!() };
        let expected = field.find(&data).and_then(Scalar::from_value);
        let place = plan(by(&text)).place_of(&document("c/x", &data));
        prop_assert_eq!(place.map(|place| place.values[0].clone()), expected);
    }
}
