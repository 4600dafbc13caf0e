//! The journal: what the store acknowledged, written down by the process that was told.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use crate::failure::{Context, Failure, Result};

/// One acknowledged write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Which document.
    pub(super) path: String,
    /// The version the store said this write made.
    pub(super) version: i64,
    /// What it left behind.
    pub(super) left: Fingerprint,
}

/// The writing side, shared by the writer's tasks.
#[derive(Debug)]
pub(super) struct Journal(Mutex<File>);

impl Journal {
    /// Starts a journal; each writer has its own.
    pub(super) fn create(file: &Path) -> Result<Self> {
        let opened = OpenOptions::new().create_new(true).append(true).open(file);
        opened.map(|file| Self(Mutex::new(file))).context(|| "making the journal".into())
    }

    /// Writes `entry` to the disk. After this the parent will ask for it.
    pub(super) fn append(&self, entry: &Entry) -> Result<()> {
        let doing = || "writing the journal".to_owned();
        let line = serde_json::to_string(entry).context(doing)? + "\n";
        let mut file = self.0.lock().map_err(|_| Failure::new("a task died over the journal"))?;
        file.write_all(line.as_bytes()).context(doing)?;
        file.sync_data().context(doing)
    }
}

/// The entries of a journal whose writer was killed; none if it died before it made one.
///
/// # Errors
///
/// When a line other than a torn last one cannot be read.
pub(super) fn read(file: &Path) -> Result<Vec<Entry>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(file).context(|| "reading the journal".into())?;
    // A line without its end was being written when the process died: it was not told to anybody.
    let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    complete
        .map(|line| serde_json::from_str(line).context(|| "reading the journal".into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: i64) -> Entry {
        Entry { path: "soak/a".into(), version, left: Fingerprint::Deleted }
    }

    #[test]
    fn what_was_appended_is_read_back_without_a_torn_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("journal");
        let journal = Journal::create(&file).unwrap();
        journal.append(&entry(1)).unwrap();
        journal.append(&entry(2)).unwrap();
        fs::write(&file, fs::read_to_string(&file).unwrap() + "{\"path\":\"so").unwrap();
        assert_eq!(read(&file).unwrap(), [entry(1), entry(2)]);
    }

    #[test]
    fn a_journal_that_was_never_made_is_empty_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("none")).unwrap(), []);
        let file = folder.path().join("damaged");
        fs::write(&file, "{}\n").unwrap();
        assert!(read(&file).is_err());
    }
}
