//! The one error of this tool: a sentence for the person at the terminal.

use std::fmt;

/// What went wrong, worded for whoever reads the end of the run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure(String);

/// Result of everything that can fail here.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with this text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Puts what was being done in front of what went wrong.
pub(crate) trait Context<T> {
    /// `Err(e)` becomes `doing: e`.
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure(format!("{}: {error}", doing())))
    }
}
