//! The built binary, as people and scripts use it.

mod config;
mod conformance;
mod demo;
mod doc;
mod import;
mod index;
mod kill;
mod program;
mod routing;
mod same;
mod streams;
mod token;
mod user;
mod watch;
