//! What a check found, before it knows its file.

use syntrix_storage_core::{Error, Location};

/// One thing to say about the file. It never contains a value, except one of our own keys' that came from the file itself.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) location: Location,
    /// Full path of the key, `storage.document.pg.dsn`; empty if it is about the file.
    pub(crate) key: String,
    pub(crate) message: String,
    pub(crate) remedy: Option<String>,
    /// The value at `location` is one of our own words and may be shown.
    pub(crate) shows_value: bool,
}

impl Finding {
    pub(crate) fn new(location: Location, message: impl Into<String>) -> Self {
        Self {
            location,
            key: String::new(),
            message: message.into(),
            remedy: None,
            shows_value: false,
        }
    }

    /// What `decode` or a factory found below the key `path`; `fallback` is the place if it names none.
    pub(crate) fn from_error(error: &Error, path: &str, fallback: Location) -> Self {
        let number = |name| error.fact(name).and_then(|text| text.parse::<u32>().ok());
        let location = match (number("line"), number("column")) {
            (Some(line), Some(column)) => Location::new(line, column),
            _ => fallback,
        };
        let message = error.message().unwrap_or("the value is not accepted").to_owned();
        Self::new(location, message).at_key(&join(path, error.fact("key").unwrap_or("")))
    }

    pub(crate) fn at_key(mut self, key: &str) -> Self {
        self.key = key.to_owned();
        self
    }

    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn showing_value(mut self) -> Self {
        self.shows_value = true;
        self
    }
}

/// The path of `key` below `path`.
pub(crate) fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => path.to_owned(),
        _ if key.starts_with('[') => format!("{path}{key}"),
        _ => format!("{path}.{key}"),
    }
}
