//! What a backend implements. Applications never see these traits.
//!
//! A backend stores and finds records; it decides nothing that a caller could observe. Validation, the write protocol, the
//! index rule, cursors, tokens and closed state live in the engine, once.

mod backoff;
mod document;
mod factory;
mod lease;
mod ledger;
mod revocation_change;
mod revocations;
mod user_changes;
mod users;
mod watermark;

pub use backoff::Backoff;
pub use document::{Applied, CallContext, Change, DocumentBackend, Feed, FeedPage, Write};
pub use factory::{
    Access, Backend, BackendFactory, BackendProvider, OpenContext, StoreKind, StoreSet,
};
pub use lease::{Lease, LeaseCount, Leased};
pub use ledger::{Ledger, LedgerKey, LedgerRecord, StoreId, check_ledger_body};
pub use revocation_change::RevocationChange;
pub use revocations::{
    Canary, Insertion, RevocationBackend, RevocationRequest, Witnessed, merge_revocation,
};
pub use user_changes::UserChanges;
pub use users::{Dated, LoginState, UserApplied, UserBackend, UserRecord, UserWrite};
pub use watermark::Watermark;
