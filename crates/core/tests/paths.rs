//! Rule `path`: document and collection paths.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{path, reason};
use proptest::prelude::*;
use syntrix_storage_core::{
    CollectionPath, DocumentId, DocumentPath, ErrorKind, PATH_BYTES_MAX, Reason, check_stored_path,
};

#[test]
fn segments_may_hold_anything_but_control_characters_dots_and_nothing() {
    let bad =
        ["", "/", "c/", "/a", "c//a/b", "c/.", "c/..", "../a", "c/a\u{0}", "c/a\n", "c/\u{1f}"];
    for text in bad.into_iter().chain(["c/\u{7f}", "\t/a", "./a"]) {
        assert_eq!(reason(DocumentPath::parse(text)), Reason::Path, "{text:?}");
    }
    let good =
        ["c/...", "c/.a", "c/*", "*/%", "a*b/[x] %_?", "c/\\\"'`", "c/é😀", "c/\u{80}", " / "];
    for text in good {
        assert_eq!(DocumentPath::parse(text).unwrap().as_str(), text);
    }
}

#[test]
fn documents_have_an_even_number_of_segments_and_collections_an_odd_one() {
    for (text, is_document) in [("a", false), ("a/b", true), ("a/b/c", false), ("a/b/c/d", true)] {
        assert_eq!(DocumentPath::parse(text).is_ok(), is_document, "{text}");
        assert_eq!(CollectionPath::parse(text).is_ok(), !is_document, "{text}");
    }
    assert_eq!(reason(DocumentPath::parse("a")), Reason::Path);
    assert_eq!(reason(CollectionPath::parse("a/b")), Reason::Path);
}

#[test]
fn a_path_has_at_most_512_bytes_not_characters() {
    let of_bytes = |bytes: usize| format!("c/{}", "x".repeat(bytes - 2));
    assert!(DocumentPath::parse(&of_bytes(PATH_BYTES_MAX)).is_ok());
    assert_eq!(reason(DocumentPath::parse(&of_bytes(PATH_BYTES_MAX + 1))), Reason::Path);
    assert_eq!(reason(CollectionPath::parse(&"é".repeat(257))), Reason::Path);
    assert!(CollectionPath::parse(&"é".repeat(256)).is_ok());
}

#[test]
fn a_path_knows_its_parts() {
    let deep = path("rooms/lobby/messages/m1");
    let parts = (deep.id(), deep.collection_text(), deep.parent());
    assert_eq!(parts, ("m1", "rooms/lobby/messages", "rooms/lobby"));
    assert_eq!(path("rooms/lobby").parent(), "");
    assert_eq!(deep.collection().parent(), "rooms/lobby");
    assert_eq!(deep.collection().document("m1").unwrap(), deep);
    assert_eq!(reason(deep.collection().document("a/b")), Reason::Path);
    assert_eq!(reason(deep.collection().document("..")), Reason::Path);
    assert_eq!("rooms/lobby".parse::<DocumentPath>().unwrap(), path("rooms/lobby"));
}

#[test]
fn the_key_is_the_first_half_of_the_hash_of_the_whole_path() {
    let text = "rooms/lobby";
    let hash = blake3::hash(text.as_bytes());
    assert_eq!(path(text).key().as_bytes(), &hash.as_bytes()[..16]);
}

#[test]
fn a_row_of_another_path_under_the_same_key_is_an_internal_error() {
    assert!(check_stored_path(&path("c/a"), "c/a").is_ok());
    let error = check_stored_path(&path("c/a"), "c/b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    for damaged in ["", "c", "/a"] {
        let stored = DocumentPath::from_stored(damaged, DocumentId::from_bytes([0; 16]));
        assert_eq!(stored.unwrap_err().kind(), ErrorKind::Internal);
    }
}

/// The rule as the specification words it.
fn is_valid_segment(segment: &str) -> bool {
    let control = |character: char| character < ' ' || character == '\u{7f}';
    !segment.is_empty() && segment != "." && segment != ".." && !segment.contains(control)
}

proptest! {
    #[test]
    fn any_text_is_a_path_exactly_if_all_its_segments_are_valid(
        segments in prop::collection::vec("[a.*\u{0}\u{1f}\u{20}\u{7f}é]{0,3}", 1..6)
    ) {
        let text = segments.join("/");
        let valid = segments.iter().all(|segment| is_valid_segment(segment));
        let is_document = segments.len() % 2 == 0;
        prop_assert_eq!(DocumentPath::parse(&text).is_ok(), valid && is_document);
        prop_assert_eq!(CollectionPath::parse(&text).is_ok(), valid && !is_document);
    }
}
