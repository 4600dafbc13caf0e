//! Logins: what they leave on an account, and the policy that counts them.

use std::time::Duration;

use crate::error::{Error, Reason, Result};
use crate::time::Timestamp;

/// Most attempts a policy may allow in one window.
///
/// Source: NIST SP 800-63B, section 5.2.2.
pub const LOGIN_THRESHOLD_MAX: u32 = 100;

/// What logins left on an account.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginStats {
    /// Last success; never moves back.
    pub last_login_at: Option<Timestamp>,
    /// Last failure.
    pub last_failed_at: Option<Timestamp>,
    /// Consecutive failures in the window.
    pub failed_attempts: u32,
    /// Locked until then; `None` is not locked.
    pub lockout_until: Option<Timestamp>,
    /// How many lockouts since the last success: the more, the longer the next one.
    pub lockout_count: u32,
}

/// When wrong passwords lock an account.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoginPolicy {
    /// Attempts that may test a password in one window, 1 to 100; the last of them locks.
    pub threshold: u32,
    /// Failures further apart than this do not add up.
    pub window: Duration,
    /// The first lock.
    pub lock_base: Duration,
    /// Each further lock is longer by this factor.
    pub lock_factor: f64,
    /// The longest lock.
    pub lock_max: Duration,
}

impl Default for LoginPolicy {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            threshold: 10,
            window: 15 * minute,
            lock_base: minute,
            lock_factor: 2.0,
            lock_max: 60 * minute,
        }
    }
}

impl LoginPolicy {
    /// Refuses a policy that would lock nobody or everybody.
    ///
    /// # Errors
    ///
    /// [`Reason::Option`] with the field, its range and what it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::LoginPolicy;
    ///
    /// let mut policy = LoginPolicy::default();
    /// assert!(policy.check().is_ok());
    /// policy.threshold = 101;
    /// assert!(policy.check().is_err());
    /// ```
    pub fn check(&self) -> Result<()> {
        let threshold = (1..=LOGIN_THRESHOLD_MAX).contains(&self.threshold);
        check(threshold, "policy.threshold", "a threshold is 1 to 100 attempts")?;
        check(self.window >= TIME_MIN, "policy.window", "a window has at least a millisecond")?;
        check(self.lock_base >= TIME_MIN, "policy.lockBase", "a lock has at least a millisecond")?;
        let longer = self.lock_max >= self.lock_base;
        check(longer, "policy.lockMax", "the longest lock is at least as long as the first")?;
        let grows = self.lock_factor.is_finite() && self.lock_factor >= 1.0;
        check(grows, "policy.lockFactor", "locks grow by a finite factor of at least 1")
    }

    /// How long the lock lasts that follows `locks` earlier ones.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use syntrix_storage_core::LoginPolicy;
    ///
    /// let policy = LoginPolicy::default();
    /// assert_eq!(policy.lock_after(0), Duration::from_secs(60));
    /// assert_eq!(policy.lock_after(2), Duration::from_secs(240));
    /// assert_eq!(policy.lock_after(1000), policy.lock_max);
    /// ```
    pub fn lock_after(&self, locks: u32) -> Duration {
        let longest = self.lock_max.as_secs_f64();
        let seconds = self.lock_base.as_secs_f64() * self.lock_factor.powf(f64::from(locks));
        // Beyond the longest lock the power may be infinite.
        if seconds < longest { Duration::from_secs_f64(seconds) } else { self.lock_max }
    }
}

/// The store counts in milliseconds: anything shorter would be nothing.
const TIME_MIN: Duration = Duration::from_millis(1);

fn check(holds: bool, field: &'static str, message: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid(field, Reason::Option, message)) }
}

/// Permission to test one password.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginTicket {
    /// Which attempt of its window this is, from 1.
    pub attempt: u32,
    /// The window it was given out in: a success of an earlier window cannot lift a later lock.
    pub window: u64,
}

impl LoginTicket {
    /// For stores, which give tickets out.
    pub const fn new(attempt: u32, window: u64) -> Self {
        Self { attempt, window }
    }
}

/// The answer to `begin_login_attempt`.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginAttempt {
    /// Test the password. The attempt is counted already; a wrong one needs no further call.
    Allowed(LoginTicket),
    /// Deny, whatever the password.
    Locked {
        /// Until then.
        until: Timestamp,
    },
}

/// The answer to `record_login_success`.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginSuccess {
    /// The login counts.
    Recorded,
    /// Locked in the meantime: deny.
    Locked {
        /// Until then.
        until: Timestamp,
    },
}
