//! The rules that count logins, as functions from one state to the next.

use syntrix_storage_core::backend::LoginState;
use syntrix_storage_core::{
    LoginAttempt, LoginPolicy, LoginStats, LoginSuccess, LoginTicket, Timestamp,
};

/// Counts an attempt before its password is tested, or denies it.
pub(super) fn begin(
    state: &LoginState,
    policy: &LoginPolicy,
    now: Timestamp,
) -> (Option<LoginState>, LoginAttempt) {
    if let Some(until) = locked_until(state, now) {
        return (None, LoginAttempt::Locked { until });
    }
    let next = count(state, policy, now);
    let ticket = LoginTicket::new(next.stats.failed_attempts, next.window);
    (Some(next), LoginAttempt::Allowed(ticket))
}

/// Counts a failure, also of a locked account, whose lock it leaves as it is.
pub(super) fn fail(
    state: &LoginState,
    policy: &LoginPolicy,
    now: Timestamp,
) -> (Option<LoginState>, LoginStats) {
    let next = if locked_until(state, now).is_some() {
        let mut next = state.clone();
        next.stats.failed_attempts = next.stats.failed_attempts.saturating_add(1);
        next.stats.last_failed_at = later(next.stats.last_failed_at, now);
        next
    } else {
        count(state, policy, now)
    };
    let stats = next.stats.clone();
    (Some(next), stats)
}

/// Resets count and lock, unless the account is locked and the ticket is not of the window that locked it.
pub(super) fn succeed(
    state: &LoginState,
    ticket: Option<LoginTicket>,
    now: Timestamp,
) -> (Option<LoginState>, LoginSuccess) {
    let of_this_window = ticket.is_some_and(|ticket| ticket.window == state.window);
    match locked_until(state, now) {
        Some(until) if !of_this_window => (None, LoginSuccess::Locked { until }),
        _ => {
            let mut next = next_window(state);
            next.stats.lockout_count = 0;
            next.stats.last_login_at = later(state.stats.last_login_at, now);
            (Some(next), LoginSuccess::Recorded)
        }
    }
}

/// Takes over statistics from elsewhere. Tickets given out before count no more.
pub(super) fn set(state: &LoginState, stats: &LoginStats) -> LoginState {
    let mut next = next_window(state);
    next.stats = stats.clone();
    next.stats.last_login_at = state.stats.last_login_at.max(stats.last_login_at);
    next
}

fn locked_until(state: &LoginState, now: Timestamp) -> Option<Timestamp> {
    state.stats.lockout_until.filter(|until| now < *until)
}

/// One attempt more, in a new window if the last one is over; the one that reaches the threshold locks.
fn count(state: &LoginState, policy: &LoginPolicy, now: Timestamp) -> LoginState {
    let mut next = if is_over(state, policy, now) { next_window(state) } else { state.clone() };
    let stats = &mut next.stats;
    stats.failed_attempts = stats.failed_attempts.saturating_add(1);
    stats.last_failed_at = later(stats.last_failed_at, now);
    if stats.failed_attempts >= policy.threshold {
        let lock = policy.lock_after(stats.lockout_count);
        stats.lockout_until = Some(now.saturating_add(lock).min(Timestamp::LATEST));
        stats.lockout_count = stats.lockout_count.saturating_add(1);
    }
    next
}

/// Whether the count starts anew: the lock is over, or nothing failed for as long as a window.
fn is_over(state: &LoginState, policy: &LoginPolicy, now: Timestamp) -> bool {
    let unlocked = state.stats.lockout_until.is_some();
    let idle = |last: Timestamp| now.since(last) >= policy.window;
    unlocked || state.stats.last_failed_at.is_some_and(idle)
}

/// The same account with nothing counted. The number of locks stays: the next one is longer.
fn next_window(state: &LoginState) -> LoginState {
    let mut next = state.clone();
    next.window += 1;
    next.stats.failed_attempts = 0;
    next.stats.lockout_until = None;
    next
}

/// Never moves back, whatever the clock does.
fn later(previous: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    previous.max(Some(now))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_milliseconds(milliseconds)
    }

    fn fresh() -> LoginState {
        LoginState { stats: LoginStats::default(), window: 0, sequence: 0 }
    }

    fn policy(threshold: u32) -> LoginPolicy {
        let mut policy = LoginPolicy::default();
        policy.threshold = threshold;
        policy
    }

    /// `count` attempts at `now`; the last one's ticket.
    fn attempts(
        mut state: LoginState,
        count: u32,
        policy: &LoginPolicy,
        now: i64,
    ) -> (LoginState, LoginTicket) {
        let mut last = None;
        for _ in 0..count {
            let (next, answer) = begin(&state, policy, at(now));
            let LoginAttempt::Allowed(ticket) = answer else { panic!("locked early") };
            state = next.unwrap();
            last = Some(ticket);
        }
        (state, last.unwrap())
    }

    #[test]
    fn the_attempt_that_reaches_the_threshold_is_allowed_and_locks() {
        let (state, ticket) = attempts(fresh(), 3, &policy(3), 0);
        assert_eq!(ticket.attempt, 3);
        let (none, answer) = begin(&state, &policy(3), at(1));
        assert_eq!((none, answer), (None, LoginAttempt::Locked { until: at(MINUTE_MS) }));
    }

    #[test]
    fn a_lock_that_is_over_starts_the_count_anew_and_the_next_lock_is_longer() {
        let (state, _) = attempts(fresh(), 3, &policy(3), 0);
        let (state, ticket) = attempts(state, 1, &policy(3), MINUTE_MS);
        assert_eq!((ticket.attempt, state.stats.lockout_until), (1, None));
        let (state, _) = attempts(state, 2, &policy(3), MINUTE_MS);
        assert_eq!(state.stats.lockout_until, Some(at(3 * MINUTE_MS)));
    }

    #[test]
    fn failures_further_apart_than_the_window_do_not_add_up() {
        let window = policy(3).window.as_millis() as i64;
        let (state, _) = attempts(fresh(), 2, &policy(3), 0);
        let (_, near) = attempts(state.clone(), 1, &policy(3), window - 1);
        let (_, far) = attempts(state, 1, &policy(3), window);
        assert_eq!((near.attempt, far.attempt), (3, 1));
    }

    #[test]
    fn a_success_with_the_ticket_of_the_locking_window_lifts_the_lock() {
        let (state, ticket) = attempts(fresh(), 3, &policy(3), 0);
        let (next, answer) = succeed(&state, Some(ticket), at(5));
        let stats = next.unwrap().stats;
        assert_eq!(answer, LoginSuccess::Recorded);
        assert_eq!((stats.failed_attempts, stats.lockout_until, stats.lockout_count), (0, None, 0));
        assert_eq!(stats.last_login_at, Some(at(5)));
    }

    #[test]
    fn a_success_without_a_ticket_of_the_window_leaves_a_lock() {
        let (first, old) = attempts(fresh(), 1, &policy(3), 0);
        let (reset, _) = succeed(&first, Some(old), at(1));
        let (locked, _) = attempts(reset.unwrap(), 3, &policy(3), 2);
        for ticket in [None, Some(old)] {
            let (none, answer) = succeed(&locked, ticket, at(3));
            assert_eq!(none, None);
            assert_eq!(answer, LoginSuccess::Locked { until: at(2 + MINUTE_MS) });
        }
    }

    #[test]
    fn failures_of_a_locked_account_are_counted_and_do_not_lengthen_the_lock() {
        let (state, _) = attempts(fresh(), 3, &policy(3), 0);
        let (next, stats) = fail(&state, &policy(3), at(10));
        assert_eq!((stats.failed_attempts, stats.lockout_until), (4, Some(at(MINUTE_MS))));
        let mut full = next.unwrap();
        full.stats.failed_attempts = u32::MAX;
        assert_eq!(fail(&full, &policy(3), at(11)).1.failed_attempts, u32::MAX);
    }

    #[test]
    fn a_clock_that_goes_back_neither_unlocks_nor_moves_times_back() {
        let mut short = policy(2);
        short.window = Duration::from_millis(10);
        let (state, _) = attempts(fresh(), 1, &short, 1000);
        let (state, ticket) = attempts(state, 1, &short, 500);
        assert_eq!((ticket.attempt, state.stats.last_failed_at), (2, Some(at(1000))));
        let (next, _) = succeed(&state, Some(ticket), at(600));
        let (next, _) = succeed(&next.unwrap(), None, at(400));
        assert_eq!(next.unwrap().stats.last_login_at, Some(at(600)));
    }

    #[test]
    fn statistics_from_elsewhere_keep_the_later_login_and_void_tickets() {
        let (state, ticket) = attempts(fresh(), 1, &policy(3), 0);
        let (state, _) = succeed(&state, Some(ticket), at(100));
        let mut stats = LoginStats::default();
        stats.last_login_at = Some(at(50));
        stats.lockout_until = Some(at(1000));
        let set = set(&state.unwrap(), &stats);
        assert_eq!(set.stats.last_login_at, Some(at(100)));
        let ticket = LoginTicket::new(1, set.window - 1);
        assert_eq!(
            succeed(&set, Some(ticket), at(200)).1,
            LoginSuccess::Locked { until: at(1000) }
        );
    }
}
