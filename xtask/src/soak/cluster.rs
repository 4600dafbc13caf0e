//! What every kind of server is to a campaign.

use std::time::Duration;

use crate::failure::Result;

/// What a process of ours goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A process was killed, a role taken away.
    Kill,
    /// The network misbehaved, or connections were closed by an administrator.
    Fault,
}

/// Something that was done to a server, and when. Times are microseconds since 1970 by this machine's clock.
#[derive(Debug, Clone)]
pub(super) struct Strike {
    /// For the log.
    pub(super) what: String,
    pub(super) kind: Kind,
    /// When it began.
    pub(super) began: u64,
    /// When there was again a server that accepts.
    pub(super) accepted: u64,
    /// Longest from there to the first success of each writer.
    pub(super) success_max: Duration,
}

impl Strike {
    /// Longest after the server accepts again.
    pub(super) const AFTER_RESTART: Duration = Duration::from_secs(1);
    /// Longest after another server was chosen.
    pub(super) const AFTER_ELECTION: Duration = Duration::from_secs(3);
}

/// Servers that can be made to suffer. Dropped, they are gone.
pub(super) trait Cluster {
    /// How processes reach it, through proxies.
    fn configuration(&self) -> String;

    /// Does the next thing to it and returns when it accepts again.
    fn strike(&mut self, random: &mut fastrand::Rng) -> Result<Strike>;

    /// Makes everything whole.
    fn mend(&mut self) -> Result<()>;

    /// How long all is well before the next strike, in milliseconds.
    fn calm_ms(&self) -> std::ops::RangeInclusive<u64> {
        1500..=3000
    }

    /// Whether the writers themselves are what is killed, and need not be spared.
    fn kills_writers(&self) -> bool {
        false
    }
}
