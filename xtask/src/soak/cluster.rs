//! What every kind of server is to a campaign.

use std::time::Duration;

use syntrix_storage_fault_proxy::Proxy;

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

    /// What happens to a shadow may be felt for a moment when it is over.
    pub(super) fn felt_until(&self) -> u64 {
        self.accepted.saturating_add(1_000_000)
    }
}

/// Servers that can be made to suffer. Dropped, they are gone.
pub(super) trait Cluster: Send {
    /// How processes reach it, through proxies.
    fn configuration(&self) -> String;

    /// Does the next thing to it and returns when it accepts again.
    fn strike(&mut self, random: &mut fastrand::Rng) -> Result<Strike>;

    /// Makes everything whole.
    fn mend(&mut self) -> Result<()>;

    /// All ways to it.
    fn proxies(&self) -> Vec<&Proxy> {
        Vec::new()
    }

    /// The configuration of the shadow alone, if documents go to one.
    fn shadow_alone(&self) -> Option<String> {
        None
    }

    /// Makes the shadow whole and tells what it went through.
    fn end_shadow_torment(&mut self) -> Result<Vec<Strike>> {
        Ok(Vec::new())
    }

    /// How long all is well before the next strike, in milliseconds.
    fn calm_ms(&self) -> std::ops::RangeInclusive<u64> {
        1500..=3000
    }

    /// Whether the writers themselves are what is killed, and need not be spared.
    fn kills_writers(&self) -> bool {
        false
    }

    /// Whether writers write without a pause.
    fn hurries_writers(&self) -> bool {
        self.kills_writers()
    }
}
