//! The tests of routes in their long form: minutes of torment and 100,000 pairs instead of the gate's slice, and the suite on every
//! pair of databases with every strategy.

use std::time::Instant;

use super::{Options, build};
use crate::failure::Result;
use crate::gate::routes::{Pair, run_all};
use crate::metadata::Workspace;
use crate::process::{cargo, run as run_command};
use crate::servers::Running;

/// Which test programs, and which of their tests: processes that die, and pairs of a write and a read of it.
const PROGRAMS: [&str; 3] = ["routing", "reads", "backend"];
const TESTS: [&str; 7] = [
    "cases_1_2_10",
    "case_12",
    "cases_77_and_79",
    "case_78",
    "no_pair_is_stale",
    "is_kept_behind_a_balancer",
    "is_kept_by_secondaries",
];
/// Pairs of a write and a read of it.
const PAIRS_OF_CALLS: &str = "100000";

/// Runs the tests one after the other, and then the suite on every pair of databases; with `--pairs` the suite alone, on those.
/// Says whether all held.
///
/// # Errors
///
/// When a server does not start, or a test fails; what it says was printed.
pub(super) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let chosen = &options.pairs;
    let pairs = if chosen.is_empty() { &Pair::all() } else { chosen };
    let mut kinds: Vec<_> = pairs.iter().flat_map(|pair| pair.servers()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let servers = Running::start(&kinds)?;
    if chosen.is_empty() {
        run_tests(workspace, &servers, options.seconds)?;
    }
    if !options.no_build {
        // Of the whole workspace, as the tests build it: alone it would have every driver compiled with other features.
        build(workspace, &["--workspace", "--bin", "syntrix-storage"])?;
    }
    run_all(workspace, &servers, pairs)
}

fn run_tests(workspace: &Workspace, servers: &Running, seconds: u64) -> Result<()> {
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    tests.args(PROGRAMS.iter().flat_map(|program| ["--test", program]));
    tests.args(["--", "--test-threads", "1", "--nocapture"]).args(TESTS);
    tests.envs(servers.environment());
    tests.env("SYNTRIX_STORAGE_TEST_TORMENT_SECONDS", seconds.to_string());
    tests.env("SYNTRIX_STORAGE_TEST_PAIRS", PAIRS_OF_CALLS);
    let begun = Instant::now();
    run_command(tests.current_dir(&workspace.root))?;
    println!("the routes held for {} s", begun.elapsed().as_secs());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::TESTS;

    fn read_all(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => read_all(&path, text),
                false => *text += &fs::read_to_string(&path).unwrap_or_default(),
            }
        }
    }

    /// A test that was renamed would be run no longer, and nobody would be told.
    #[test]
    fn every_name_is_the_beginning_or_a_part_of_a_tests() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut sources = String::new();
        let backends =
            ["mongodb", "postgres", "sqlite"].map(|name| format!("backends/{name}/tests"));
        for folder in backends.iter().map(String::as_str).chain(["crates/storage/tests"]) {
            read_all(&root.join(folder), &mut sources);
        }
        for name in TESTS {
            let is_there =
                |line: &str| line.trim_start().starts_with("async fn ") && line.contains(name);
            assert!(sources.lines().any(is_there), "there is no test {name}");
        }
    }
}
