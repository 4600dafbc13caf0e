//! Settings as a tree that knows where each key and value stands in its file.
//!
//! The tree has no format: the registry makes it from YAML, a test from code. [`SettingsNode::decode`] turns a part of it into
//! a type of the backend's own. Neither `Debug` nor any error of this module shows a value, since it may be a secret.

mod decode;
mod suggest;
mod transport;

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
pub use transport::{AddressTls, TlsMode, TlsSettings, Transport, is_this_machine};

/// Where something stands in a file. Both numbers count from 1; 0 means that nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl Location {
    /// Line and column, both from 1.
    pub const fn new(line: u32, column: u32) -> Self {
        Self { line, column }
    }

    /// Whether it says anything.
    pub const fn is_known(self) -> bool {
        self.line > 0
    }
}

/// One value of the settings and its place.
///
/// # Examples
///
/// ```
/// use serde::Deserialize;
/// use syntrix_storage_core::{Location, SettingsNode, SettingsValue};
///
/// #[derive(Debug, Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Settings {
///     path: String,
/// }
///
/// let value = SettingsNode::new(SettingsValue::Text("a.db".into()), Location::new(2, 9));
/// let block = |key: &str| {
///     let entry = (key.to_owned(), Location::new(2, 3), value.clone());
///     SettingsNode::new(SettingsValue::Map(vec![entry]), Location::new(1, 1))
/// };
///
/// assert_eq!(block("path").decode::<Settings>()?.path, "a.db");
/// let error = block("paht").decode::<Settings>().unwrap_err();
/// assert_eq!((error.fact("key"), error.fact("line")), (Some("paht"), Some("2")));
/// assert!(error.to_string().contains("did you mean `path`?"));
/// # Ok::<(), syntrix_storage_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct SettingsNode {
    /// The value.
    pub value: SettingsValue,
    /// Where the value begins. Of a block: where its key stands, so that "a key is missing" points there.
    pub location: Location,
    /// The value came from the environment or from a file, as text: it is read as whatever type is asked for.
    pub secret: bool,
}

/// A value of the settings.
#[derive(Clone, PartialEq)]
pub enum SettingsValue {
    /// Nothing. Where a mapping is asked for, an empty one.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<SettingsNode>),
    /// A mapping in the order of the file: key, place of the key, value.
    Map(Vec<(String, Location, SettingsNode)>),
}

impl SettingsNode {
    /// A node that is no secret.
    pub const fn new(value: SettingsValue, location: Location) -> Self {
        Self { value, location, secret: false }
    }

    /// Reads the node as a `T`, usually a struct with `deny_unknown_fields`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConfigInvalid`] with the facts `key` (path below this node), `line` and `column` for an unknown, missing
    /// or doubled key, a wrong type or a value out of range. It says the kind of a value, never the value.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        decode::decode(self)
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&SettingsNode> {
        self.entries().iter().find(|(name, _, _)| name == key).map(|(_, _, node)| node)
    }

    /// Key, place of the key and value of each entry; empty if this is no mapping.
    pub fn entries(&self) -> &[(String, Location, SettingsNode)] {
        match &self.value {
            SettingsValue::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text, if this is text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            SettingsValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What sort of value this is, for messages: `text`, `an integer`, `a mapping` and so on.
    pub const fn kind_name(&self) -> &'static str {
        match self.value {
            SettingsValue::Null => "nothing",
            SettingsValue::Bool(_) => "true or false",
            SettingsValue::Integer(_) => "an integer",
            SettingsValue::Float(_) => "a number",
            SettingsValue::Text(_) => "text",
            SettingsValue::List(_) => "a list",
            SettingsValue::Map(_) => "a mapping",
        }
    }

    /// The error for a rule that the types cannot say: the value under `key` breaks it. `message` must not contain the value.
    ///
    /// # Examples
    ///
    /// ```
    /// # use syntrix_storage_core::{Location, SettingsNode, SettingsValue};
    /// # let value = SettingsNode::new(SettingsValue::Text("../a.db".into()), Location::new(2, 9));
    /// # let entry = ("path".to_owned(), Location::new(2, 3), value);
    /// # let block = SettingsNode::new(SettingsValue::Map(vec![entry]), Location::new(1, 1));
    /// let error = block.invalid("path", "must lie inside the data directory");
    /// assert_eq!((error.fact("line"), error.fact("column")), (Some("2"), Some("9")));
    /// ```
    pub fn invalid(&self, key: &str, message: impl Into<Cow<'static, str>>) -> Error {
        let location = self.get(key).map_or(self.location, |node| node.location);
        config_invalid(message, key, location)
    }

    /// The entry of `valid` that `given` was probably meant to be.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::SettingsNode;
    ///
    /// assert_eq!(SettingsNode::nearest("primry", ["primary", "shadow"]), Some("primary"));
    /// assert_eq!(SettingsNode::nearest("colour", ["primary", "shadow"]), None);
    /// ```
    pub fn nearest<'valid>(
        given: &str,
        valid: impl IntoIterator<Item = &'valid str>,
    ) -> Option<&'valid str> {
        suggest::nearest(given, valid)
    }
}

impl fmt::Debug for SettingsNode {
    /// Keys and kinds only: any value may be a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(formatter)
    }
}

impl fmt::Debug for SettingsValue {
    /// Keys and kinds only: any value may be a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("Null"),
            Self::Bool(_) => formatter.write_str("Bool"),
            Self::Integer(_) => formatter.write_str("Integer"),
            Self::Float(_) => formatter.write_str("Float"),
            Self::Text(_) => formatter.write_str("Text"),
            Self::List(items) => formatter.debug_list().entries(items).finish(),
            Self::Map(entries) => {
                let pairs = entries.iter().map(|(key, _, node)| (key, node));
                formatter.debug_map().entries(pairs).finish()
            }
        }
    }
}

fn config_invalid(message: impl Into<Cow<'static, str>>, key: &str, location: Location) -> Error {
    let error = Error::new(ErrorKind::ConfigInvalid, "config").with_message(message);
    let error = if key.is_empty() { error } else { error.with_fact("key", key) };
    if !location.is_known() {
        return error;
    }
    error.with_fact("line", location.line).with_fact("column", location.column)
}
