//! What Redis's errors mean to a caller.

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind};
use syntrix_storage_core::{Error, ErrorKind, Retry};

/// What our own script answers for a record it cannot read.
const DAMAGED: &str = "DAMAGED";

/// Turns what the driver reports into what callers act on.
///
/// Only the code is kept: texts of the server may name keys.
///
/// Source: the error replies in the documentation of the commands, of `redis.conf` and of the cluster specification
/// (<https://redis.io/docs/latest/>). A code that is not here is `Internal`.
pub(crate) fn from_redis(error: &RedisError) -> Error {
    let (kind, retry, message) = match error.kind() {
        Kind::Io => return from_io(error),
        Kind::Server(kind) => from_server(kind, error),
        Kind::Extension => from_code(error.code().unwrap_or_default()),
        Kind::AuthenticationFailed => denied(),
        Kind::MasterNameNotFoundBySentinel
        | Kind::NoValidReplicasFoundBySentinel
        | Kind::EmptySentinelList => {
            (ErrorKind::Unavailable, Retry::Safe, "the sentinels name no primary")
        }
        Kind::ClusterConnectionNotFound => {
            (ErrorKind::Unavailable, Retry::IfIdempotent, "no node of the cluster can be reached")
        }
        Kind::InvalidClientConfig => {
            (ErrorKind::ConfigInvalid, Retry::Never, "the driver refuses these settings")
        }
        // The driver's word for a failed TLS handshake.
        Kind::Client => {
            (ErrorKind::Unavailable, Retry::Never, "the connection was refused by the driver")
        }
        Kind::UnexpectedReturnType => (ErrorKind::Internal, Retry::Never, "an unexpected answer"),
        _ => (ErrorKind::Internal, Retry::IfIdempotent, "an answer that cannot be understood"),
    };
    let mapped = Error::new(kind, "").with_retry(retry).with_message(message);
    match error.code() {
        Some(code) => mapped.with_fact("redis_code", code),
        None => mapped,
    }
}

type Meaning = (ErrorKind, Retry, &'static str);

fn denied() -> Meaning {
    (ErrorKind::ConfigInvalid, Retry::Never, "the server refuses this user or password")
}

/// Whatever the server refuses by these codes it has not begun.
fn from_server(kind: ServerErrorKind, error: &RedisError) -> Meaning {
    let unavailable = |message| (ErrorKind::Unavailable, Retry::Safe, message);
    match kind {
        ServerErrorKind::BusyLoading => unavailable("the server is loading its data"),
        ServerErrorKind::ReadOnly => unavailable("the server is a replica"),
        ServerErrorKind::MasterDown => unavailable("the server has lost its primary"),
        ServerErrorKind::ClusterDown => unavailable("the cluster does not cover all keys"),
        ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain => {
            unavailable("the keys are moving between nodes of the cluster")
        }
        ServerErrorKind::NoPerm => {
            (ErrorKind::ConfigInvalid, Retry::Never, "the user lacks the right to a command or key")
        }
        // The server has no code of its own for this one.
        ServerErrorKind::ResponseError if mentions(error, "max number of clients") => {
            unavailable("the server has no room for another connection")
        }
        _ => (ErrorKind::Internal, Retry::Never, "the server refused the command"),
    }
}

fn mentions(error: &RedisError, text: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(text))
}

fn from_code(code: &str) -> Meaning {
    let unavailable = |message| (ErrorKind::Unavailable, Retry::Safe, message);
    match code {
        "OOM" => unavailable("the server's memory is full"),
        "MISCONF" => unavailable("the server cannot write to its disk"),
        "NOREPLICAS" => unavailable("too few replicas are connected to the server"),
        "BUSY" => unavailable("the server is busy with a script"),
        "UNBLOCKED" => (
            ErrorKind::Unavailable,
            Retry::IfIdempotent,
            "the server was made a replica while it waited for its own",
        ),
        "NOAUTH" | "WRONGPASS" => denied(),
        "DENIED" => {
            (ErrorKind::ConfigInvalid, Retry::Never, "the server is protected: give it a password")
        }
        "WRONGTYPE" | DAMAGED => (ErrorKind::Internal, Retry::Never, "a stored record is damaged"),
        _ => (ErrorKind::Internal, Retry::Never, "the server refused the command"),
    }
}

fn from_io(error: &RedisError) -> Error {
    let (kind, retry, message) = if error.is_connection_refusal() {
        (ErrorKind::Unavailable, Retry::Safe, "the server refuses connections")
    } else if error.is_timeout() {
        (ErrorKind::Timeout, Retry::IfIdempotent, "the server did not answer in time")
    } else {
        (ErrorKind::Unavailable, Retry::IfIdempotent, "the connection to the server was lost")
    };
    Error::new(kind, "").with_retry(retry).with_message(message)
}

/// Whether a connection that gave this error is of no more use.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    match error.kind() {
        Kind::Server(kind) => {
            // What was the primary is one no more: the next connection is checked for that.
            matches!(kind, ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        }
        Kind::Extension => matches!(error.code(), Some("NOAUTH" | "WRONGPASS")),
        kind => matches!(kind, Kind::Io | Kind::Parse | Kind::AuthenticationFailed),
    }
}

/// The caller's deadline, or ours, passed.
pub(crate) fn timeout() -> Error {
    Error::new(ErrorKind::Timeout, "").with_message("the server did not answer in time")
}

/// No connection came to be in time; nothing was sent.
pub(crate) fn silent() -> Error {
    Error::new(ErrorKind::Unavailable, "")
        .with_retry(Retry::Safe)
        .with_message("the server does not answer")
}

/// Nobody waits any longer for what was sent over a connection that was thrown away.
pub(crate) fn left() -> RedisError {
    (Kind::Io, "the connection was thrown away").into()
}

/// A stored record that no release of this crate wrote.
pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Internal, "").with_message("a stored record is damaged")
}

/// The store was closed.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "")
}

/// Data that were there are not, or are others.
pub(crate) fn state_lost() -> Error {
    Error::new(ErrorKind::StateLost, "open").with_message(
        "the server lost records of this store, or has those of another one; treat every token as revoked until \
         the data are restored, or remove all keys under the prefix to start anew",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some("secret key name".to_owned()))
    }

    #[test]
    fn what_the_server_refused_to_begin_may_be_tried_again() {
        for code in ["OOM", "MISCONF", "NOREPLICAS", "BUSY"] {
            let error = from_redis(&server(code));
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::Unavailable, Retry::Safe),
                "{code}"
            );
            assert_eq!(error.fact("redis_code"), Some(code));
        }
    }

    #[test]
    fn a_lost_connection_leaves_open_what_was_applied() {
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let error = from_redis(&lost.into());
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::IfIdempotent));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(from_redis(&refused.into()).retry(), Retry::Safe);
    }

    #[test]
    fn a_wrong_password_is_a_fault_of_the_configuration() {
        for code in ["WRONGPASS", "NOAUTH"] {
            assert_eq!(from_redis(&server(code)).kind(), ErrorKind::ConfigInvalid);
            assert!(is_lost(&server(code)));
        }
    }

    #[test]
    fn an_unmapped_code_is_internal_and_named() {
        let error = from_redis(&server("NOVELTY"));
        assert_eq!(
            (error.kind(), error.fact("redis_code")),
            (ErrorKind::Internal, Some("NOVELTY"))
        );
    }

    #[test]
    fn the_text_of_the_server_never_leaves() {
        for code in ["OOM", "WRONGTYPE", "DAMAGED", "NOVELTY"] {
            let error = from_redis(&server(code));
            assert!(!format!("{error} {error:?}").contains("secret"), "{code}");
        }
    }
}
