//! How far the replication of a database itself is, for replicas that are held against it.

/// A place in the history of a database that its own replicas pass too. Only who made it, and replicas of that, can read it.
///
/// # Examples
///
/// ```
/// use syntrix_storage_core::backend::Watermark;
///
/// let before = Watermark { cluster: 7, timeline: 1, reached: 900 };
/// let behind_a_failover = Watermark { timeline: 2, reached: 800, ..before };
/// assert!(behind_a_failover > before);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark {
    /// Which database: the same on all its replicas, and on no other one.
    pub cluster: u64,
    /// Counts how often the history forked, where that is counted. Places of an older one say nothing of a newer one.
    pub timeline: u32,
    /// How far within it.
    pub reached: u64,
}
