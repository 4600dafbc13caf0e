//! Routes between two memory backends, of which the shadow may fail. Numbers in names are those of the catalogue of cases.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod feed;
mod fill;
mod holders;
mod purge;
mod shadow;
mod world;
