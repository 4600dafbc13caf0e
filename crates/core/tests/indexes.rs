//! The index rule: when a query needs an index, which one serves it, and what the error suggests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::reason;
use serde_json::json;
use syntrix_storage_core::{
    CollectionPath, CollectionPattern, Direction, ErrorKind, IndexDefinition, IndexSuggestion,
    Operator, OrderBy, PatternSegment, Query, QueryPlan, Reason, Result,
};

/// Filters written as `room == 1`, orders as `ts desc`, joined by commas.
fn query(text: &str) -> Query {
    query_in("rooms/lobby/messages", text)
}

fn query_in(collection: &str, text: &str) -> Query {
    let mut query = Query::new(collection).unwrap();
    for part in text.split(", ").filter(|part| !part.is_empty()) {
        let words: Vec<_> = part.split(' ').collect();
        query = match words[..] {
            [field, direction] => query.order_by(field, parse(direction)),
            [field, "in", _] => query.filter(field, Operator::In, json!([1, 2])),
            [field, operator, _] => query.filter(field, operator.parse().unwrap(), 1),
            _ => panic!("{part}"),
        }
        .unwrap();
    }
    query
}

fn parse(direction: &str) -> Direction {
    match direction {
        "asc" => Direction::Ascending,
        "desc" => Direction::Descending,
        other => panic!("{other}"),
    }
}

fn fields(text: &str) -> Vec<OrderBy> {
    let term = |part: &str| {
        let (field, direction) = part.split_once(' ').unwrap();
        OrderBy::new(field, parse(direction)).unwrap()
    };
    text.split(", ").filter(|part| !part.is_empty()).map(term).collect()
}

fn index(pattern: &str, text: &str) -> Result<IndexDefinition> {
    IndexDefinition::new(pattern, fields(text))
}

fn suggested(query: Query) -> IndexSuggestion {
    let error = QueryPlan::new(query, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IndexRequired, "{error}");
    error.suggestion().unwrap().clone()
}

fn as_text(suggestion: &IndexSuggestion) -> String {
    let term = |term: &syntrix_storage_core::SuggestedField| {
        format!("{} {}", term.field, term.direction.as_str())
    };
    suggestion.fields.iter().map(term).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_table_of_the_index_rule() {
    let none = [
        "",
        "room == 1",
        "room in 1",
        "room == 1, room == 2",
        "ts > 1",
        "ts > 1, ts desc",
        "ts desc",
        "room == 1, tags contains 1",
        "status != 1, ts asc",
        "room == 1, status != 1",
        "room == 1, room asc",
        "a contains 1, b != 1, ts asc",
        // Ranges outside the order are tested row by row.
        "ts asc, n > 1",
        // These never count: every index has them.
        "collection == 1, ts asc",
        "deleted == 1, parent == 1, ts asc",
        "room == 1, deleted asc",
    ];
    for text in none {
        assert!(QueryPlan::new(query(text), &[]).is_ok(), "{text}");
    }
    let needs = [
        ("room == 1, ts desc", "room asc, ts desc"),
        ("room == 1, ts > 1", "room asc, ts asc"),
        ("room == 1, k == 1", "k asc, room asc"),
        ("k asc, ts desc", "k asc, ts desc"),
        ("room in 1, ts asc", "room asc, ts asc"),
        ("room == 1, room in 1, ts asc", "room asc, ts asc"),
        ("room == 1, k == 1, ts desc, n asc", "k asc, room asc, ts desc, n asc"),
        ("room == 1, ts > 1, n asc", "room asc, n asc"),
        ("room == 1, version desc", "room asc, version desc"),
        ("room == 1, room asc, ts asc", "room asc, ts asc"),
        ("z == 1, `a.b` == 1, a.b == 1", "`a.b` asc, a.b asc, z asc"),
        ("`room` == 1, `ts` desc", "room asc, ts desc"),
    ];
    for (text, expected) in needs {
        let suggestion = suggested(query(text));
        assert_eq!(as_text(&suggestion), expected, "{text}");
        assert_eq!(suggestion.collection, "rooms/*/messages");
        let definition = suggestion.to_definition().unwrap();
        let plan = QueryPlan::new(query(text), std::slice::from_ref(&definition)).unwrap();
        assert_eq!(plan.index(), Some(&definition), "{text}");
    }
}

#[test]
fn an_index_serves_with_its_equalities_in_any_order_and_its_order_as_asked_or_all_reversed() {
    let text = "room == 1, k == 1, ts desc, n asc";
    let serving = [
        "k asc, room asc, ts desc, n asc",
        "room desc, k asc, ts desc, n asc",
        "room asc, k desc, ts asc, n desc",
    ];
    let useless = [
        "k asc, room asc, ts desc, n desc",
        "k asc, room asc, ts asc, n asc",
        "k asc, room asc, n asc, ts desc",
        "k asc, ts desc, room asc, n asc",
        "k asc, room asc, ts desc",
        "ts desc, n asc",
        "k asc, other asc, ts desc, n asc",
    ];
    for candidate in serving {
        let index = index("rooms/*/messages", candidate).unwrap();
        assert!(QueryPlan::new(query(text), &[index]).is_ok(), "{candidate}");
    }
    for candidate in useless {
        let index = index("rooms/*/messages", candidate).unwrap();
        let error = QueryPlan::new(query(text), &[index]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IndexRequired, "{candidate}");
    }
    let trailing = index("rooms/*/messages", "room asc, ts asc, extra asc").unwrap();
    assert!(QueryPlan::new(query("room == 1, ts asc"), &[trailing]).is_err());
}

#[test]
fn the_first_serving_index_is_chosen_and_a_single_field_one_is_used_when_it_is_there() {
    let other = index("rooms/*/messages", "other asc").unwrap();
    let ts = index("rooms/*/messages", "ts desc").unwrap();
    let plan = QueryPlan::new(query("ts asc"), &[other, ts.clone()]).unwrap();
    assert_eq!(plan.index(), Some(&ts));
    let mut plan = QueryPlan::check(query("ts asc")).unwrap();
    assert_eq!(plan.index(), None);
    plan.assign_index(std::slice::from_ref(&ts)).unwrap();
    assert_eq!(plan.index(), Some(&ts));
}

#[test]
fn a_pattern_matches_segment_by_segment_and_stars_stand_for_documents_only() {
    let table = [
        ("rooms/*/messages", "rooms/lobby/messages", true),
        ("rooms/*/messages", "rooms/*/messages", true),
        ("rooms/lobby/messages", "rooms/lobby/messages", true),
        ("rooms/lobby/messages", "rooms/attic/messages", false),
        ("rooms/*/messages", "rooms/lobby/messages/m/notes", false),
        ("rooms/*/messages", "rooms", false),
        ("rooms", "rooms", true),
        ("rooms", "rooms2", false),
        ("room", "rooms", false),
        ("*", "*", true),
        ("*", "rooms", false),
        ("*/a/*", "x/a/y", false),
        ("*/*/*", "*/a/*", true),
        ("rooms/*/m*", "rooms/a/messages", false),
        ("a/*/b/*/c", "a/1/b/2/c", true),
        ("a/*/b/x/c", "a/1/b/2/c", false),
    ];
    for (pattern, collection, expected) in table {
        let pattern = CollectionPattern::parse(pattern).unwrap();
        let collection = CollectionPath::parse(collection).unwrap();
        assert_eq!(pattern.matches(&collection), expected, "{pattern} {collection}");
    }
    for text in ["", "rooms/*", "rooms//x", "a/../b"] {
        assert_eq!(reason(CollectionPattern::parse(text)), Reason::Path, "{text:?}");
    }
}

#[test]
fn the_pattern_of_a_collection_stars_its_documents_and_nothing_else() {
    let of = |text: &str| CollectionPattern::of(&CollectionPath::parse(text).unwrap()).to_string();
    assert_eq!(of("rooms"), "rooms");
    assert_eq!(of("rooms/lobby/messages"), "rooms/*/messages");
    assert_eq!(of("*/a/%_/b/[x]"), "*/*/%_/*/[x]");
    let pattern = CollectionPattern::parse("*/*/b/x/c").unwrap();
    let segments: Vec<_> = pattern.segments().collect();
    let expected = [
        PatternSegment::Collection("*"),
        PatternSegment::Any,
        PatternSegment::Collection("b"),
        PatternSegment::Document("x"),
        PatternSegment::Collection("c"),
    ];
    assert_eq!(segments, expected);
}

#[test]
fn names_are_derived_from_the_canonical_parts_joined_by_nul() {
    let hash = |parts: &[&str]| blake3::hash(parts.join("\0").as_bytes()).to_hex().to_string();
    let table = [
        ("rooms/*/messages", "room asc, ts desc"),
        ("c", "`1.0.1`.status asc, $schema desc"),
        ("c", "`` asc"),
    ];
    for (pattern, text) in table {
        let parts: Vec<_> = std::iter::once(pattern)
            .chain(text.split(", ").flat_map(|term| term.split(' ')))
            .collect();
        let name = format!("ix_{}", &hash(&parts)[..12]);
        assert_eq!(index(pattern, text).unwrap().name(), name);
    }
    let (quoted, bare) = (index("c", "`room` asc").unwrap(), index("c", "room asc").unwrap());
    assert_eq!(quoted, bare);
    assert_ne!(bare.name(), index("d", "room asc").unwrap().name());
    assert_ne!(bare.name(), index("c", "room desc").unwrap().name());
}

#[test]
fn index_too_wide() {
    assert!(index("c", "a asc, b asc, c asc, d asc").is_ok());
    for text in ["", "a asc, b asc, c asc, d asc, e asc"] {
        assert_eq!(reason(index("c", text)), Reason::IndexTooWide, "{text:?}");
    }
    let wide = |bytes: usize| index("c", &format!("{} asc, b asc", "k".repeat(bytes - 1)));
    assert!(wide(256).is_ok());
    assert_eq!(reason(wide(257)), Reason::IndexTooWide);
    // Quotes count: it is the canonical text that has to fit.
    assert_eq!(reason(index("c", &format!("`{}.` asc", "k".repeat(254)))), Reason::IndexTooWide);
}

#[test]
fn an_index_names_a_field_once_and_none_that_every_index_has() {
    for text in [
        "a asc, a desc",
        "a.b asc, `a`.`b` asc",
        "deleted asc",
        "a asc, collection asc",
        "parent asc",
    ] {
        assert_eq!(reason(index("c", text)), Reason::Index, "{text}");
    }
    assert!(index("c", "version asc, updatedAt desc").is_ok());
}

#[test]
fn a_query_that_no_index_can_serve_says_so() {
    let five = query("a == 1, b == 1, c == 1, d == 1, e asc");
    assert_eq!(reason(QueryPlan::new(five, &[])), Reason::IndexTooWide);
    let long = "k".repeat(300);
    assert_eq!(
        reason(QueryPlan::new(query(&format!("{long} == 1, ts asc")), &[])),
        Reason::IndexTooWide
    );
    assert!(QueryPlan::new(query(&format!("{long} == 1")), &[]).is_ok());
}

#[test]
fn a_suggestion_travels_as_json_and_is_checked_when_it_comes_back() {
    let suggestion = suggested(query("room == 1, ts desc"));
    let value = json!({
        "name": suggestion.name,
        "collection": "rooms/*/messages",
        "fields": [{"field": "room", "direction": "asc"}, {"field": "ts", "direction": "desc"}],
    });
    assert_eq!(serde_json::to_value(&suggestion).unwrap(), value);
    let back: IndexSuggestion = serde_json::from_str(&suggestion.to_json()).unwrap();
    assert_eq!(back.to_definition().unwrap().to_suggestion(), suggestion);
    let unnamed = IndexSuggestion { name: String::new(), ..suggestion.clone() };
    assert_eq!(unnamed.to_definition().unwrap().name(), suggestion.name);
    let renamed = IndexSuggestion { name: "mine".into(), ..suggestion };
    assert_eq!(reason(renamed.to_definition()), Reason::Index);
    let unknown_key = r#"{"collection":"c","fields":[],"unique":true}"#;
    assert!(serde_json::from_str::<IndexSuggestion>(unknown_key).is_err());
}

#[test]
fn a_plan_is_bounded_only_if_one_index_range_gives_its_rows() {
    let index = index("rooms/*/messages", "room asc, ts asc").unwrap();
    let bounded = |text: &str| {
        QueryPlan::new(query(text), std::slice::from_ref(&index)).unwrap().is_bounded()
    };
    for text in ["", "room == 1, ts asc", "room == 1, ts > 1"] {
        assert!(bounded(text), "{text}");
    }
    for text in [
        "n == 1",
        "room == 1, ts asc, n > 1",
        "room == 1, ts asc, n != 1",
        "room == 1, tags contains 1, ts asc",
    ] {
        assert!(!bounded(text), "{text}");
    }
}
