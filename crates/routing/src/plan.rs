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
    /// Also gets the post-image of a write.
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

/// Writes go to the primary, and what it wrote to the shadow.
#[derive(Clone, Copy, Debug, Default)]
pub struct DualWrite;

impl Strategy for DualWrite {
    fn plan(&self, operation: Operation) -> RoutePlan {
        match operation {
            Operation::Write => RoutePlan { mirror: Some(Target::Shadow), ..RoutePlan::PRIMARY },
            // Many writes in one call reach the shadow with the feed, which takes them in batches.
            Operation::Bulk
            | Operation::Read
            | Operation::Query
            | Operation::Watch
            | Operation::ReadStrong
            | Operation::Scan
            | Operation::Purge
            | Operation::Schema
            | Operation::Admin
            | Operation::Migrate
            | Operation::Health => RoutePlan::PRIMARY,
        }
    }
}
