//! Reads of a route with a shadow, and what proves that the shadow is right: verify and repair.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod pair;
mod records;
mod repair;
mod replica;
#[cfg(feature = "pg")]
#[path = "../../../../backends/postgres/tests/backend/server.rs"]
mod server;
#[cfg(feature = "pg")]
mod standby;
mod verify;
