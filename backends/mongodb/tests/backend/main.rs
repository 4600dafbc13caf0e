//! The backend against a real server: the replica set that `SYNTRIX_STORAGE_TEST_MONGO` names, and servers of their own for
//! what would disturb others.

mod close;
mod codec;
mod common;
mod crash;
mod creates;
#[path = "../../../sqlite/tests/backend/differential.rs"]
mod differential;
mod feed;
mod identities;
mod lineage;
mod opening;
mod plans;
mod secondaries;
mod servers;
mod sharding;
mod writers;
