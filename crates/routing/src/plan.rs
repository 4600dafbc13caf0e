//! Strategies answer each operation with a plan, never with a bare store.

use std::fmt;

use syntrix_storage_core::Operation;

/// One of the databases of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The database that decides.
    Primary,
    /// The database beside it.
    Shadow,
}

/// What a route does with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutePlan {
    /// Gives the caller's answer.
    pub authority: Target,
    /// Also gets what the authority made of a write, or an index declaration.
    pub mirror: Option<Target>,
    /// Also answers a read, to be compared in the background.
    pub compare: Option<Target>,
    /// Answers when the authority of a read cannot.
    pub fallback: Option<Target>,
}

impl RoutePlan {
    /// The primary alone.
    pub const PRIMARY: Self =
        Self { authority: Target::Primary, mirror: None, compare: None, fallback: None };
    /// The primary, and what became of it goes to the shadow too.
    pub const MIRRORED: Self = Self { mirror: Some(Target::Shadow), ..Self::PRIMARY };
    /// The primary, and the shadow's answer is compared in the background.
    pub const COMPARED: Self = Self { compare: Some(Target::Shadow), ..Self::PRIMARY };
    /// The shadow while it is fresh enough and well, else the primary.
    pub const SHADOW: Self =
        Self { authority: Target::Shadow, fallback: Some(Target::Primary), ..Self::PRIMARY };
}

/// Who is read, as the routing section says it under `reads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadFrom {
    /// The primary.
    Primary,
    /// The shadow, with the primary behind it.
    Shadow,
    /// Both, compared; the primary's answer counts.
    Both,
}

impl ReadFrom {
    /// The plan of reads that may be answered by either database.
    const fn plan(self) -> RoutePlan {
        match self {
            Self::Primary => RoutePlan::PRIMARY,
            Self::Shadow => RoutePlan::SHADOW,
            Self::Both => RoutePlan::COMPARED,
        }
    }
}

/// Decides, per operation, which databases take part in it.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::Operation;
/// use syntrix_storage_routing::{RoutePlan, Single, Strategy};
///
/// assert!(Operation::ALL.into_iter().all(|operation| Single.plan(operation) == RoutePlan::PRIMARY));
/// ```
pub trait Strategy: Send + Sync + fmt::Debug {
    /// The plan for `operation`.
    fn plan(&self, operation: Operation) -> RoutePlan;
}

/// Everything goes to the primary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Single;

impl Strategy for Single {
    fn plan(&self, operation: Operation) -> RoutePlan {
        match operation {
            Operation::Read
            | Operation::Query
            | Operation::Watch
            | Operation::ReadStrong
            | Operation::Write
            | Operation::Bulk
            | Operation::Scan
            | Operation::Purge
            | Operation::Schema
            | Operation::Admin
            | Operation::Migrate
            | Operation::Health => RoutePlan::PRIMARY,
        }
    }
}

/// What the primary commits goes to the shadow too: at once for single writes, by the change feed for all.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::Operation;
/// use syntrix_storage_routing::{DualWrite, ReadFrom, RoutePlan, Strategy};
///
/// let strategy = DualWrite { reads: ReadFrom::Both };
/// assert_eq!(strategy.plan(Operation::Write), RoutePlan::MIRRORED);
/// assert_eq!(strategy.plan(Operation::Query), RoutePlan::COMPARED);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DualWrite {
    /// Who is read.
    pub reads: ReadFrom,
}

impl Strategy for DualWrite {
    fn plan(&self, operation: Operation) -> RoutePlan {
        match operation {
            Operation::Read | Operation::Query => self.reads.plan(),
            Operation::Write | Operation::Schema => RoutePlan::MIRRORED,
            // A bulk reaches the shadow by the feed, in batches and throttled; a purge by the replicator's holder, who is the
            // only one to purge. An export is of the authority, which alone is complete at every moment.
            Operation::Bulk
            | Operation::Scan
            | Operation::Purge
            | Operation::ReadStrong
            | Operation::Watch
            | Operation::Admin
            | Operation::Migrate
            | Operation::Health => RoutePlan::PRIMARY,
        }
    }
}

/// The primary is written, a replica is read where it is fresh enough.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::Operation;
/// use syntrix_storage_routing::{ReadFrom, ReadReplica, RoutePlan, Strategy};
///
/// let strategy = ReadReplica { reads: ReadFrom::Shadow, native: false };
/// assert_eq!(strategy.plan(Operation::Read), RoutePlan::SHADOW);
/// assert_eq!(strategy.plan(Operation::ReadStrong), RoutePlan::PRIMARY);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ReadReplica {
    /// Who is read.
    pub reads: ReadFrom,
    /// Whether the database replicates by itself, indexes included. Else the replicator feeds it and declarations go to both.
    pub native: bool,
}

impl Strategy for ReadReplica {
    fn plan(&self, operation: Operation) -> RoutePlan {
        match operation {
            Operation::Read | Operation::Query => self.reads.plan(),
            // To keep exports off the primary is what a replica is for; to compare them would read everything twice.
            Operation::Scan if self.reads == ReadFrom::Shadow => RoutePlan::SHADOW,
            Operation::Schema if !self.native => RoutePlan::MIRRORED,
            Operation::Scan
            | Operation::Schema
            | Operation::Write
            | Operation::Bulk
            | Operation::Purge
            | Operation::ReadStrong
            | Operation::Watch
            | Operation::Admin
            | Operation::Migrate
            | Operation::Health => RoutePlan::PRIMARY,
        }
    }
}
