//! The tests of routes in their long form: minutes of torment and 100,000 pairs instead of the gate's slice.

use std::time::Instant;

use crate::failure::Result;
use crate::metadata::Workspace;
use crate::process::{cargo, run as run_command};
use crate::servers::{Kind, Running};

/// Which test programs, and which of their tests: processes that die, and pairs of a write and a read of it.
const PROGRAMS: [&str; 3] = ["routing", "reads", "backend"];
const TESTS: [&str; 6] = [
    "cases_1_2_10",
    "case_12",
    "cases_77_and_79",
    "case_78",
    "no_pair_is_stale",
    "is_kept_behind_a_balancer",
];
const PAIRS: &str = "100000";

/// Runs them one after the other. Says whether all held.
///
/// # Errors
///
/// When a server does not start, or a test fails; what it says was printed.
pub(super) fn run(workspace: &Workspace, seconds: u64) -> Result<bool> {
    let servers = Running::start(&[Kind::Pg, Kind::Mongo])?;
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    tests.args(PROGRAMS.iter().flat_map(|program| ["--test", program]));
    tests.args(["--", "--test-threads", "1", "--nocapture"]).args(TESTS);
    tests.envs(servers.environment());
    tests.env("SYNTRIX_STORAGE_TEST_TORMENT_SECONDS", seconds.to_string());
    tests.env("SYNTRIX_STORAGE_TEST_PAIRS", PAIRS);
    let begun = Instant::now();
    run_command(tests.current_dir(&workspace.root))?;
    println!("the routes held for {} s", begun.elapsed().as_secs());
    Ok(true)
}
