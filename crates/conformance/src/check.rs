//! Assertions that fail a case instead of panicking, so that its store is still closed and removed.

use std::fmt;
use std::panic::Location;

use syntrix_storage_core::{Document, Error, ErrorKind, Reason, Result};

/// What a case comes to.
pub type CaseResult<T = ()> = std::result::Result<T, Failure>;

/// Why a case failed, and where in the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    message: String,
    /// Whether the case means nothing here, instead of being failed.
    not_applicable: bool,
}

impl Failure {
    /// A failure at the caller's place.
    #[track_caller]
    pub fn new(message: impl fmt::Display) -> Self {
        let place = Location::caller();
        let file = place.file().rsplit(['/', '\\']).next().unwrap_or_default();
        let message = format!("{message} (at {file}:{})", place.line());
        Self { message, not_applicable: false }
    }

    pub(crate) fn prefixed(self, prefix: &str) -> Self {
        Self { message: format!("{prefix}: {}", self.message), ..self }
    }

    /// A case about what a backend does not offer does not apply to it; every other error fails the case.
    #[track_caller]
    pub fn unless_unsupported(error: Error) -> Self {
        let not_applicable = error.kind() == ErrorKind::Unsupported;
        match not_applicable {
            true => Self { message: error.to_string(), not_applicable },
            false => error.into(),
        }
    }

    /// Whether the case means nothing on this backend.
    pub fn is_not_applicable(&self) -> bool {
        self.not_applicable
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    /// So that `?` works on every call of a store that must succeed.
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::new(format_args!("unexpected error: {error}"))
    }
}

/// Fails with `message` unless `condition` holds.
#[track_caller]
pub fn expect(condition: bool, message: impl fmt::Display) -> CaseResult {
    if condition { Ok(()) } else { Err(Failure::new(message)) }
}

/// Fails unless both are equal; `what` says what they are.
#[track_caller]
pub fn expect_equal<L, R>(actual: L, expected: R, what: impl fmt::Display) -> CaseResult
where
    L: PartialEq<R> + fmt::Debug,
    R: fmt::Debug,
{
    if actual == expected {
        return Ok(());
    }
    let (actual, expected) = (short(&actual), short(&expected));
    Err(Failure::new(format_args!("{what}: expected {expected}, got {actual}")))
}

/// Fails unless `result` is an error of `kind`; returns the error for a closer look.
#[track_caller]
pub fn expect_kind<T: fmt::Debug>(
    result: Result<T>,
    kind: ErrorKind,
    what: impl fmt::Display,
) -> CaseResult<Error> {
    match result {
        Ok(value) => {
            let value = short(&value);
            Err(Failure::new(format_args!("{what}: expected {kind}, got Ok({value})")))
        }
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(Failure::new(format_args!("{what}: expected {kind}, got {error}"))),
    }
}

/// Fails unless `result` is an invalid argument that breaks the rule `reason`.
#[track_caller]
pub fn expect_reason<T: fmt::Debug>(
    result: Result<T>,
    reason: Reason,
    what: impl fmt::Display,
) -> CaseResult<Error> {
    let error = expect_kind(result, ErrorKind::InvalidArgument, &what)?;
    if error.reason() == Some(reason) {
        return Ok(error);
    }
    let expected = reason.as_str();
    Err(Failure::new(format_args!("{what}: expected the reason {expected}, got {error}")))
}

/// Fails unless both lists have the same documents: path, version, times, tombstone mark and data. Member order in the
/// data is not significant.
#[track_caller]
pub fn expect_same_documents(
    actual: &[Document],
    expected: &[Document],
    what: impl fmt::Display,
) -> CaseResult {
    let paths = |documents: &[Document]| -> Vec<String> {
        documents.iter().map(|document| document.path().to_string()).collect()
    };
    expect_equal(paths(actual), paths(expected), format_args!("{what}, paths"))?;
    for (actual, expected) in actual.iter().zip(expected) {
        let path = expected.path();
        expect_equal(actual.metadata(), expected.metadata(), format_args!("{what}, {path}"))?;
        expect_equal(actual.value()?, expected.value()?, format_args!("{what}, data of {path}"))?;
    }
    Ok(())
}

/// Debug text cut to what a person reads.
fn short(value: &impl fmt::Debug) -> String {
    const CHARACTERS_MAX: usize = 600;
    let text = format!("{value:?}");
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
