//! What one `sqlite` block may say.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use syntrix_storage_core::{Error, ErrorKind, HumanDuration, Result, Retention, SettingsNode};

/// Most connections that read at once, as a block may set it.
const READERS_LIMIT: u32 = 64;

/// Settings of one `sqlite` block. Unknown keys are rejected.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The database file: absolute, or inside the data directory. Default: `storage.db`.
    pub(crate) path: PathBuf,
    /// How long tombstones stay. Default: `30d`.
    pub(crate) soft_delete_retention: HumanDuration,
    /// How long the change history stays; at most `softDeleteRetention`. Default: `72h`.
    pub(crate) watch_retention: HumanDuration,
    /// When a commit counts as done. Default: `full`.
    pub(crate) synchronous: Synchronous,
    /// Whether short reads run on the calling task instead of a blocking thread. Turn it off where the file lies on slow
    /// storage. Default: true.
    pub(crate) inline_reads: bool,
    /// Connections that read, 1 to 64. Default: 4.
    #[schemars(range(min = 1, max = 64))]
    pub(crate) readers_max: u32,
    /// Longest wait for another process that writes. Default: `5s`.
    pub(crate) busy_timeout: HumanDuration,
}

/// When a commit counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Synchronous {
    /// When it is on the disk: survives a power cut.
    Full,
    /// When it is with the operating system: survives a crash of the process; a power cut may undo the last commits, and
    /// resume tokens of undone ones then expire as `diverged`.
    Normal,
}

impl Synchronous {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Normal => "normal",
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let retention = Retention::default();
        Self {
            path: PathBuf::from("storage.db"),
            soft_delete_retention: HumanDuration(retention.soft_delete()),
            watch_retention: HumanDuration(retention.watch()),
            synchronous: Synchronous::Full,
            inline_reads: true,
            readers_max: 4,
            busy_timeout: HumanDuration(Duration::from_secs(5)),
        }
    }
}

impl Settings {
    /// Reads and checks a block.
    pub(crate) fn parse(block: &SettingsNode) -> Result<Self> {
        let settings: Self = block.decode()?;
        check_path(&settings.path)?;
        settings.retention()?;
        if !(1..=READERS_LIMIT).contains(&settings.readers_max) {
            return Err(invalid("readersMax", "readersMax is 1 to 64"));
        }
        if settings.busy_timeout().as_millis() > i32::MAX as u128 {
            return Err(invalid("busyTimeout", "busyTimeout is at most 24 days"));
        }
        Ok(settings)
    }

    pub(crate) fn retention(&self) -> Result<Retention> {
        Retention::new(self.soft_delete_retention.0, self.watch_retention.0)
    }

    pub(crate) fn busy_timeout(&self) -> Duration {
        self.busy_timeout.0
    }
}

/// Source of the rules: paths come from configuration, so they must not lead out of the data directory unseen, and SQLite
/// itself reads `file:` names as URIs with options.
fn check_path(path: &Path) -> Result<()> {
    let text = path.to_string_lossy();
    if text.is_empty() || text.ends_with(['/', '\\']) || path.file_name().is_none() {
        return Err(invalid("path", "path names a database file"));
    }
    if text.starts_with("file:") || text.starts_with(':') || text.contains('\0') {
        return Err(invalid("path", "path is a plain file name, no URI and no special name"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(invalid("path", "path must not contain '..'; write it absolute instead"));
    }
    Ok(())
}

fn invalid(key: &'static str, message: &'static str) -> Error {
    Error::new(ErrorKind::ConfigInvalid, "open").with_message(message).with_fact("key", key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_unseen_are_refused() {
        for path in ["", "../a.db", "a/../b.db", "file:a.db", "file:///a.db", ":memory:", "a/"] {
            let error = check_path(Path::new(path)).expect_err(path);
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{path}");
        }
        for path in ["storage.db", "sub/storage.db", "/var/lib/app/storage.db", "a..b.db"] {
            check_path(Path::new(path)).expect(path);
        }
    }
}
