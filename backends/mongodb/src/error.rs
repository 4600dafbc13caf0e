//! What the server's and the driver's errors mean to a caller.

use mongodb::error::{Error as DriverError, ErrorKind as DriverKind, WriteFailure};
use syntrix_storage_core::{Error, ErrorKind, Retry};

/// The server says that a unique index has the key already.
pub(crate) const DUPLICATE_KEY: i32 = 11000;
pub(crate) const NAMESPACE_NOT_FOUND: i32 = 26;
pub(crate) const NAMESPACE_EXISTS: i32 = 48;
pub(crate) const INDEX_NOT_FOUND: i32 = 27;
pub(crate) const UNAUTHORIZED: i32 = 13;
/// The oplog no longer reaches back to a place.
pub(crate) const HISTORY_LOST: i32 = 286;

/// The numeric code of the server behind an error.
pub(crate) fn code_of(error: &DriverError) -> Option<i32> {
    match &*error.kind {
        DriverKind::Command(command) => Some(command.code),
        DriverKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        DriverKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        DriverKind::InsertMany(many) => {
            many.write_concern_error.as_ref().map(|concern| concern.code).or_else(|| {
                many.write_errors.as_ref().and_then(|errors| errors.first()).map(|error| error.code)
            })
        }
        _ => None,
    }
}

/// Whether a unique index refused the write.
pub(crate) fn is_duplicate(error: &DriverError) -> bool {
    code_of(error) == Some(DUPLICATE_KEY)
}

/// Turns what the driver reports into what callers act on.
///
/// The caller of the backend names the operation. Of the server's answer only the numeric code is kept: its texts repeat keys
/// and values, and the driver's own may repeat a part of the URI.
pub(crate) fn from_driver(error: &DriverError) -> Error {
    if let Some(code) = code_of(error) {
        return from_code(code);
    }
    let (kind, retry, message) = match &*error.kind {
        DriverKind::Io(_) | DriverKind::ConnectionPoolCleared { .. } => {
            (ErrorKind::Unavailable, Retry::IfIdempotent, "the connection to the server broke")
        }
        // Nothing was sent.
        DriverKind::ServerSelection { .. } => (
            ErrorKind::Unavailable,
            Retry::Safe,
            "no server can take the call: unreachable, or the replica set has no primary",
        ),
        DriverKind::Authentication { .. } => {
            (ErrorKind::ConfigInvalid, Retry::Never, "the server does not accept the credentials")
        }
        DriverKind::InvalidTlsConfig { .. } => {
            (ErrorKind::ConfigInvalid, Retry::Never, "the TLS files of the uri cannot be used")
        }
        DriverKind::IncompatibleServer { .. } => {
            (ErrorKind::Unsupported, Retry::Never, "the server is too old; 6.0 or later is needed")
        }
        DriverKind::InvalidArgument { .. } => (
            ErrorKind::ConfigInvalid,
            Retry::Never,
            "the uri and its options do not fit the server",
        ),
        DriverKind::Shutdown => (ErrorKind::Closed, Retry::Never, "the connections are closed"),
        _ => (ErrorKind::Internal, Retry::Never, "the MongoDB driver refused the call"),
    };
    Error::new(kind, "").with_retry(retry).with_message(message)
}

/// Source: `error_codes.yml` of the server, release 6.0. A code that is not here is `Internal`.
pub(crate) fn from_code(code: i32) -> Error {
    let (kind, retry, message) = match code {
        UNAUTHORIZED => (
            ErrorKind::ConfigInvalid,
            Retry::Never,
            "the role lacks a privilege that the call needs",
        ),
        11 | 18 => {
            (ErrorKind::ConfigInvalid, Retry::Never, "the server does not accept the credentials")
        }
        // MaxTimeMSExpired, NetworkInterfaceExceededTimeLimit, ExceededTimeLimit.
        50 | 202 | 262 => {
            (ErrorKind::Timeout, Retry::IfIdempotent, "the server did not finish in time")
        }
        // LockTimeout, WriteConflict, SnapshotUnavailable, StaleConfig and other shard versions: nothing was done.
        24 | 112 | 246 | 239 | 63 | 150 | 13388 => {
            (ErrorKind::Unavailable, Retry::Safe, "the server could not take the call just now")
        }
        // QueryPlanKilled: a collection or an index was dropped under the call.
        175 => (
            ErrorKind::Unavailable,
            Retry::IfIdempotent,
            "a collection or an index that the call used was dropped meanwhile",
        ),
        // Written here, but not confirmed by a majority.
        64 | 100 => (
            ErrorKind::Unavailable,
            Retry::IfIdempotent,
            "a majority of the replica set did not confirm the write",
        ),
        // Elections, shutdowns and lost hosts.
        6 | 7 | 89 | 91 | 134 | 189 | 9001 | 10058 | 10107 | 11600 | 11601 | 11602 | 13435
        | 13436 => (
            ErrorKind::Unavailable,
            Retry::IfIdempotent,
            "the server is stepping down, shutting down or was cut off",
        ),
        14031 => (ErrorKind::Unavailable, Retry::Safe, "the server's disk is full"),
        DUPLICATE_KEY => (ErrorKind::Internal, Retry::Never, "a unique index refused the write"),
        _ => (ErrorKind::Internal, Retry::Never, "the server refused the call"),
    };
    Error::new(kind, "").with_retry(retry).with_message(message).with_fact("mongodb_code", code)
}

/// Whether a read that failed so may be tried once more at once: the server changed under it.
pub(crate) fn is_passing(error: &DriverError) -> bool {
    from_driver(error).kind() == ErrorKind::Unavailable
        && from_driver(error).retry() != Retry::Never
}

/// A stored record that no release of this crate wrote.
pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Internal, "").with_message("a stored record is damaged")
}

/// The store was closed.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "")
}

/// A task of ours ended without an answer.
pub(crate) fn lost() -> Error {
    Error::new(ErrorKind::Internal, "").with_message("a worker ended without an answer")
}

/// The server did not answer within the limit.
pub(crate) fn timed_out() -> Error {
    Error::new(ErrorKind::Timeout, "").with_message("the server did not answer in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_down_and_a_drop_under_a_call_may_be_tried_again_by_those_who_can_repeat() {
        for code in [10107, 11602, 189, 175] {
            let error = from_code(code);
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::Unavailable, Retry::IfIdempotent)
            );
        }
    }

    #[test]
    fn an_unmapped_code_is_internal_and_named_by_number() {
        let error = from_code(4242);
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(error.fact("mongodb_code"), Some("4242"));
    }

    #[test]
    fn the_text_of_the_driver_never_leaves() {
        let driver = DriverError::from(std::io::Error::other("hunter2"));
        let error = from_driver(&driver);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!format!("{error:?} {error}").contains("hunter2"));
        assert!(std::error::Error::source(&error).is_none());
    }
}
