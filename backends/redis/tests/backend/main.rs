//! The backend against real servers: most tests start their own, since they kill, empty or misconfigure it.

mod cluster;
mod common;
mod lifetime;
mod listing;
mod losses;
mod network;
mod opening;
mod proxy;
mod replicas;
mod revoking;
mod rights;
mod secrets;
mod sentinel;
mod server;
mod tls;
mod together;
