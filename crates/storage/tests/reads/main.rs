//! Reads of a route with a shadow, and what proves that the shadow is right: verify and repair.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
#[cfg(feature = "mongo")]
#[allow(dead_code, reason = "its users elsewhere use the rest")]
#[path = "../../../../xtask/src/failure.rs"]
mod failure;
#[cfg(any(feature = "mongo", feature = "pg"))]
mod native;
mod pair;
mod records;
#[cfg(feature = "pg")]
mod recovery_conflict;
mod repair;
mod replica;
#[cfg(feature = "mongo")]
mod secondaries;
#[cfg(feature = "pg")]
#[path = "../../../../backends/postgres/tests/backend/server.rs"]
mod server;
#[cfg(feature = "mongo")]
#[allow(dead_code, reason = "its users elsewhere use the rest")]
#[path = "../../../../backends/mongodb/tests/backend/set.rs"]
mod set;
#[cfg(feature = "pg")]
mod standby;
mod verify;
