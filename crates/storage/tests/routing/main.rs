//! Routes with a shadow, on real databases. Numbers in names are those of the catalogue of cases for routes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod cases;
mod crash;
#[cfg(feature = "pg")]
mod cut;
mod fill;
mod mirror;
#[cfg(all(feature = "mongo", feature = "pg"))]
mod mongodb;
#[cfg(feature = "pg")]
mod postgres;
#[cfg(feature = "pg")]
mod primary;
#[cfg(feature = "redis")]
mod redis;
mod stores;
mod tokens;
