//! One line of an import: which document it is.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use syntrix_storage::{CollectionPath, DocumentPath, Error};

use crate::failure::{Failure, error_json};
use crate::json::{self, JsonFault};

/// What `export --meta` adds and the store sets by itself.
const IGNORED: [&str; 3] = ["version", "createdAt", "updatedAt"];
/// Names a data object cannot have; as an id field they are taken out of it.
const RESERVED: [&str; 9] = [
    "id",
    "_id",
    "fullpath",
    "collection",
    "parent",
    "createdAt",
    "updatedAt",
    "version",
    "deleted",
];

/// Why a line is rejected. Cheap to clone: one failure of the store may meet many lines.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It is no line of an import.
    Text(String),
    /// The store refuses it.
    Store(Arc<Error>),
}

impl Fault {
    pub(super) fn text(message: impl Into<String>) -> Self {
        Self::Text(message.into())
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Text(message) => json!({ "kind": "malformed", "message": message }),
            Self::Store(error) => error_json(error),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Store(Arc::new(error.in_operation("import")))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(message) => formatter.write_str(message),
            Self::Store(error) => error.fmt(formatter),
        }
    }
}

/// Where path and data stand in a line.
pub(super) struct LineFormat {
    shape: Shape,
    renames: Vec<(String, String)>,
}

enum Shape {
    /// `{"path","data"}`.
    PathAndData,
    /// The data itself.
    Plain { collection: CollectionPath, id_field: Option<String> },
}

impl LineFormat {
    pub(super) fn new(
        collection: Option<&str>,
        id_field: Option<String>,
        renames: &[(String, String)],
    ) -> Result<Self, Failure> {
        let shape = match collection {
            None => Shape::PathAndData,
            Some(collection) => {
                let collection = CollectionPath::parse(collection);
                let collection = collection.map_err(|error| error.in_operation("import"))?;
                Shape::Plain { collection, id_field }
            }
        };
        Ok(Self { shape, renames: renames.to_vec() })
    }

    /// The document that line `number` stands for.
    pub(super) fn parse(&self, number: u64, text: &str) -> Result<(DocumentPath, Value), Fault> {
        let object = match json::parse(text) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(Fault::text("the line is no JSON object")),
            Err(JsonFault::Integer) => return Err(json::integer_too_large().into()),
            Err(JsonFault::Syntax(error)) => {
                return Err(Fault::text(format!("the line is no JSON: {error}")));
            }
        };
        let (path, mut data) = match &self.shape {
            Shape::PathAndData => path_and_data(object)?,
            Shape::Plain { collection, id_field } => match id_field {
                Some(field) => named_by(field, collection, object)?,
                None => (collection.document(&number.to_string())?, Value::Object(object)),
            },
        };
        self.rename(&mut data)?;
        Ok((path, data))
    }

    fn rename(&self, data: &mut Value) -> Result<(), Fault> {
        let Value::Object(members) = data else { return Ok(()) };
        for (old, new) in &self.renames {
            let Some(value) = members.remove(old) else { continue };
            if members.insert(new.clone(), value).is_some() {
                return Err(Fault::text(format!("`{old}` cannot become `{new}`: both are there")));
            }
        }
        Ok(())
    }
}

fn path_and_data(mut line: Map<String, Value>) -> Result<(DocumentPath, Value), Fault> {
    let (Some(Value::String(path)), Some(data)) = (line.remove("path"), line.remove("data")) else {
        return Err(Fault::text(
            "the line is no {\"path\",\"data\"}; import plain objects with --collection",
        ));
    };
    if let Some(name) = line.keys().find(|name| !IGNORED.contains(&name.as_str())) {
        return Err(Fault::text(format!("the line has a member `{name}` beside path and data")));
    }
    Ok((DocumentPath::parse(&path)?, data))
}

/// A reserved name cannot stay in the data; any other member stays where it is.
fn named_by(
    field: &str,
    collection: &CollectionPath,
    mut object: Map<String, Value>,
) -> Result<(DocumentPath, Value), Fault> {
    let id = match object.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if number.is_i64() => number.to_string(),
        Some(_) => {
            return Err(Fault::text(format!("`{field}` is neither a string nor an integer")));
        }
        None => return Err(Fault::text(format!("there is no `{field}` to name the document"))),
    };
    if RESERVED.contains(&field) {
        object.remove(field);
    }
    Ok((collection.document(&id)?, Value::Object(object)))
}

/// `OLD=NEW`.
pub(super) fn parse_rename(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if old != new => Ok((old.to_owned(), new.to_owned())),
        _ => Err("write it as OLD=NEW, for example version=revision".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(collection: Option<&str>, id_field: Option<&str>, renames: &[&str]) -> LineFormat {
        let renames: Vec<_> =
            renames.iter().map(|text| parse_rename(text).expect("a rename")).collect();
        LineFormat::new(collection, id_field.map(str::to_owned), &renames).expect("a format")
    }

    fn parsed(format: &LineFormat, line: &str) -> (String, Value) {
        let (path, data) = format.parse(7, line).expect(line);
        (path.to_string(), data)
    }

    #[test]
    fn an_exported_line_is_read_back_with_or_without_meta() {
        let format = format(None, None, &[]);
        for meta in ["", r#","version":3,"createdAt":1,"updatedAt":2"#] {
            let line = format!(r#"{{"path":"a/1","data":{{"n":1}}{meta}}}"#);
            assert_eq!(parsed(&format, &line), ("a/1".into(), json!({"n": 1})));
        }
    }

    #[test]
    fn a_plain_object_is_named_by_its_field_or_its_line() {
        let by_code = format(Some("c"), Some("code"), &[]);
        assert_eq!(parsed(&by_code, r#"{"code":"x"}"#), ("c/x".into(), json!({"code": "x"})));
        let by_id = format(Some("c"), Some("id"), &[]);
        assert_eq!(parsed(&by_id, r#"{"id":5,"n":1}"#), ("c/5".into(), json!({"n": 1})));
        let by_line = format(Some("c"), None, &[]);
        assert_eq!(parsed(&by_line, r#"{"n":1}"#), ("c/7".into(), json!({"n": 1})));
    }

    #[test]
    fn reserved_names_can_be_renamed_but_never_onto_another_member() {
        let format = format(Some("c"), None, &["version=revision"]);
        assert_eq!(parsed(&format, r#"{"version":2}"#).1, json!({"revision": 2}));
        assert!(format.parse(1, r#"{"version":2,"revision":1}"#).is_err());
    }

    #[test]
    fn lines_that_are_no_documents_are_rejected() {
        let format = format(None, None, &[]);
        for line in [
            "[]",
            "{",
            r#"{"path":"a/1"}"#,
            r#"{"path":"a","data":{}}"#,
            r#"{"path":"a/1","data":{},"x":1}"#,
        ] {
            assert!(format.parse(1, line).is_err(), "{line}");
        }
    }
}
