//! Patches: field paths and what becomes of them.

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Reason, Result};
use crate::field::{FieldPath, PatchTarget, parse_patch_target};
use crate::path::DocumentPath;
use crate::value::{kind_of, normalize_value};

const DELETE_SENTINEL: &str = "$delete";

/// Changes to single fields of a document. A value replaces what was there; missing parents are created.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use syntrix_storage_core::Patch;
///
/// let patch = Patch::new().remove("closed").set("seats.free", json!(3));
/// // The same, as it travels in JSON:
/// let same = Patch::from_value(json!({"closed": {"$delete": true}, "seats.free": 3}))?;
/// assert_eq!(patch, same);
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch(Vec<(String, Value)>);

impl Patch {
    /// A patch that changes nothing; it still counts as a write.
    pub fn new() -> Self {
        Self::default()
    }

    /// The patch written as a JSON object: field paths and values, `{"$delete": true}` removes.
    ///
    /// # Errors
    ///
    /// [`Reason::DataNotObject`].
    pub fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Object(members) => Ok(Self(members.into_iter().collect())),
            other => Err(Error::invalid(
                "patch",
                Reason::DataNotObject,
                "a patch is a JSON object of field paths and values",
            )
            .with_fact("value", kind_of(&other))),
        }
    }

    /// Sets a field.
    #[must_use]
    pub fn set(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.push((field.into(), value.into()));
        self
    }

    /// Removes a field; no error if it is missing.
    #[must_use]
    pub fn remove(self, field: impl Into<String>) -> Self {
        self.set(field, Value::Object(Map::from_iter([(DELETE_SENTINEL.into(), true.into())])))
    }

    /// Checks the patch for the document at `path`, before anything is read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] with the broken rule.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::{Map, json};
    /// use syntrix_storage_core::{DocumentPath, Patch, Reason};
    ///
    /// let path = DocumentPath::parse("rooms/lobby")?;
    /// let patch = Patch::new().set("seats.free", 3).check(&path)?;
    /// assert_eq!(patch.apply(Map::new())?["seats"], json!({"free": 3}));
    /// let error = Patch::new().set("seats", 1).set("`seats`.free", 3).check(&path).unwrap_err();
    /// assert_eq!(error.reason(), Some(Reason::PatchOverlap));
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn check(self, path: &DocumentPath) -> Result<CheckedPatch> {
        let mut changes = Vec::with_capacity(self.0.len());
        for (field, value) in self.0 {
            match parse_patch_target(&field)? {
                PatchTarget::OwnId => check_own_id(path, &value)?,
                PatchTarget::Data(target) => changes.push(Change::new(target, value)?),
            }
        }
        changes.sort_by(|left, right| left.target.cmp(&right.target));
        check_overlap(&changes)?;
        Ok(CheckedPatch(changes))
    }
}

fn check_own_id(path: &DocumentPath, value: &Value) -> Result<()> {
    if value.as_str() == Some(path.id()) {
        return Ok(());
    }
    Err(Error::invalid(
        "id",
        Reason::ReservedField,
        "id is the last segment of the path and cannot be changed; leave it out",
    ))
}

/// In order of key lists a path is directly followed by the paths that lead through it.
fn check_overlap(changes: &[Change]) -> Result<()> {
    for pair in changes.windows(2) {
        if pair[1].target.keys().starts_with(pair[0].target.keys()) {
            return Err(Error::invalid(
                pair[1].target.to_string(),
                Reason::PatchOverlap,
                "two paths of a patch are equal or one leads through the other; give the outer value as a whole",
            ));
        }
    }
    Ok(())
}

/// A patch that broke no rule, ready to be applied to a document's data.
#[derive(Clone, Debug)]
pub struct CheckedPatch(Vec<Change>);

#[derive(Clone, Debug)]
struct Change {
    target: FieldPath,
    /// `None` removes.
    value: Option<Value>,
}

impl Change {
    fn new(target: FieldPath, mut value: Value) -> Result<Self> {
        if let Some(sentinel) = sentinel(&value) {
            return match sentinel {
                Value::Bool(true) => Ok(Self { target, value: None }),
                _ => Err(Error::invalid(
                    target.to_string(),
                    Reason::DeleteSentinel,
                    "a field is removed by exactly {\"$delete\": true}",
                )),
            };
        }
        normalize_value(&mut value, target.keys().len() + 1)?;
        Ok(Self { target, value: Some(value) })
    }
}

fn sentinel(value: &Value) -> Option<&Value> {
    let members = value.as_object()?;
    if members.len() == 1 { members.get(DELETE_SENTINEL) } else { None }
}

impl CheckedPatch {
    /// Applies all changes to `data`, or none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PathConflict`] if a change leads through something that is not an object.
    pub fn apply(&self, mut data: Map<String, Value>) -> Result<Map<String, Value>> {
        for change in &self.0 {
            match &change.value {
                Some(value) => set(&mut data, &change.target, value.clone())?,
                None => remove(&mut data, &change.target),
            }
        }
        Ok(data)
    }
}

fn set(data: &mut Map<String, Value>, target: &FieldPath, value: Value) -> Result<()> {
    let Some((last, parents)) = target.keys().split_last() else { return Ok(()) };
    let mut object = data;
    for key in parents {
        let entry = object.entry(key.as_str()).or_insert_with(|| Value::Object(Map::new()));
        let kind = kind_of(entry);
        object = match entry {
            Value::Object(members) => members,
            _ => return Err(path_conflict(target, key, kind)),
        };
    }
    object.insert(last.clone(), value);
    Ok(())
}

/// A field below something that is not an object is missing, and a missing field is removed already.
fn remove(data: &mut Map<String, Value>, target: &FieldPath) {
    let Some((last, parents)) = target.keys().split_last() else { return };
    let object = parents
        .iter()
        .try_fold(data, |object, key| object.get_mut(key).and_then(Value::as_object_mut));
    if let Some(object) = object {
        object.remove(last);
    }
}

fn path_conflict(target: &FieldPath, key: &str, kind: &'static str) -> Error {
    Error::new(ErrorKind::PathConflict, "patch")
        .with_message(
            "the path leads through something that is not an object; set that field first",
        )
        .with_fact("field", target)
        .with_fact("at", key)
        .with_fact("found", kind)
}
