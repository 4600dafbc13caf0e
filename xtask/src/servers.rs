//! Private PostgreSQL, Redis and MongoDB servers for the tests, and `cargo xtask servers`.
//!
//! A server of ours listens on a free loopback port, keeps its data in a temporary folder and is
//! gone with it. One that the system runs on its usual port is never touched. Programs are taken
//! from where they are installed, else from the cache, else they are installed; what cannot be
//! had is an error that says what to install by hand.

mod command;
mod install;
mod launch;
pub(crate) mod mongo;
pub(crate) mod postgres;
mod print;
mod probe;
mod program;
pub(crate) mod redis;
mod running;
mod state;
pub(crate) mod wire;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
pub(crate) use command::{Command, run};
pub(crate) use launch::{free_port, signal};
pub(crate) use print::{block_in_line, configuration};
pub(crate) use probe::{postgres_serves, redis_answers, redis_serves};
pub(crate) use program::find as program;
pub(crate) use running::{PASSWORD_DIGITS, PASSWORD_PREFIX, Running, on_signal, password};

/// A kind of server, named as in the configuration.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// PostgreSQL
    Pg,
    /// MongoDB, a replica set of one
    Mongo,
    /// Redis with an append-only file
    Redis,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Pg, Self::Mongo, Self::Redis];

    /// As in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pg => "pg",
            Self::Mongo => "mongo",
            Self::Redis => "redis",
        }
    }

    /// The environment variable in which a test looks for the URL.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Pg => "SYNTRIX_STORAGE_TEST_PG",
            Self::Mongo => "SYNTRIX_STORAGE_TEST_MONGO",
            Self::Redis => "SYNTRIX_STORAGE_TEST_REDIS",
        }
    }
}

/// A running server of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    /// What it is.
    pub(crate) kind: Kind,
    /// The process that has to end.
    pub(crate) pid: u32,
    /// How a test reaches it, with the password.
    pub(crate) url: String,
    /// Where its data and its log lie; its command line names it.
    pub(crate) folder: PathBuf,
}

/// Where programs and the state of `servers up` are kept: below the user's cache folder, not in the checkout.
///
/// # Errors
///
/// When there is no home folder.
fn cache() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .ok_or_else(|| Failure::new("neither XDG_CACHE_HOME nor HOME says where to keep things"))?;
    Ok(base.join("syntrix-storage"))
}
