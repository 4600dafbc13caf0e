//! Routes: which database answers which operation.
//!
//! A route is a backend made of backends. It sits under the engine, gets the operation with each call, and asks its strategy
//! for a [`RoutePlan`]. A route with a shadow mirrors what the primary wrote, for freshness, and replicates the primary's
//! change feed, for completeness.

mod breaker;
mod content;
mod control;
mod documents;
mod extra;
mod fault;
mod gauges;
mod holder;
mod mirror;
mod options;
mod outbox;
mod page_size;
mod plan;
mod reads;
mod replication;
mod replicator;
mod revocations;
mod shadow;
mod swept;
mod users;
mod verify;

pub use breaker::{Breaker, BreakerState};
pub use content::same_content;
pub use control::RouteControl;
pub use documents::DocumentRoute;
pub use fault::MirrorFault;
pub use gauges::export_metrics;
pub use options::{MirrorMode, ReplicationOptions};
pub use plan::{DualWrite, ReadFrom, ReadReplica, RoutePlan, Single, Strategy, Target};
pub use reads::ReadRules;
pub use replication::DocumentReplication;
pub use replicator::DeadLetter;
pub use replicator::status::{
    CompareStatus, FillStatus, HolderStatus, LagStatus, MirrorStatus, ReplicatedStatus,
    StatusReport,
};
pub use revocations::RevocationRoute;
pub use shadow::{LastFailure, NativeReplica, OpenShadow, ShadowLink, ShadowOpener, ShadowState};
pub use swept::accounts::Accounts;
pub use swept::tokens::Tokens;
pub use swept::{Brought, LetterNames, Swept, SweptReplication, WriteFeed, Written};
pub use users::UserRoute;
pub use verify::{
    Barrier, Depth, FieldDifference, Finding, LastVerify, RecordFinding, RecordKey, RecordReport,
    RecordRoute, RecordsSummary, Repair, RepairSummary, Repaired, Report, SideSummary, Verdict,
    VerdictCounts, Verify, VerifyOptions, VerifySummary, VerifyUnderWay,
};
