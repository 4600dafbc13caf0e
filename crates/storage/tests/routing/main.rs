//! Routes with a shadow, on real databases. Numbers in names are those of the catalogue of cases for routes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod account_crash;
#[cfg(any(feature = "mongo", feature = "pg"))]
mod account_servers;
mod accounts;
mod crash;
mod fill;
mod journal;
mod mirror;
#[cfg(feature = "pg")]
mod postgres;
mod stores;
mod tokens;
