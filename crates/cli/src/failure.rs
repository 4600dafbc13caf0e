//! Why a command ended early, how that is told on stderr, and the exit code it gives.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use syntrix_storage::{Error, ErrorKind, IndexSuggestion};

use crate::args::{Format, Global};
use crate::report;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The store's own error.
    Store(Error),
    /// The command line is wrong in a way that clap cannot see.
    Usage(String),
    /// A file or stream outside the store.
    Io { what: String, source: io::Error },
    /// The command ran and its answer is no: lines were rejected, cases failed.
    Negative { operation: &'static str, message: String },
    /// Nobody reads stdout any more, which is the reader's good right.
    StdoutClosed,
}

impl Failure {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn stdout(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::StdoutClosed,
            _ => Self::Io { what: "stdout".into(), source },
        }
    }

    pub(crate) fn negative(operation: &'static str, message: impl Into<String>) -> Self {
        Self::Negative { operation, message: message.into() }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::StdoutClosed => ExitCode::SUCCESS,
            Self::Usage(_) => ExitCode::from(2),
            Self::Store(error) if error.kind() == ErrorKind::ConfigInvalid => ExitCode::from(2),
            Self::Store(_) | Self::Io { .. } | Self::Negative { .. } => ExitCode::FAILURE,
        }
    }

    /// Tells it on stderr: lines for people, or one line of JSON if that was asked for.
    pub(crate) fn print(&self, global: &Global) {
        if matches!(self, Self::StdoutClosed) {
            return;
        }
        if global.output == Some(Format::Json) {
            return self.print_json();
        }
        report::line(format_args!("error: {self}"));
        self.print_chain();
        if let Self::Store(error) = self
            && let Some(suggestion) = error.suggestion()
        {
            print_remedy(suggestion, global);
        }
    }

    /// Tells it on stderr as one line of JSON.
    pub(crate) fn print_json(&self) {
        report::line(json!({ "error": self.to_json() }));
    }

    fn print_chain(&self) {
        let mut source = match self {
            Self::Store(error) => error.source(),
            _ => None,
        };
        while let Some(error) = source {
            report::line(format_args!("  caused by: {error}"));
            source = error.source();
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Store(error) => error_json(error),
            Self::Usage(message) => {
                json!({ "kind": "usage", "operation": "arguments", "message": message })
            }
            Self::Io { what, source } => {
                json!({ "kind": "io", "operation": what, "message": source.to_string() })
            }
            Self::Negative { operation, message } => {
                json!({ "kind": "failed", "operation": operation, "message": message })
            }
            Self::StdoutClosed => Value::Null,
        }
    }
}

/// The suggestion and the command that takes it, each on a line that can be copied whole.
fn print_remedy(suggestion: &IndexSuggestion, global: &Global) {
    let suggestion = suggestion.to_json();
    report::line(&suggestion);
    report::line(format_args!(
        "create it with:\n  syntrix-storage index create {}{}",
        shell_quoted(&suggestion),
        store_options(global),
    ));
}

/// The options that lead another command to the same store.
pub(crate) fn store_options(global: &Global) -> String {
    let option = |name: &str, path: &Option<std::path::PathBuf>| match path {
        Some(path) => format!(" {name} {}", shell_word(&path.display().to_string())),
        None => String::new(),
    };
    option("--config", &global.config) + &option("--data-dir", &global.data_dir)
}

fn shell_word(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { shell_quoted(text) }
}

pub(crate) fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// An error of the store as one JSON object.
pub(crate) fn error_json(error: &Error) -> Value {
    let mut object = Map::new();
    object.insert("kind".into(), error.kind().as_str().into());
    object.insert("operation".into(), error.operation().into());
    let reason = error.reason().map(|reason| reason.as_str());
    if let Some(reason) = reason.or(error.expired_reason().map(|reason| reason.as_str())) {
        object.insert("reason".into(), reason.into());
    }
    if let Some(message) = error.message() {
        object.insert("message".into(), message.into());
    }
    if let Some(time) = error.oldest_time() {
        object.insert("oldestTime".into(), time.as_milliseconds().into());
    }
    if let Some(suggestion) = error.suggestion() {
        object.insert("suggestion".into(), suggestion_json(suggestion));
    }
    object.insert("facts".into(), Value::Object(facts_json(error)));
    Value::Object(object)
}

/// The first fact of a name is the one nearest to the cause.
fn facts_json(error: &Error) -> Map<String, Value> {
    let mut facts = Map::new();
    for (name, value) in error.facts() {
        facts.entry(*name).or_insert_with(|| value.as_str().into());
    }
    facts
}

/// The suggestion as a JSON object.
pub(crate) fn suggestion_json(suggestion: &IndexSuggestion) -> Value {
    serde_json::to_value(suggestion).unwrap_or_default()
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(formatter),
            Self::Usage(message) => formatter.write_str(message),
            Self::Io { what, source } => write!(formatter, "{what}: {source}"),
            Self::Negative { operation, message } => write!(formatter, "{operation}: {message}"),
            Self::StdoutClosed => formatter.write_str("stdout was closed"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_suggestion_survives_the_shell() {
        assert_eq!(shell_quoted(r#"{"a":"it's"}"#), r#"'{"a":"it'\''s"}'"#);
    }

    #[test]
    fn a_plain_folder_needs_no_quotes() {
        assert_eq!(shell_word("/tmp/data-1"), "/tmp/data-1");
        assert_eq!(shell_word("my data"), "'my data'");
    }
}
