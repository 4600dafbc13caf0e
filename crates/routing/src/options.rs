//! How a route keeps its shadow up to date; what tests set otherwise.

use std::time::Duration;

use crate::fault::MirrorFault;

/// Whether a write waits for its mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MirrorMode {
    /// The caller gets the primary's answer at once.
    #[default]
    Background,
    /// The caller waits up to the budget and is told when the shadow did not confirm in time.
    Wait,
}

/// Settings of mirror and replicator.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct ReplicationOptions {
    /// Whether a write waits for its mirror.
    pub mirror: MirrorMode,
    /// Longest wait of a caller for the mirror of its write.
    pub mirror_budget: Duration,
    /// After this a mirrored write is given up; the feed delivers it.
    pub mirror_timeout: Duration,
    /// Mirrored writes under way at once; those beyond are left to the feed.
    pub mirrors_max: usize,
    /// How long a lease must stand still until another process takes it.
    pub lease_time: Duration,
    /// Between two looks at another process's lease.
    pub standby_interval: Duration,
    /// Between two records of how far the shadow is, while there is work.
    pub checkpoint_interval: Duration,
    /// Most changes of one batch.
    pub batch_changes_max: usize,
    /// About how many bytes of documents a batch may hold.
    pub batch_bytes_max: usize,
    /// Parts of a batch that are applied side by side; a document is always in the same one.
    pub lanes: usize,
    /// Longest wait for the shadow's answer to one part of a batch.
    pub apply_timeout: Duration,
    /// Most documents that wait for an operator because the shadow refuses them; beyond, the replicator stops and says so.
    pub dead_letters_max: usize,
    /// Longest wait of `close` for mirrors under way.
    pub close_timeout: Duration,
    /// Between two passes over the primary of a store without a public feed: accounts and revoked tokens.
    pub sweep_interval: Duration,
    /// Between two looks at a route for its metrics.
    pub metrics_interval: Duration,
    /// Where this process shall die, in tests.
    pub fault: Option<MirrorFault>,
}

impl Default for ReplicationOptions {
    fn default() -> Self {
        Self {
            mirror: MirrorMode::Background,
            mirror_budget: Duration::from_millis(50),
            mirror_timeout: Duration::from_secs(2),
            mirrors_max: 256,
            lease_time: Duration::from_secs(5),
            standby_interval: Duration::from_millis(500),
            checkpoint_interval: Duration::from_millis(200),
            batch_changes_max: 2000,
            batch_bytes_max: 8 * 1024 * 1024,
            lanes: 4,
            apply_timeout: Duration::from_secs(30),
            dead_letters_max: 10_000,
            close_timeout: Duration::from_secs(5),
            sweep_interval: Duration::from_secs(60),
            metrics_interval: Duration::from_secs(10),
            fault: None,
        }
    }
}

impl ReplicationOptions {
    /// Sets whether writes wait.
    #[must_use]
    pub fn with_mirror(mut self, mirror: MirrorMode) -> Self {
        self.mirror = mirror;
        self
    }
}
