//! What operators see of every call of every store: a span, counters and a sampled latency. No value, path, name or credential.
//!
//! Handles are made when the store is opened, so a recorder (see the [`metrics`] crate) must be installed before that.

use std::time::Instant;

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};
use syntrix_storage_core::Result;
use syntrix_storage_core::backend::StoreKind;
use tracing::Span;
use tracing::field::Empty;

const OPERATIONS_TOTAL: &str = "syntrix_storage_operations_total";
const ERRORS_TOTAL: &str = "syntrix_storage_errors_total";
const DURATION: &str = "syntrix_storage_operation_duration_seconds";

/// One call in so many is timed: reading the clock twice would be a visible part of a point read.
const CALLS_PER_SAMPLE: u32 = 16;

const DOCUMENTS: &[&str] = &[
    "get",
    "get_many",
    "create",
    "update",
    "patch",
    "delete",
    "query",
    "watch",
    "bulk",
    "list_indexes",
    "create_index",
    "drop_index",
    "scan",
    "purge_expired",
    "health",
];
const USERS: &[&str] = &[
    "get_user_by_username",
    "get_user_by_id",
    "begin_login_attempt",
    "record_login_success",
    "record_login_failure",
    "create_user",
    "update_user",
    "set_password",
    "update_user_login_stats",
    "list_users",
    "ensure_indexes",
    "purge_expired",
    "health",
];
const REVOCATIONS: &[&str] = &[
    "is_revoked",
    "is_revoked_many",
    "revocation_status",
    "revoke_token",
    "revoke_token_immediate",
    "revoke_if_not_revoked",
    "ensure_indexes",
    "purge_expired",
    "health",
];

/// The instruments of one store.
#[derive(Debug)]
pub(crate) struct Meter {
    store: &'static str,
    backend: &'static str,
    operations: Vec<Instruments>,
}

#[derive(Debug)]
struct Instruments {
    operation: &'static str,
    calls: Counter,
    duration: Histogram,
}

impl Meter {
    pub(crate) fn new(store: StoreKind, backend: &'static str) -> Self {
        describe();
        let operations = match store {
            StoreKind::Documents => DOCUMENTS,
            StoreKind::Users => USERS,
            StoreKind::Revocations => REVOCATIONS,
        };
        let store = store.as_str();
        let instruments = |operation: &&'static str| Instruments::new(store, backend, operation);
        Self { store, backend, operations: operations.iter().map(instruments).collect() }
    }

    /// The kind of the backend behind the store.
    pub(crate) fn backend(&self) -> &'static str {
        self.backend
    }

    /// Counts a call, also one whose future is dropped before it ends.
    pub(crate) fn begin(&self, operation: &'static str) -> Call<'_> {
        let instruments = self.operations.iter().find(|known| known.operation == operation);
        debug_assert!(instruments.is_some(), "{operation} is not in the table of its store");
        if let Some(instruments) = instruments {
            instruments.calls.increment(1);
        }
        let sampled = instruments.filter(|_| fastrand::u32(0..CALLS_PER_SAMPLE) == 0);
        Call {
            meter: self,
            operation,
            span: self.span(operation),
            sample: sampled.map(|instruments| (&instruments.duration, Instant::now())),
        }
    }

    fn span(&self, operation: &'static str) -> Span {
        tracing::debug_span!(
            target: "syntrix_storage::operation",
            "storage",
            store = self.store,
            backend = self.backend,
            operation,
            outcome = Empty,
        )
    }

    fn count_error(&self, operation: &'static str, kind: &'static str) {
        let labels = [
            ("store", self.store),
            ("backend", self.backend),
            ("operation", operation),
            ("kind", kind),
        ];
        counter!(ERRORS_TOTAL, &labels).increment(1);
    }
}

impl Instruments {
    fn new(store: &'static str, backend: &'static str, operation: &'static str) -> Self {
        let labels = [("store", store), ("backend", backend), ("operation", operation)];
        Self {
            operation,
            calls: counter!(OPERATIONS_TOTAL, &labels),
            duration: histogram!(DURATION, &labels),
        }
    }
}

/// One call under way.
#[derive(Debug)]
pub(crate) struct Call<'meter> {
    meter: &'meter Meter,
    operation: &'static str,
    span: Span,
    sample: Option<(&'meter Histogram, Instant)>,
}

impl Call<'_> {
    /// What the call's work runs in.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Takes down how the call ended.
    pub(crate) fn end<T>(self, result: &Result<T>) {
        if let Some((duration, started)) = self.sample {
            duration.record(started.elapsed());
        }
        let outcome = match result {
            Ok(_) => "ok",
            Err(error) => {
                self.meter.count_error(self.operation, error.kind().as_str());
                error.kind().as_str()
            }
        };
        self.span.record("outcome", outcome);
    }
}

fn describe() {
    describe_counter!(OPERATIONS_TOTAL, "Calls begun, by store, backend and operation");
    describe_counter!(ERRORS_TOTAL, "Calls that failed, by store, backend, operation and kind");
    describe_histogram!(DURATION, Unit::Seconds, "How long calls took; one in 16 is timed");
}
