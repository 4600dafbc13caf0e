//! Rule `field_path`: the grammar of field paths, and what their first segment may name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{document, path, reason};
use proptest::prelude::*;
use serde_json::{Value, json};
use syntrix_storage_core::{
    Direction, Field, Filter, KEY_BYTES_MAX, Operator, OrderBy, Patch, Query, Reason, Result,
    Scalar, SystemField,
};

fn keys(text: &str) -> Vec<String> {
    match Field::parse(text).unwrap() {
        Field::Data(path) => path.keys().to_vec(),
        Field::System(field) => panic!("{text} is the system field {}", field.as_str()),
    }
}

#[test]
fn paths_parse_into_lists_of_keys() {
    let table: [(&str, &[&str]); 15] = [
        ("releases.1.0.1.status", &["releases", "1", "0", "1", "status"]),
        ("releases.`1.0.1`.status", &["releases", "1.0.1", "status"]),
        ("$schema", &["$schema"]),
        ("$ref.$id", &["$ref", "$id"]),
        ("``.x", &["", "x"]),
        ("``", &[""]),
        ("````", &["`"]),
        ("`a``b`", &["a`b"]),
        ("``````", &["``"]),
        ("`a.b```", &["a.b`"]),
        ("q\"r\\s", &["q\"r\\s"]),
        ("`a`.`b`", &["a", "b"]),
        ("a b. \n", &["a b", " \n"]),
        ("a.`1.0.1`.$b.``", &["a", "1.0.1", "$b", ""]),
        ("a.version.id._id", &["a", "version", "id", "_id"]),
    ];
    for (text, expected) in table {
        assert_eq!(keys(text), expected, "{text}");
    }
}

#[test]
fn text_that_breaks_the_grammar_is_refused() {
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    let quoted_long = format!("`{long}`");
    let segments = vec!["a"; 65].join(".");
    let table = [
        ("", "empty bare segment"),
        (".", "empty bare segment"),
        ("a.", "empty bare segment"),
        (".a", "empty bare segment"),
        ("a..b", "empty bare segment"),
        ("`", "open quote"),
        ("```", "open quote"),
        ("`a", "open quote"),
        ("`a``", "open quote"),
        ("a.`b", "open quote"),
        ("`a`b", "something after a closing backtick"),
        ("`a` ", "something after a closing backtick"),
        ("`a`b.c", "something after a closing backtick"),
        ("a`b", "backtick in a bare segment"),
        ("a`", "backtick in a bare segment"),
        ("a.b`c`", "backtick in a bare segment"),
        ("a\0", "U+0000"),
        ("`a\0`", "U+0000"),
        (&long, "segment above 512 bytes"),
        (&quoted_long, "segment above 512 bytes"),
        (&segments, "more than 64 segments"),
    ];
    for (text, why) in table {
        assert_eq!(reason(Field::parse(text)), Reason::FieldPath, "{why}: {text:?}");
        let patch = Patch::new().set(text, 1).check(&path("c/a"));
        assert_eq!(reason(patch), Reason::FieldPath, "{why}: patch {text:?}");
    }
    let longest = "k".repeat(KEY_BYTES_MAX);
    assert_eq!(keys(&longest)[0], longest);
    assert_eq!(keys(&vec!["a"; 64].join(".")).len(), 64);
}

#[test]
fn every_place_that_takes_a_field_path_checks_it() {
    let uses: [(&str, Result<()>); 4] = [
        ("filter", Filter::new("a..b", Operator::Equal, 1).map(drop)),
        ("order", OrderBy::new("a..b", Direction::Ascending).map(drop)),
        ("query filter", Query::new("c").unwrap().filter("a..b", Operator::Equal, 1).map(drop)),
        ("query order", Query::new("c").unwrap().order_by("a..b", Direction::Ascending).map(drop)),
    ];
    for (place, outcome) in uses {
        assert_eq!(reason(outcome), Reason::FieldPath, "{place}");
    }
}

#[test]
fn the_first_segment_may_be_a_system_field_quoted_or_not_and_nothing_follows_it() {
    for name in ["fullpath", "collection", "parent", "createdAt", "updatedAt", "version", "deleted"]
    {
        let field = Field::parse(name).unwrap();
        assert!(matches!(field, Field::System(system) if system.as_str() == name));
        assert_eq!(Field::parse(&format!("`{name}`")).unwrap(), field);
        for below in [format!("{name}.a"), format!("`{name}`.a")] {
            assert_eq!(reason(Field::parse(&below)), Reason::FieldPath, "{below}");
        }
    }
    for name in ["_id", "`_id`", "_id.a", "id", "`id`", "id.a"] {
        assert_eq!(reason(Field::parse(name)), Reason::FieldPath, "{name}");
    }
}

#[test]
fn system_fields_read_what_the_store_keeps() {
    let document = document("rooms/lobby/messages/m1", &json!({}));
    let text = |text: &str| Scalar::String(text.to_owned());
    let table = [
        (SystemField::Fullpath, text("rooms/lobby/messages/m1")),
        (SystemField::Collection, text("rooms/lobby/messages")),
        (SystemField::Parent, text("rooms/lobby")),
        (SystemField::CreatedAt, Scalar::Integer(1000)),
        (SystemField::UpdatedAt, Scalar::Integer(1000)),
        (SystemField::Version, Scalar::Integer(1)),
        (SystemField::Deleted, Scalar::Bool(false)),
    ];
    for (field, expected) in table {
        assert_eq!(field.of(&document), expected, "{}", field.as_str());
    }
}

#[test]
fn two_spellings_of_the_same_keys_are_one_field_and_the_canonical_form_is_bare_where_it_can_be() {
    let table = [
        ("`room`", "room"),
        ("a.`b`.c", "a.b.c"),
        ("`$schema`", "$schema"),
        ("`1.0.1`.`status`", "`1.0.1`.status"),
        ("``", "``"),
        ("`a``b`", "`a``b`"),
        ("` `", " "),
        ("`version`", "version"),
    ];
    for (text, canonical) in table {
        assert_eq!(Field::parse(text).unwrap().to_string(), canonical);
        assert_eq!(Field::parse(text).unwrap(), Field::parse(canonical).unwrap());
    }
    assert_ne!(Field::parse("a.b").unwrap(), Field::parse("`a.b`").unwrap());
}

#[test]
fn a_path_goes_through_objects_only() {
    let data = json!({"a": {"0": 1, "b": [{"c": 2}], "n": null, "s": "t"}, "": {"": 3}});
    let find = |text: &str| match Field::parse(text).unwrap() {
        Field::Data(path) => path.find(&data).cloned(),
        Field::System(_) => None,
    };
    assert_eq!(find("a.0"), Some(json!(1)));
    assert_eq!(find("a.n"), Some(Value::Null));
    assert_eq!(find("``.``"), Some(json!(3)));
    for missing in ["a.b.0", "a.b.c", "a.b.0.c", "a.n.x", "a.s.t", "a.x", "x"] {
        assert_eq!(find(missing), None, "{missing}");
    }
}

/// Writes keys as a path with every key quoted, whether it needs it or not.
fn quoted(keys: &[String]) -> String {
    let segment = |key: &String| format!("`{}`", key.replace('`', "``"));
    keys.iter().map(segment).collect::<Vec<_>>().join(".")
}

proptest! {
    #[test]
    fn any_keys_have_a_path_and_its_canonical_form_reads_back(
        first in "[ab.`$\\\\\"é\n]{0,4}", rest in prop::collection::vec("[ab.`$é]{0,4}", 0..63)
    ) {
        let mut all = vec![first];
        all.extend(rest);
        let field = Field::parse(&quoted(&all)).unwrap();
        prop_assert_eq!(&Field::parse(&field.to_string()).unwrap(), &field);
        prop_assert_eq!(keys(&field.to_string()), all);
    }

    #[test]
    fn any_text_is_refused_or_reads_back_as_the_same_field(text in "[ab.`\u{0}é]{0,12}") {
        match Field::parse(&text) {
            Ok(field) => prop_assert_eq!(Field::parse(&field.to_string()).unwrap(), field),
            Err(error) => prop_assert_eq!(error.reason(), Some(Reason::FieldPath)),
        }
    }
}
