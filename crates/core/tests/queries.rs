//! Order, limit and cursor.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::cmp::Ordering;

use common::{at, document, path, plan, reason, scalar};
use serde_json::{Value, json};
use syntrix_storage_core::{
    Cursor, Direction, Document, LIMIT_DEFAULT, LIMIT_MAX, Operator, Query, QueryPlan, Reason,
};

fn query() -> Query {
    Query::new("c").unwrap()
}

fn ordered(fields: &[(&str, Direction)]) -> Query {
    fields
        .iter()
        .fold(query(), |query, (field, direction)| query.order_by(field, *direction).unwrap())
}

/// What a backend has to return, ids only.
fn answer(plan: &QueryPlan, documents: &[Document]) -> Vec<String> {
    let mut places: Vec<_> = documents
        .iter()
        .filter(|document| plan.selects(document, &document.value().unwrap()))
        .filter_map(|document| Some((plan.place_of(document)?, document)))
        .filter(|(place, _)| plan.after().is_none_or(|after| plan.compare(place, after).is_gt()))
        .collect();
    places.sort_by(|(left, _), (right, _)| plan.compare(left, right));
    places.iter().map(|(_, document)| document.id().to_owned()).collect()
}

#[test]
fn limit_is_1_to_1000_and_100_by_default() {
    assert_eq!(plan(query()).limit(), LIMIT_DEFAULT as usize);
    assert_eq!(plan(query().limit(LIMIT_MAX)).rows_max(), 1001);
    for limit in [0, LIMIT_MAX + 1, u32::MAX] {
        assert_eq!(reason(QueryPlan::check(query().limit(limit))), Reason::Limit, "{limit}");
    }
}

#[test]
fn order_by_takes_at_most_4_different_fields() {
    let up = Direction::Ascending;
    let four = [("a", up), ("b", up), ("c", up), ("d", up)];
    assert!(QueryPlan::check(ordered(&four)).is_ok());
    let five = [("a", up), ("b", up), ("c", up), ("d", up), ("e", up)];
    assert_eq!(reason(QueryPlan::check(ordered(&five))), Reason::OrderBy);
    for twice in [[("a", up), ("a", Direction::Descending)], [("a.b", up), ("`a`.`b`", up)]] {
        assert_eq!(reason(QueryPlan::check(ordered(&twice))), Reason::OrderBy, "{twice:?}");
    }
    assert!(QueryPlan::check(ordered(&[("a.b", up), ("`a.b`", up)])).is_ok());
}

#[test]
fn without_an_order_the_first_range_orders_and_without_one_the_key() {
    let fields = |query: Query| -> Vec<String> {
        plan(query)
            .order()
            .iter()
            .map(|term| format!("{:?} {:?}", term.field(), term.direction()))
            .collect()
    };
    assert!(fields(query()).is_empty());
    assert!(fields(query().filter("a", Operator::Equal, 1).unwrap()).is_empty());
    let ranged = query()
        .filter("e", Operator::Equal, 1)
        .and_then(|query| query.filter("r", Operator::Greater, 1))
        .and_then(|query| query.filter("s", Operator::Less, 1))
        .unwrap();
    assert_eq!(fields(ranged.clone()), ["r Ascending"]);
    let explicit = ranged.order_by("s", Direction::Descending).unwrap();
    assert_eq!(fields(explicit), ["s Descending"]);
}

#[test]
fn types_sort_null_number_string_bool_and_what_is_not_comparable_is_left_out() {
    let values = [
        ("null", json!(null)),
        ("min", json!(i64::MIN)),
        ("half", json!(-0.5)),
        ("zero", json!(0)),
        ("big", json!(1e300)),
        ("empty", json!("")),
        ("upper", json!("Z")),
        ("lower", json!("a")),
        ("accent", json!("é")),
        ("astral", json!("\u{10000}")),
        ("false", json!(false)),
        ("true", json!(true)),
    ];
    let left_out = [("array", json!([1])), ("object", json!({})), ("long", json!("x".repeat(513)))];
    let all = values.iter().chain(&left_out).rev();
    let mut documents: Vec<_> =
        all.map(|(id, value)| document(&format!("c/{id}"), &json!({ "v": value }))).collect();
    documents.push(document("c/missing", &json!({})));
    let mut expected: Vec<_> = values.iter().map(|(id, _)| (*id).to_owned()).collect();
    assert_eq!(answer(&plan(ordered(&[("v", Direction::Ascending)])), &documents), expected);
    expected.reverse();
    assert_eq!(answer(&plan(ordered(&[("v", Direction::Descending)])), &documents), expected);
}

#[test]
fn ties_are_broken_by_the_key_in_the_direction_of_the_last_field() {
    let documents: Vec<_> =
        (0..8).map(|n| document(&format!("c/{n}"), &json!({"a": 1, "b": 1}))).collect();
    let mut by_key = documents.clone();
    by_key.sort_by_key(|document| *document.path().key());
    let ids: Vec<_> = by_key.iter().map(|document| document.id().to_owned()).collect();
    let turned: Vec<_> = ids.iter().rev().cloned().collect();
    let (up, down) = (Direction::Ascending, Direction::Descending);
    assert_eq!(answer(&plan(query()), &documents), ids);
    assert_eq!(answer(&plan(ordered(&[("a", up)])), &documents), ids);
    assert_eq!(answer(&plan(ordered(&[("a", down)])), &documents), turned);
    assert_eq!(answer(&plan(ordered(&[("a", down), ("b", up)])), &documents), ids);
    assert_eq!(answer(&plan(ordered(&[("a", up), ("b", down)])), &documents), turned);
    assert_eq!(plan(ordered(&[("a", up), ("b", down)])).key_direction(), down);
}

#[test]
fn tombstones_have_no_data_to_be_ordered_by() {
    let tombstone = document("c/a", &json!({"v": 1})).tombstone(at(2000));
    let by_data = plan(ordered(&[("v", Direction::Ascending)]).show_deleted(true));
    assert_eq!(by_data.place_of(&tombstone), None);
    let by_time = plan(ordered(&[("updatedAt", Direction::Ascending)]).show_deleted(true));
    assert_eq!(by_time.place_of(&tombstone).unwrap().values, [scalar(&json!(2000))]);
}

#[test]
fn a_cursor_continues_exactly_behind_its_document() {
    let values =
        [json!(null), json!(1), json!(1), json!(1.5), json!("a"), json!(false), json!(true)];
    let documents: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(n, v)| document(&format!("c/{n}"), &json!({ "v": v })))
        .collect();
    for direction in [Direction::Ascending, Direction::Descending] {
        let first = plan(ordered(&[("v", direction)]));
        let all = answer(&first, &documents);
        for (position, id) in all.iter().enumerate() {
            let last = documents.iter().find(|document| document.id() == id).unwrap();
            let cursor = first.cursor_after(last).unwrap();
            let next = plan(ordered(&[("v", direction)]).after(Cursor::from_text(cursor.as_str())));
            assert_eq!(answer(&next, &documents), all[position + 1..]);
        }
    }
}

#[test]
fn a_cursor_needs_no_document_and_takes_explicit_values() {
    let documents: Vec<_> = (0..5).map(|n| document(&format!("c/{n}"), &json!({"v": n}))).collect();
    let by_value = || ordered(&[("v", Direction::Ascending)]);
    let next = plan(by_value().start_after(vec![json!(2.0)], path("c/gone")));
    let after = next.after().unwrap();
    assert_eq!(
        (after.values.as_slice(), &after.key),
        ([scalar(&json!(2))].as_slice(), path("c/gone").key())
    );
    let answer = answer(&next, &documents);
    assert!(answer.ends_with(&["3".to_owned(), "4".to_owned()]), "{answer:?}");
}

#[test]
fn cursor_values_must_be_comparable_and_one_per_field() {
    let start = |values: Vec<Value>| {
        QueryPlan::check(ordered(&[("v", Direction::Ascending)]).start_after(values, path("c/a")))
    };
    assert!(start(vec![json!(null)]).is_ok());
    let long = json!("x".repeat(513));
    for values in [
        vec![],
        vec![json!(1), json!(2)],
        vec![json!([1])],
        vec![json!({})],
        vec![long],
        vec![json!(u64::MAX)],
    ] {
        assert_eq!(reason(start(values)), Reason::Cursor);
    }
    assert!(QueryPlan::check(query().start_after(vec![], path("c/a"))).is_ok());
    assert_eq!(
        reason(QueryPlan::check(query().start_after(vec![json!(1)], path("c/a")))),
        Reason::Cursor
    );
}

#[test]
fn a_cursor_is_bound_to_collection_filters_and_order() {
    let of = |collection: &str, field: &str, operand: i64, order: &str, direction: Direction| {
        Query::new(collection)
            .and_then(|query| query.filter(field, Operator::NotEqual, operand))
            .and_then(|query| query.order_by(order, direction))
            .unwrap()
    };
    let up = Direction::Ascending;
    let base = || of("c", "a.b", 1, "v", up);
    let cursor = plan(base()).cursor_after(&document("c/a", &json!({"v": 1}))).unwrap();
    let use_with = |query: Query| QueryPlan::check(query.after(cursor.clone()));
    let others = [
        of("d", "a.b", 1, "v", up),
        of("c", "a.c", 1, "v", up),
        of("c", "`a.b`", 1, "v", up),
        of("c", "a.b", 2, "v", up),
        of("c", "a.b", 1, "w", up),
        of("c", "a.b", 1, "v", Direction::Descending),
        base().filter("a.b", Operator::NotEqual, 1).unwrap(),
        query()
            .filter("a.b", Operator::Equal, 1)
            .and_then(|query| query.order_by("v", up))
            .unwrap(),
        query(),
    ];
    for other in others {
        assert_eq!(reason(use_with(other.clone())), Reason::Cursor, "{other:?}");
    }
    // Another spelling, page size or view of tombstones is the same question.
    for same in
        [base(), of("c", "`a`.`b`", 1, "`v`", up), base().limit(7), base().show_deleted(true)]
    {
        assert!(use_with(same).is_ok());
    }
}

#[test]
fn a_damaged_cursor_is_refused_whatever_was_damaged() {
    let by_value = || ordered(&[("v", Direction::Ascending)]);
    let text = plan(by_value()).cursor_after(&document("c/a", &json!({"v": "text"}))).unwrap();
    let use_text = |text: &str| QueryPlan::check(by_value().after(Cursor::from_text(text)));
    assert!(use_text(text.as_str()).is_ok());
    for position in 0..text.as_str().len() {
        let mut bytes = text.as_str().as_bytes().to_vec();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        assert_eq!(reason(use_text(std::str::from_utf8(&bytes).unwrap())), Reason::Cursor);
        assert_eq!(reason(use_text(&text.as_str()[..position])), Reason::Cursor);
    }
    let longer = format!("{text}A");
    let huge = "A".repeat(100_000);
    for other in ["", "!", "=", " ", "é", longer.as_str(), huge.as_str()] {
        assert_eq!(reason(use_text(other)), Reason::Cursor);
    }
}

#[test]
fn the_place_of_a_document_reads_the_last_of_repeated_members() {
    // Not what we write; what a reader of raw text must agree on with the parser of the tree.
    let body = syntrix_storage_core::Body::from_canonical(r#"{"v":{"x":1},"v":{"x":2}}"#);
    let document = Document::first(path("c/a"), at(0), body);
    let place = plan(ordered(&[("v.x", Direction::Ascending)])).place_of(&document).unwrap();
    assert_eq!(place.values, [scalar(&json!(2))]);
    assert_eq!(document.value().unwrap()["v"]["x"], 2);
}

#[test]
fn places_compare_by_every_field_in_its_own_direction() {
    let plan = plan(ordered(&[("a", Direction::Ascending), ("b", Direction::Descending)]));
    let place = |a: i64, b: i64| plan.place_of(&document("c/x", &json!({"a": a, "b": b}))).unwrap();
    assert_eq!(plan.compare(&place(1, 9), &place(2, 0)), Ordering::Less);
    assert_eq!(plan.compare(&place(1, 9), &place(1, 0)), Ordering::Less);
    assert_eq!(plan.compare(&place(1, 0), &place(1, 0)), Ordering::Equal);
}
