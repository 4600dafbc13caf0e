//! What became of reads, for whoever installed a recorder.

use metrics::Counter;

/// Why the primary answered a read that was the shadow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The shadow is not reached, not filled, or given up.
    NotReady,
    /// The session may have seen what the shadow does not have.
    Session,
    /// The shadow is further behind than the call allows.
    Lag,
    /// The shadow did not answer well.
    Error,
    /// The shadow did not answer in time.
    Timeout,
    /// The shadow failed so often that it is not asked.
    Breaker,
}

impl Reason {
    const ALL: [Self; 6] =
        [Self::NotReady, Self::Session, Self::Lag, Self::Error, Self::Timeout, Self::Breaker];

    const fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Session => "session",
            Self::Lag => "lag",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Breaker => "breaker",
        }
    }

    /// Whether a shadow that is not well sends the read: such ones are capped.
    pub(crate) const fn is_failure(self) -> bool {
        matches!(self, Self::Error | Self::Timeout | Self::Breaker)
    }
}

/// Counts reads by who answered.
pub(crate) struct ReadCounters {
    shadow: Counter,
    fallback: [Counter; Reason::ALL.len()],
}

impl ReadCounters {
    pub(crate) fn new() -> Self {
        let fallback = Reason::ALL.map(|reason| {
            metrics::counter!("syntrix_storage_fallback_total", "store" => "documents", "reason" => reason.as_str())
        });
        let shadow =
            metrics::counter!("syntrix_storage_shadow_reads_total", "store" => "documents");
        Self { shadow, fallback }
    }

    pub(crate) fn answered(&self) {
        self.shadow.increment(1);
    }

    pub(crate) fn fell_back(&self, reason: Reason) {
        self.fallback[reason as usize].increment(1);
    }
}

impl std::fmt::Debug for ReadCounters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ReadCounters").finish_non_exhaustive()
    }
}
