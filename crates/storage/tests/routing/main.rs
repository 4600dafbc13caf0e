//! Routes with a shadow, on real databases. Numbers in names are those of the catalogue of cases for routes.

mod accounts;
mod fill;
mod mirror;
mod stores;
mod tokens;
