//! The exhaustive list of what can be asked of a store, which routing decides by.

/// What a call does, in the terms a route decides by. Exhaustive on purpose: a new operation must be given a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Point reads.
    Read,
    /// Lists, filters, pages.
    Query,
    /// The change feed.
    Watch,
    /// Reads that must see the last commit, such as the one before a compare-and-set.
    ReadStrong,
    /// Writes of one record.
    Write,
    /// Many writes in one call.
    Bulk,
    /// Full or range export.
    Scan,
    /// Removal of expired tombstones.
    Purge,
    /// Index declarations and schema.
    Schema,
    /// Statistics, creation and removal of namespaces.
    Admin,
    /// Replication: names its store and bypasses the route.
    Migrate,
    /// Liveness.
    Health,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 12] = [
        Self::Read,
        Self::Query,
        Self::Watch,
        Self::ReadStrong,
        Self::Write,
        Self::Bulk,
        Self::Scan,
        Self::Purge,
        Self::Schema,
        Self::Admin,
        Self::Migrate,
        Self::Health,
    ];

    /// The name in traces and metrics, `snake_case`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Query => "query",
            Self::Watch => "watch",
            Self::ReadStrong => "read_strong",
            Self::Write => "write",
            Self::Bulk => "bulk",
            Self::Scan => "scan",
            Self::Purge => "purge",
            Self::Schema => "schema",
            Self::Admin => "admin",
            Self::Migrate => "migrate",
            Self::Health => "health",
        }
    }
}
