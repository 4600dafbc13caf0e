//! Routes: which database answers which operation.
//!
//! A route is a backend made of backends. It sits under the engine, gets the operation with each call, and asks its strategy
//! for a [`RoutePlan`]. This release has the strategy [`Single`].

mod documents;
mod plan;
mod verify;

pub use documents::DocumentRoute;
pub use plan::{DualWrite, ReadFrom, ReadReplica, RoutePlan, Single, Strategy, Target};
pub use verify::{
    Barrier, Depth, Finding, Repair, RepairSummary, Repaired, Report, SideSummary, Verdict,
    VerdictCounts, Verify, VerifyOptions, VerifySummary,
};
