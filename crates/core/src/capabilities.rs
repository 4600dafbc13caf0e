//! What a backend declares to offer; the conformance suite checks both what is claimed and what is not.

use serde::Serialize;

/// What a backend offers for one store beyond the mandatory operations.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Acknowledged writes survive the end of the process.
    pub durable: bool,
    /// Changes can be watched.
    pub watch: bool,
    /// Resume tokens survive the end of the process.
    pub durable_watch: bool,
    /// Events can bring the document as it was before.
    pub before: bool,
    /// Several processes or handles can use the same data at once.
    pub shared: bool,
    /// The time of the store is the injected clock's, so that tests can move it. Always so for documents.
    pub injected_clock: bool,
    /// Offers [`Write::ReplaceLive`](crate::backend::Write::ReplaceLive).
    pub replace_live: bool,
}

impl Capabilities {
    /// Nothing beyond the mandatory operations.
    pub const NONE: Self = Self {
        durable: false,
        watch: false,
        durable_watch: false,
        before: false,
        shared: false,
        injected_clock: false,
        replace_live: false,
    };
}
