//! What PostgreSQL's error codes mean to a caller.

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use syntrix_storage_core::{Error, ErrorKind, Retry};

/// Turns what the driver reports into what callers act on.
///
/// Only the SQLSTATE and the name of the constraint are kept: message and detail of a server quote values.
pub(crate) fn from_postgres(error: &tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(failure) => {
            let mapped = from_sqlstate(failure.code().code());
            match failure.constraint() {
                Some(constraint) => mapped.with_fact("constraint", constraint),
                None => mapped,
            }
        }
        None => from_driver(error),
    }
}

/// Source: PostgreSQL manual, appendix A, "PostgreSQL Error Codes". A code that is not here is `Internal`.
fn from_sqlstate(sqlstate: &str) -> Error {
    use ErrorKind::{ConfigInvalid, Internal, Timeout, Unavailable, Unsupported};
    let (kind, retry, message) = match sqlstate {
        // Rolled back by the server.
        "40001" | "40P01" => {
            (Unavailable, Retry::Safe, "the server chose this transaction to give way")
        }
        "55P03" => (Unavailable, Retry::Safe, "a lock was not free in time"),
        "57014" => (Timeout, Retry::Safe, "the server ended the statement at its time limit"),
        // Nothing was started.
        "57P03" => (Unavailable, Retry::Safe, "the server is starting or stopping"),
        "53300" => (
            Unavailable,
            Retry::Safe,
            "the server has no connection left; lower poolConnectionsMax or raise max_connections",
        ),
        "25006" => (Unavailable, Retry::Safe, "the server is read-only; is it a standby?"),
        // A plan made before the schema changed; the connection is not used again.
        "0A000" => (Unavailable, Retry::Safe, "the schema changed meanwhile"),
        "26000" | "42P05" => (
            Unsupported,
            Retry::Never,
            "prepared statements do not survive between transactions; set `pooler: transaction`",
        ),
        "42501" => (
            ConfigInvalid,
            Retry::Never,
            "the role lacks a privilege; docs/backends/postgres-role.sql lists what it needs",
        ),
        "28000" | "28P01" => {
            (ConfigInvalid, Retry::Never, "the server refuses the role or its password")
        }
        "3D000" => (ConfigInvalid, Retry::Never, "there is no such database"),
        "3F000" | "42P01" | "42883" => (
            Internal,
            Retry::Never,
            "a table or function of the store is gone; was its schema dropped?",
        ),
        // The commit may have happened before the connection went.
        "57P01" | "57P02" | "57P05" => {
            (Unavailable, Retry::IfIdempotent, "the server ended the connection")
        }
        code if code.starts_with("08") => {
            (Unavailable, Retry::IfIdempotent, "the connection to the server failed")
        }
        code if code.starts_with("53") => {
            (Unavailable, Retry::Safe, "the server is short of disk, memory or another resource")
        }
        code if code.starts_with("58") => {
            (Unavailable, Retry::IfIdempotent, "the server's file system reported an error")
        }
        code if code.starts_with("XX") => {
            (Internal, Retry::Never, "the server reports an inner error or damaged data")
        }
        _ => (Internal, Retry::Never, "the server refused the statement"),
    };
    Error::new(kind, "").with_retry(retry).with_message(message).with_fact("sqlstate", sqlstate)
}

/// What the driver itself found. Its text names hosts and parameters at most, but it is not kept either.
fn from_driver(error: &tokio_postgres::Error) -> Error {
    let unavailable = |message| {
        Error::new(ErrorKind::Unavailable, "").with_retry(Retry::IfIdempotent).with_message(message)
    };
    if error.is_closed() {
        return unavailable("the connection to the server was lost");
    }
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(io) if is_certificate(io) => Error::new(ErrorKind::ConfigInvalid, "").with_message(
            "the server's certificate is not trusted; name its authority in tls.ca and the host by its name",
        ),
        Some(io) => unavailable("the server cannot be reached").with_fact("reason", io.kind()),
        None => from_text(error, unavailable),
    }
}

fn is_certificate(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData
        && error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// The driver does not say by type what went wrong; these beginnings are its own constant texts.
fn from_text(error: &tokio_postgres::Error, unavailable: impl Fn(&'static str) -> Error) -> Error {
    let text = error.to_string();
    if text.starts_with("error performing TLS handshake") {
        return Error::new(ErrorKind::ConfigInvalid, "").with_message(
            "the server offers no TLS; turn it on there, or set tls.mode: off and allowPlaintext: true",
        );
    }
    if text.starts_with("authentication error") || text.starts_with("invalid configuration") {
        let message = "the server asks for a login that the dsn does not give";
        return Error::new(ErrorKind::ConfigInvalid, "").with_message(message);
    }
    if text.starts_with("error connecting") || text.starts_with("timeout") {
        return unavailable("the server cannot be reached");
    }
    if text.starts_with("unexpected message") || text.starts_with("error communicating") {
        return unavailable("the connection to the server was lost");
    }
    damaged()
}

/// Why the pool gave no connection.
pub(crate) fn from_pool(error: &PoolError) -> Error {
    match error {
        PoolError::Backend(error) => not_started(from_postgres(error)),
        PoolError::Timeout(TimeoutType::Wait) => Error::new(ErrorKind::Unavailable, "")
            .with_retry(Retry::Safe)
            .with_message("every connection is busy; raise poolConnectionsMax or acquireTimeout"),
        PoolError::Timeout(_) => late(),
        PoolError::Closed => closed(),
        PoolError::PostCreateHook(HookError::Backend(error)) => not_started(from_postgres(error)),
        PoolError::PostCreateHook(_) => standby(),
        PoolError::NoRuntimeSpecified => {
            Error::new(ErrorKind::Internal, "").with_message("the pool has no runtime")
        }
    }
}

/// Without a connection nothing was sent.
pub(crate) fn not_started(error: Error) -> Error {
    if error.kind() == ErrorKind::Unavailable { error.with_retry(Retry::Safe) } else { error }
}

/// A server that is there and does not answer.
pub(crate) fn late() -> Error {
    Error::new(ErrorKind::Unavailable, "")
        .with_retry(Retry::Safe)
        .with_message("the server did not take the connection in time")
}

/// A standby where a primary is needed.
pub(crate) fn standby() -> Error {
    Error::new(ErrorKind::Unavailable, "")
        .with_retry(Retry::Safe)
        .with_message("the server is a standby; name the primary, or all hosts, in the dsn")
}

/// A stored value that no release of this crate wrote.
pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Internal, "").with_message("a stored row is damaged")
}

/// The store was closed.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "")
}

/// A task of ours ended without an answer.
pub(crate) fn lost() -> Error {
    Error::new(ErrorKind::Internal, "").with_message("a worker ended without an answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_rolled_back_may_be_tried_again() {
        for code in ["40001", "40P01", "57P03", "53300", "25006"] {
            let error = from_sqlstate(code);
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::Unavailable, Retry::Safe),
                "{code}"
            );
        }
    }

    #[test]
    fn a_lost_connection_leaves_the_outcome_open() {
        for code in ["08006", "57P01", "08003"] {
            assert_eq!(from_sqlstate(code).retry(), Retry::IfIdempotent, "{code}");
        }
    }

    #[test]
    fn an_unmapped_code_is_internal_and_named() {
        let error = from_sqlstate("22012");
        assert_eq!((error.kind(), error.fact("sqlstate")), (ErrorKind::Internal, Some("22012")));
    }
}
