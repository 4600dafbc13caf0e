//! `cargo xtask dependencies`: who may depend on whom.
//!
//! The rule of `ARCHITECTURE.md`, read off the package graph instead of trusted:
//! arrows between our packages only point down the floors, a driver is seen by its
//! own backend alone, the core stays free of runtimes and parsers, and no crate
//! falls below the version that mended a known hole.

mod floors;
mod rule;

use std::fs;

use crate::failure::{Context, Failure, Result};
use crate::metadata::{Graph, Workspace};

/// Checks the whole rule and lists every violation, not only the first.
///
/// # Errors
///
/// When the graph cannot be read or breaks the rule.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let graph = Graph::load()?;
    let lock_file = workspace.root.join("Cargo.lock");
    let lock = fs::read_to_string(lock_file).context(|| "reading Cargo.lock".into())?;

    let mut violations = rule::violations(&graph);
    violations.extend(floors::violations(&lock));
    if violations.is_empty() {
        println!("{} packages of ours, {} in all: ok", graph.members.len(), graph.resolved.len());
        return Ok(());
    }
    Err(Failure::new(format!("the dependency rule is broken:\n  {}", violations.join("\n  "))))
}
