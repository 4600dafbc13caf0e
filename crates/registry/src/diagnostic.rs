//! How a finding is shown: file, line, column, message, an excerpt without values, and the remedy.

mod excerpt;

use std::fmt;
use std::sync::Arc;

use syntrix_storage_core::{Error, ErrorKind, Location, SettingsNode};

use crate::finding::Finding;
use excerpt::Words;

/// Whether the configuration is refused for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Refused.
    Error,
    /// Accepted.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing to say about a configuration file.
///
/// `Display` gives it in the form compilers use, over several lines:
///
/// ```text
/// storage.yaml:5:7: error: storage.document.pg.dns: unknown key `dns`; did you mean `dsn`?
///   |
/// 5 |       dns: …
///   |       ^
///   = the keys here are: dsn, poolConnectionsMax
/// ```
///
/// It shows keys, and of values only the words of our own keys: a secret cannot get into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    severity: Severity,
    file_name: Arc<str>,
    location: Location,
    key: String,
    message: String,
    excerpt: Option<Excerpt>,
    remedy: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    line: String,
    /// Characters before the caret.
    indent: usize,
}

impl Diagnostic {
    /// Whether it refuses the configuration.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Where in the file; unknown if it is about the whole file.
    pub fn location(&self) -> Location {
        self.location
    }

    /// Full path of the key, for example `storage.document.pg.dsn`; empty if it is about none.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file_name)?;
        if self.location.is_known() {
            write!(formatter, ":{}:{}", self.location.line, self.location.column)?;
        }
        write!(formatter, ": {}: ", self.severity.as_str())?;
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.message)?;
        let number = self.location.line.to_string();
        let margin = " ".repeat(number.len());
        if let Some(Excerpt { line, indent }) = &self.excerpt {
            let caret = format!("{}^", " ".repeat(*indent));
            write!(formatter, "\n{margin} |\n{number} | {line}\n{margin} | {caret}")?;
        }
        match &self.remedy {
            Some(remedy) => write!(formatter, "\n{margin} = {remedy}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    diagnostics: Vec<Diagnostic>,
}

impl ConfigErrors {
    pub(crate) fn new(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics }
    }

    /// The faults, at least one.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n\n" };
            write!(formatter, "{separator}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigErrors> for Error {
    /// One error of kind [`ErrorKind::ConfigInvalid`] whose message is the whole report; its facts are those of the first fault.
    fn from(errors: ConfigErrors) -> Self {
        let error = Self::new(ErrorKind::ConfigInvalid, "config").with_message(errors.to_string());
        let Some(first) = errors.diagnostics.first() else {
            return error;
        };
        error
            .with_fact("key", &first.key)
            .with_fact("line", first.location.line)
            .with_fact("column", first.location.column)
    }
}

/// The file that findings are shown in.
pub(crate) struct Source<'text> {
    file_name: Arc<str>,
    lines: Vec<&'text str>,
    words: Words,
}

impl<'text> Source<'text> {
    pub(crate) fn new(file_name: &str, text: &'text str, root: &SettingsNode) -> Self {
        Self { file_name: file_name.into(), lines: text.lines().collect(), words: Words::of(root) }
    }

    /// A file that could not be parsed. What in it is a key and what a secret is not known, so there are no excerpts.
    pub(crate) fn unparsed(file_name: &str) -> Self {
        Self { file_name: file_name.into(), lines: Vec::new(), words: Words::default() }
    }

    pub(crate) fn error(&self, finding: &Finding) -> Diagnostic {
        self.diagnostic(finding, Severity::Error)
    }

    pub(crate) fn warning(&self, finding: &Finding) -> Diagnostic {
        self.diagnostic(finding, Severity::Warning)
    }

    fn diagnostic(&self, finding: &Finding, severity: Severity) -> Diagnostic {
        Diagnostic {
            severity,
            file_name: self.file_name.clone(),
            location: finding.location,
            key: finding.key.clone(),
            message: finding.message.clone(),
            excerpt: self.excerpt(finding),
            remedy: finding.remedy.clone(),
        }
    }

    fn excerpt(&self, finding: &Finding) -> Option<Excerpt> {
        let index = usize::try_from(finding.location.line).ok()?.checked_sub(1)?;
        let line = self.lines.get(index)?;
        let (line, indent) = self.words.mask(line, finding.location, finding.shows_value)?;
        Some(Excerpt { line, indent })
    }
}

#[cfg(test)]
mod tests;
