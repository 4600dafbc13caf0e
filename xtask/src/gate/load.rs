//! How much the gate does at a time: most of what it starts waits for servers.

use std::num::NonZero;

/// For a machine with many processors: PostgreSQL has 600 connections, and every store has a pool.
const AT_A_TIME_MAX: usize = 12;

/// Tests at a time: half as many again as processors, as a third of their time goes by until servers die and come back.
pub(super) fn tests() -> usize {
    (processors() * 3).div_ceil(2).min(AT_A_TIME_MAX)
}

/// Cases of the suite at a time: each waits for commits and leases half of its time.
pub(super) fn cases() -> usize {
    (processors() * 2).min(AT_A_TIME_MAX)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
