//! The backend through its one public function, on real files.

mod common;
mod differential;
mod feed;
mod identities;
mod indexes;
mod leases;
mod ledger;
mod lifetime;
mod maintenance;
mod opening;
mod queries;
mod reads;
mod revocations;
mod shadow;
mod shared;
mod users;
mod writes;
