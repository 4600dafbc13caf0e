//! Paths, fields and names: what is taken reads back as itself.

use syntrix_storage::{
    CollectionPath, CollectionPattern, DocumentPath, Field, HumanDuration, TokenId, UserId,
    UsernameKey,
};

use crate::Target;

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Document and collection paths.
pub(crate) struct Path;

impl Target for Path {
    fn name(&self) -> &'static str {
        "path"
    }

    fn corpus(&self) -> Vec<String> {
        owned(&[
            "rooms/lobby",
            "rooms/lobby/messages/m1",
            "rooms",
            "c/é/ü/\u{1f600}",
            "a//b",
            "./..",
            "*/x",
        ])
    }

    fn read(&self, input: &str) {
        if let Ok(path) = DocumentPath::parse(input) {
            assert_eq!(path.as_str(), input);
            let collection = path.collection();
            let again = collection.document(path.id()).ok();
            assert_eq!(again.as_ref(), Some(&path));
        }
        if let Ok(collection) = CollectionPath::parse(input) {
            assert_eq!(collection.as_str(), input);
            assert!(DocumentPath::parse(input).is_err(), "both a document and a collection");
            assert!(CollectionPattern::of(&collection).matches(&collection));
        }
    }
}

/// Field paths with their escapes.
pub(crate) struct FieldPath;

impl Target for FieldPath {
    fn name(&self) -> &'static str {
        "field_path"
    }

    fn corpus(&self) -> Vec<String> {
        owned(&[
            "name",
            "a.b.c",
            "`a.b`.c",
            "`x``y`",
            "version",
            "createdAt",
            "a..b",
            "`",
            "a.`b.c`.d",
            "\\u0041",
        ])
    }

    fn read(&self, input: &str) {
        let Ok(field) = Field::parse(input) else { return };
        let shown = field.to_string();
        let again = Field::parse(&shown).ok();
        assert_eq!(again.as_ref(), Some(&field), "{shown:?} does not read back");
    }
}

/// Names of accounts, ids and durations.
pub(crate) struct Names;

impl Target for Names {
    fn name(&self) -> &'static str {
        "names"
    }

    fn corpus(&self) -> Vec<String> {
        owned(&[
            "Ada",
            "ada.lovelace+x@example.org",
            "id-1_A",
            "30d",
            "250ms",
            "18446744073709551615d",
            "\u{212a}",
            "ſ",
        ])
    }

    fn read(&self, input: &str) {
        if let Ok(key) = UsernameKey::fold(input) {
            assert_eq!(UsernameKey::fold(key.as_str()).ok(), Some(key), "folding is final");
        }
        if let Ok(id) = UserId::parse(input) {
            assert_eq!(id.as_str(), input);
        }
        if let Ok(token) = TokenId::parse(input) {
            assert!(!format!("{token:?}").contains(input) || input.len() < 12);
        }
        if let Ok(duration) = input.parse::<HumanDuration>() {
            assert_eq!(duration.to_string().parse().ok(), Some(duration));
        }
    }
}
