//! The backend against a real server: the replica set that `SYNTRIX_STORAGE_TEST_MONGO` names, and servers of their own for
//! what would disturb others.

mod close;
mod codec;
mod common;
mod crash;
mod creates;
#[path = "../../../sqlite/tests/backend/differential.rs"]
mod differential;
#[allow(dead_code, reason = "its users elsewhere use the rest")]
#[path = "../../../../xtask/src/failure.rs"]
mod failure;
mod feed;
mod identities;
mod opening;
mod plans;
mod secondaries;
mod servers;
#[allow(dead_code, reason = "its users elsewhere use the rest")]
mod set;
mod sharding;
mod writers;
