//! What SQLite's result codes mean to a caller.

use rusqlite::ErrorCode;
use syntrix_storage_core::{Error, ErrorKind, Retry};

/// Turns what rusqlite reports into what callers act on.
///
/// The caller of the backend names the operation. Only the numeric code is kept: rusqlite's own text may quote the statement.
pub(crate) fn from_sqlite(error: &rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::SqliteFailure(failure, _)
        | rusqlite::Error::SqlInputError { error: failure, .. } => {
            from_code(failure.code, failure.extended_code)
        }
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::QueryReturnedNoRows
        | rusqlite::Error::Utf8Error(..) => damaged(),
        _ => {
            Error::new(ErrorKind::Internal, "").with_message("the SQLite binding refused the call")
        }
    }
}

/// Source: "Result and Error Codes", <https://www.sqlite.org/rescode.html>. A code that is not here is `Internal`.
fn from_code(code: ErrorCode, extended: i32) -> Error {
    let (kind, retry, message) = match code {
        // Another process holds the write lock for longer than busyTimeout; nothing was started.
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            (ErrorKind::Unavailable, Retry::Safe, "another process holds the database file")
        }
        // The transaction is rolled back by SQLite or by us.
        ErrorCode::DiskFull => {
            (ErrorKind::Unavailable, Retry::Safe, "the disk or the database file is full")
        }
        ErrorCode::OutOfMemory => (ErrorKind::Unavailable, Retry::Safe, "SQLite ran out of memory"),
        ErrorCode::SchemaChanged => {
            (ErrorKind::Unavailable, Retry::Safe, "the schema changed meanwhile")
        }
        ErrorCode::FileLockingProtocolFailed => {
            (ErrorKind::Unavailable, Retry::Safe, "the file's locks are contended; try again")
        }
        // The index beside the log cannot grow; nothing was started.
        ErrorCode::SystemIoFailure if extended == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => (
            ErrorKind::Unavailable,
            Retry::Safe,
            "there is no room beside the database file; is the disk full?",
        ),
        // A failed sync may leave the commit in the write-ahead log.
        ErrorCode::SystemIoFailure => {
            (ErrorKind::Unavailable, Retry::IfIdempotent, "the file system reported an error")
        }
        ErrorCode::CannotOpen => {
            (ErrorKind::Unavailable, Retry::Never, "the database file cannot be opened")
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            (ErrorKind::Unavailable, Retry::Never, "the database file or its folder is read-only")
        }
        ErrorCode::OperationInterrupted => {
            (ErrorKind::Timeout, Retry::Safe, "the deadline passed before the answer was complete")
        }
        ErrorCode::DatabaseCorrupt => {
            (ErrorKind::Internal, Retry::Never, "the database file is damaged; restore a backup")
        }
        ErrorCode::NotADatabase => {
            (ErrorKind::ConfigInvalid, Retry::Never, "the file is no SQLite database")
        }
        _ => (ErrorKind::Internal, Retry::Never, "SQLite refused the statement"),
    };
    Error::new(kind, "").with_retry(retry).with_message(message).with_fact("sqlite_code", extended)
}

/// A stored value that no release of this crate wrote.
pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Internal, "").with_message("a stored row is damaged")
}

/// The store was closed.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "")
}

/// A thread of ours ended without an answer.
pub(crate) fn lost() -> Error {
    Error::new(ErrorKind::Internal, "").with_message("a worker ended without an answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some("secret row".into()))
    }

    #[test]
    fn a_busy_file_may_be_tried_again() {
        let error = from_sqlite(&failure(rusqlite::ffi::SQLITE_BUSY));
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
    }

    #[test]
    fn an_unmapped_code_is_internal_and_named_by_number() {
        let error = from_sqlite(&failure(rusqlite::ffi::SQLITE_MISMATCH));
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(error.fact("sqlite_code"), Some("20"));
    }

    #[test]
    fn the_text_of_the_driver_never_leaves() {
        let error = from_sqlite(&failure(rusqlite::ffi::SQLITE_CONSTRAINT));
        assert!(!format!("{error:?} {error}").contains("secret"));
        assert!(std::error::Error::source(&error).is_none());
    }
}
