//! What can go wrong with a change stream, told apart as far as the feed decides by it.

use mongodb::error::Error as DriverError;
use syntrix_storage_core::Error;

use crate::error::{code_of, from_driver, is_passing};

/// Errors that concern the cursor and not the place. What the driver calls resumable, with the label of the server.
pub(crate) fn is_resumable(error: &DriverError) -> bool {
    /// CursorNotFound, CursorKilled.
    const GONE: [i32; 2] = [43, 237];
    match code_of(error) {
        Some(code) if GONE.contains(&code) => true,
        Some(_) => error.contains_label("ResumableChangeStreamError") || is_passing(error),
        None => is_passing(error),
    }
}

/// BSONObjectTooLarge: an event does not fit into an answer.
pub(crate) fn is_too_large(error: &DriverError) -> bool {
    code_of(error) == Some(10334)
}

/// The server does not know the token: InvalidResumeToken, ChangeStreamFatalError, and how it says that one is no token at all.
pub(crate) fn is_foreign(code: i32) -> bool {
    [9, 15, 260, 280, 40647, 40648, 40649, 50788, 50791, 50792, 50793, 50794, 50795, 50796]
        .contains(&code)
}

/// An error with the driver's own kept as long as somebody decides by it.
#[derive(Debug)]
pub(crate) enum Failure {
    Driver(DriverError),
    Core(Error),
}

impl Failure {
    pub(crate) fn into_core(self) -> Error {
        match self {
            Self::Driver(error) => from_driver(&error),
            Self::Core(error) => error,
        }
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::Driver(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}
