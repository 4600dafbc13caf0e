//! The backend through its one public function, on real files.

mod common;
mod differential;
mod feed;
mod indexes;
mod lifetime;
mod maintenance;
mod opening;
mod queries;
mod reads;
mod shared;
mod writes;
