//! The backend through its one public function, on a real server.

mod account_feed;
mod common;
mod crash;
mod hosts;
mod identities;
mod indexes;
mod lifetime;
mod opening;
mod overlap;
mod pooler;
mod role;
mod server;
mod tls;
mod trim;
mod watch;
mod writes;

// What every backend has to answer alike is asked by the same tests.
#[path = "../../../sqlite/tests/backend/differential.rs"]
mod differential;
#[path = "../../../sqlite/tests/backend/shared.rs"]
mod shared;
