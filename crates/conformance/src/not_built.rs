//! Cases of the catalogue that this release does not have, each with the reason.

/// A case of the catalogue without a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBuilt {
    /// As in the catalogue.
    pub id: &'static str,
    /// Why there is no check.
    pub reason: &'static str,
}

const fn not_built(id: &'static str, reason: &'static str) -> NotBuilt {
    NotBuilt { id, reason }
}

/// Every case of the catalogue that is not in [`cases`](crate::cases()).
pub const NOT_BUILT: &[NotBuilt] = &[
    // DOC PRE PAT QRY ORD PAG

    // IDX WAT RES SDL REG CLS BAD
];
