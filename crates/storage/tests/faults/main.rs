//! What becomes of calls when the backend fails: before the work, behind it, never or late. On memory and SQLite.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod closing;
mod documents;
#[path = "../logs/mod.rs"]
mod logs;
mod revocations;
mod stores;
mod users;
mod watch;
