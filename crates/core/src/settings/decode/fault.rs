//! What serde reports, without the values it reports it with.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use crate::error::Error;
use crate::settings::{Location, SettingsNode, SettingsValue, config_invalid, suggest};

/// Shorter texts would be found in any message by chance.
const SCRUBBED_BYTES_MIN: usize = 3;

/// A fault on its way up from a value to the root: the place is fixed at the bottom, the path grows.
#[derive(Debug)]
pub(super) struct Fault {
    message: String,
    path: String,
    location: Option<Location>,
    /// The message is someone else's and may contain a value.
    foreign: bool,
    /// The fault is that something is not there, so it has no place of its own.
    missing: bool,
}

impl Fault {
    pub(super) fn new(message: String) -> Self {
        Self { message, path: String::new(), location: None, foreign: false, missing: false }
    }

    /// Fixes the place, unless it is known: that of `key` for something missing, else that of the value.
    pub(super) fn at_node(mut self, node: &SettingsNode, key: Location) -> Self {
        if self.location.is_none() {
            self.location = Some(if self.missing { key } else { node.location });
            self.scrub(node);
        }
        self
    }

    pub(super) fn at(mut self, location: Location) -> Self {
        self.location.get_or_insert(location);
        self
    }

    /// Adds a key in front of the path.
    pub(super) fn under(mut self, key: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{key}{separator}{}", self.path);
        self
    }

    pub(super) fn into_error(self) -> Error {
        config_invalid(self.message, &self.path, self.location.unwrap_or_default())
    }

    fn scrub(&mut self, node: &SettingsNode) {
        if self.foreign && reveals(&self.message, node) {
            self.message = "the value is not accepted here".into();
        }
        self.foreign = false;
    }
}

/// Whether `message` contains a value of `node` or below.
fn reveals(message: &str, node: &SettingsNode) -> bool {
    match &node.value {
        SettingsValue::Text(text) => {
            (node.secret || text.len() >= SCRUBBED_BYTES_MIN)
                && !text.is_empty()
                && message.contains(text.as_str())
        }
        SettingsValue::List(items) => items.iter().any(|item| reveals(message, item)),
        SettingsValue::Map(entries) => entries.iter().any(|(_, _, item)| reveals(message, item)),
        _ => false,
    }
}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self { foreign: true, ..Self::new(message.to_string()) }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let expected = plain(&expected);
        let quotes = if expected == "text" && is_scalar(&unexpected) {
            "; put the value in quotes"
        } else {
            ""
        };
        Self::new(format!("expected {expected}, found {}{quotes}", kind_of(&unexpected)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}", plain(&expected.to_string())))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {length} entries"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = did_you_mean(variant, expected);
        Self::new(format!("expected {}{hint}", one_of(expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let hint = did_you_mean(field, expected);
        Self::new(format!(
            "unknown key `{field}`{hint}; the keys here are: {}",
            expected.join(", ")
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        let fault = Self::new(format!("the key `{field}` is missing"));
        Self { path: field.to_owned(), missing: true, ..fault }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { path: field.to_owned(), ..Self::new(format!("the key `{field}` appears twice")) }
    }
}

impl Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

fn did_you_mean(given: &str, expected: &[&'static str]) -> String {
    match suggest::nearest(given, expected.iter().copied()) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}

fn one_of(expected: &[&str]) -> String {
    match expected {
        [only] => format!("`{only}`"),
        _ => format!("one of {}", expected.join(", ")),
    }
}

const fn is_scalar(unexpected: &Unexpected<'_>) -> bool {
    use Unexpected::{Bool, Float, Signed, Unsigned};
    matches!(unexpected, Bool(_) | Unsigned(_) | Signed(_) | Float(_))
}

const fn kind_of(unexpected: &Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) | Unexpected::Bytes(_) => "text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a mapping",
        _ => "something else",
    }
}

/// serde names Rust types; operators read YAML.
fn plain(expected: &str) -> &str {
    match expected {
        "a string" | "a borrowed string" | "str" | "string" => "text",
        "a boolean" => "true or false",
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "usize" => "an integer from 0 up",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer in range",
        "a nonzero u8" | "a nonzero u16" | "a nonzero u32" | "a nonzero u64"
        | "a nonzero usize" => "an integer from 1 up",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "a mapping",
        text if text.starts_with("struct ") => "a mapping",
        text => text,
    }
}
