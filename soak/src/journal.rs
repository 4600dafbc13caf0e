//! The journal: what a process was told, written down before it counts.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure, Result};
use crate::fingerprint::Fingerprint;

/// One line of a writer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", rename_all_fields = "snake_case")]
pub(crate) enum Line {
    /// A write is about to be sent.
    Begun { mark: String, path: String, delete: bool, at: u64 },
    /// It was acknowledged.
    Told { mark: String, path: String, version: i64, left: Fingerprint, at: u64 },
    /// Nobody knows: it may have been applied.
    Unsure { mark: String, error: String },
    /// The store says that it was not applied.
    Refused { mark: String },
    /// A token is about to be revoked.
    Revoking { token: String, at: u64 },
    /// It was acknowledged.
    Revoked { token: String, at: u64 },
    /// A token whose revocation was acknowledged was answered to be valid.
    Forgotten { token: String, at: u64 },
    /// The store says that it has lost what it had acknowledged.
    StateLost { at: u64 },
}

/// One line of a watcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", rename_all_fields = "snake_case")]
pub(crate) enum Sight {
    /// A change, and where to go on behind it.
    Change { path: String, version: i64, left: Fingerprint, mark: Option<String>, token: String },
    /// A sign of life.
    Place { token: String },
    /// The stream ended and was opened again.
    Reopened { error: String },
}

impl Sight {
    /// Where to go on behind it.
    pub(crate) fn token(&self) -> Option<&str> {
        match self {
            Self::Change { token, .. } | Self::Place { token } => Some(token),
            Self::Reopened { .. } => None,
        }
    }
}

/// The writing side, shared by a process's tasks.
#[derive(Debug)]
pub(crate) struct Journal(Mutex<File>);

impl Journal {
    /// Goes on with a journal or starts it. A line that a killed process left half written is cut off: it was told to nobody.
    pub(crate) fn open(file: &Path) -> Result<Self> {
        let doing = || format!("opening the journal {}", file.display());
        let opened = OpenOptions::new().create(true).append(true).read(true).open(file);
        let opened = opened.context(doing)?;
        let text = fs::read(file).context(doing)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        opened.set_len(whole as u64).context(doing)?;
        Ok(Self(Mutex::new(opened)))
    }

    /// Writes a line; it survives this process.
    pub(crate) fn note(&self, line: &impl Serialize) -> Result<()> {
        let doing = || "writing the journal".to_owned();
        let line = serde_json::to_string(line).context(doing)? + "\n";
        let mut file = self.0.lock().map_err(|_| Failure::new("a task died over the journal"))?;
        file.write_all(line.as_bytes()).context(doing)
    }

    /// As [`Journal::note`], on the disk when it returns.
    pub(crate) fn record(&self, line: &impl Serialize) -> Result<()> {
        self.note(line)?;
        let file = self.0.lock().map_err(|_| Failure::new("a task died over the journal"))?;
        // A handle of its own: others need not wait for the disk to write their lines.
        let handle = file.try_clone().context(|| "writing the journal".into())?;
        drop(file);
        handle.sync_data().context(|| "writing the journal".into())
    }
}

/// The lines of a journal whose process may have been killed; none if it died before it made one.
///
/// # Errors
///
/// When a line other than a torn last one cannot be read.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Result<Vec<T>> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let doing = || format!("reading the journal {}", file.display());
    let text = fs::read_to_string(file).context(doing)?;
    // A line without its end was being written when the process died: it was not told to anybody.
    let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    complete.map(|line| serde_json::from_str(line).context(doing)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(mark: &str) -> Line {
        Line::Refused { mark: mark.into() }
    }

    #[test]
    fn what_was_written_is_read_back_without_a_torn_end_and_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("journal");
        let journal = Journal::open(&file).unwrap();
        journal.note(&line("a")).unwrap();
        journal.record(&line("b")).unwrap();
        fs::write(&file, fs::read_to_string(&file).unwrap() + "{\"refu").unwrap();
        assert_eq!(read::<Line>(&file).unwrap(), [line("a"), line("b")]);
        Journal::open(&file).unwrap().note(&line("c")).unwrap();
        assert_eq!(read::<Line>(&file).unwrap(), [line("a"), line("b"), line("c")]);
    }

    #[test]
    fn a_journal_that_was_never_made_is_empty_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read::<Line>(&folder.path().join("none")).unwrap(), []);
        let file = folder.path().join("damaged");
        fs::write(&file, "{}\n").unwrap();
        assert!(read::<Line>(&file).is_err());
    }
}
