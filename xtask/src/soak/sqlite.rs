//! A file: nothing but its writers can be killed.

use super::cluster::{Cluster, Strike};
use crate::failure::{Failure, Result};

/// SQLite, as an application without a server has it.
#[derive(Debug)]
pub(super) struct File;

impl Cluster for File {
    fn configuration(&self) -> String {
        let section = |store: &str| format!("  {store}:\n    backend: sqlite\n    sqlite: {{}}\n");
        format!("storage:\n{}{}", section("document"), section("revocation"))
    }

    fn strike(&mut self, _random: &mut fastrand::Rng) -> Result<Strike> {
        Err(Failure::new("a file has no server"))
    }

    fn mend(&mut self) -> Result<()> {
        Ok(())
    }

    /// The shortest lives end while the store is opened.
    fn calm_ms(&self) -> std::ops::RangeInclusive<u64> {
        20..=400
    }

    fn kills_writers(&self) -> bool {
        true
    }
}
