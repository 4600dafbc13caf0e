//! What verify remembers of a document, and the one form in which documents of different databases are compared.

use serde_json::{Map, Value};
use syntrix_storage_core::{Document, DocumentPath, Metadata, Result, normalize_data};

use super::Depth;
use super::report::FieldDifference;

/// A document, reduced to what a comparison needs.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: DocumentPath,
    pub(super) metadata: Metadata,
    /// The first half of BLAKE3 over the canonical form; with [`Depth::Quick`] over the metadata alone.
    pub(super) digest: u128,
}

impl Entry {
    pub(super) fn of(document: &Document, depth: Depth) -> Self {
        Self {
            path: document.path().clone(),
            metadata: document.metadata(),
            digest: digest(document, depth),
        }
    }

    pub(super) fn text(&self) -> &str {
        self.path.as_str()
    }
}

/// A document of which nothing but the data is missing differs in its digest from every other one.
fn digest(document: &Document, depth: Depth) -> u128 {
    let metadata = document.metadata();
    let mut hasher = blake3::Hasher::new();
    hasher.update(document.path().as_str().as_bytes());
    hasher.update(&[0, u8::from(metadata.deleted)]);
    hasher.update(&metadata.version.get().to_be_bytes());
    hasher.update(&metadata.created_at.as_milliseconds().to_be_bytes());
    if depth == Depth::Deep {
        hasher.update(&metadata.updated_at.as_milliseconds().to_be_bytes());
        hasher.update(canonical_text(document).as_bytes());
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_be_bytes(half)
}

/// Sorted keys and one form of each number, however the database writes them. What is damaged stands for itself.
fn canonical_text(document: &Document) -> String {
    canonical(document)
        .map_or_else(|_| document.raw().to_owned(), |data| Value::Object(data).to_string())
}

fn canonical(document: &Document) -> Result<Map<String, Value>> {
    normalize_data(document.path(), document.value()?)
}

/// The first difference in the order of names; the data's before the system fields'.
pub(super) fn first_difference(primary: &Document, shadow: &Document) -> Option<FieldDifference> {
    let (Ok(left), Ok(right)) = (canonical(primary), canonical(shadow)) else {
        let is_other = primary.raw() != shadow.raw();
        return is_other.then(|| FieldDifference::of("(damaged data)"));
    };
    let data = first_in_maps("", &left, &right);
    data.or_else(|| first_in_maps("", &system_fields(primary), &system_fields(shadow)))
}

fn system_fields(document: &Document) -> Map<String, Value> {
    let metadata = document.metadata();
    Map::from_iter([
        ("version".to_owned(), Value::from(metadata.version.get())),
        ("createdAt".to_owned(), Value::from(metadata.created_at.as_milliseconds())),
        ("updatedAt".to_owned(), Value::from(metadata.updated_at.as_milliseconds())),
        ("deleted".to_owned(), Value::from(metadata.deleted)),
    ])
}

pub(super) fn first_in_maps(
    above: &str,
    left: &Map<String, Value>,
    right: &Map<String, Value>,
) -> Option<FieldDifference> {
    let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().find_map(|name| first_in(&join(above, name), left.get(name), right.get(name)))
}

fn first_in(field: &str, left: Option<&Value>, right: Option<&Value>) -> Option<FieldDifference> {
    match (left, right) {
        (left, right) if left == right => None,
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            first_in_maps(field, left, right)
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => (0..left.len().max(right.len()))
            .find_map(|index| {
                first_in(&join(field, &index.to_string()), left.get(index), right.get(index))
            }),
        (left, right) => {
            let (primary_value, shadow_value) = (left.cloned(), right.cloned());
            Some(FieldDifference { field: field.to_owned(), primary_value, shadow_value })
        }
    }
}

fn join(above: &str, name: &str) -> String {
    match above {
        "" => name.to_owned(),
        above => format!("{above}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use syntrix_storage_core::{Body, Timestamp};

    use super::*;

    fn document(text: &str) -> Document {
        let path = DocumentPath::parse("rooms/lobby").unwrap();
        Document::first(path, Timestamp::from_milliseconds(5), Body::from_canonical(text))
    }

    #[test]
    fn key_order_and_number_forms_do_not_count() {
        let (left, right) =
            (document(r#"{"a":1,"b":{"x":2.0}}"#), document(r#"{"b":{"x":2},"a":1}"#));
        assert_eq!(digest(&left, Depth::Deep), digest(&right, Depth::Deep));
        assert_eq!(first_difference(&left, &right), None);
    }

    #[test]
    fn neighbours_beyond_what_a_double_can_tell_apart_differ() {
        let (left, right) =
            (document(r#"{"n":9007199254740993}"#), document(r#"{"n":9007199254740992}"#));
        assert_ne!(digest(&left, Depth::Deep), digest(&right, Depth::Deep));
    }

    #[test]
    fn the_first_differing_field_is_named_by_its_path() {
        let (left, right) = (
            document(r#"{"a":{"b":[1,{"c":"x"}]},"z":1}"#),
            document(r#"{"a":{"b":[1,{"c":"y"}]},"z":2}"#),
        );
        let place = first_difference(&left, &right).unwrap();
        assert_eq!((place.field.as_str(), place.shadow_value), ("a.b.1.c", Some(json!("y"))));
    }

    #[test]
    fn a_quick_look_sees_metadata_only() {
        let (left, right) = (document(r#"{"a":1}"#), document(r#"{"a":2}"#));
        assert_eq!(digest(&left, Depth::Quick), digest(&right, Depth::Quick));
        assert_ne!(digest(&left, Depth::Deep), digest(&right, Depth::Deep));
        let deleted = left.tombstone(Timestamp::from_milliseconds(6));
        assert_ne!(digest(&left, Depth::Quick), digest(&deleted, Depth::Quick));
    }
}
