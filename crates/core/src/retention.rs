//! How long tombstones and change history stay.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long a store keeps what it no longer shows. A tombstone outlives the history that tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    soft_delete: Duration,
    watch: Duration,
}

impl Retention {
    /// Tombstones stay for `soft_delete`, changes for `watch`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ConfigInvalid`] if `watch` is longer than `soft_delete`: a watcher could resume behind a purge and see a
    /// path begin at version 1 again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use syntrix_storage_core::Retention;
    ///
    /// assert!(Retention::new(Duration::from_secs(60), Duration::from_secs(61)).is_err());
    /// ```
    pub fn new(soft_delete: Duration, watch: Duration) -> Result<Self> {
        if watch > soft_delete {
            return Err(Error::new(ErrorKind::ConfigInvalid, "open")
                .with_message("watchRetention must not be longer than softDeleteRetention")
                .with_fact("key", "watchRetention"));
        }
        Ok(Self { soft_delete, watch })
    }

    /// How long tombstones stay.
    pub fn soft_delete(&self) -> Duration {
        self.soft_delete
    }

    /// How long changes stay.
    pub fn watch(&self) -> Duration {
        self.watch
    }
}

impl Default for Retention {
    /// 30 days for tombstones, 72 hours for changes.
    fn default() -> Self {
        Self { soft_delete: 30 * DAY, watch: 3 * DAY }
    }
}
