//! No credential in any output: everything that the steps of the gate print and log is kept, and searched in the end.
//!
//! Tests pass credentials of nobody, the canaries. Whoever prints one would print a real one, too.

mod output;
mod search;

// The very file of the suite, not the crate: this tool should not fail to build over a part that it is there to test.
#[allow(dead_code, reason = "tests of the stores use more of it")]
#[path = "../../crates/conformance/src/canary.rs"]
mod credentials;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::failure::{Context, Result};

pub(crate) use output::Output;

/// Where tests leave their logs; they know the name of the variable.
const LOGS_VARIABLE: &str = "SYNTRIX_STORAGE_TEST_LOGS";

/// What the gate records into. One run per process, and steps are started in many places, so it is not handed around.
static RECORDING: OnceLock<Recording> = OnceLock::new();

/// A folder for the output of every step, in the order of their start.
#[derive(Debug)]
struct Recording {
    folder: PathBuf,
    started: AtomicUsize,
}

impl Recording {
    /// Into `folder`, emptied first.
    fn into(folder: PathBuf) -> Result<Self> {
        let doing = || format!("making the folder {}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).context(doing)?;
        }
        fs::create_dir_all(folder.join("logs")).context(doing)?;
        Ok(Self { folder, started: AtomicUsize::new(0) })
    }

    /// Where tests leave their logs.
    fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Where the next step's output goes, without the ending.
    fn next(&self, program: &str) -> PathBuf {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        self.folder.join(format!("{number:02}-{program}"))
    }
}

/// Keeps the output of all steps from now on, under `target`.
///
/// # Errors
///
/// When the folder cannot be made.
pub(crate) fn record(target: &Path) -> Result<()> {
    let recording = Recording::into(target.join("gate-output"))?;
    // A second call would find the first one's folder in place.
    let _ = RECORDING.set(recording);
    Ok(())
}

/// Searches what was kept and prints what was found; whether that was nothing.
///
/// # Errors
///
/// When it cannot be read: then nobody knows.
pub(crate) fn search() -> Result<bool> {
    let Some(recording) = RECORDING.get() else { return Ok(true) };
    println!("\n==> canaries: no credential in any output");
    let found = search::search(&recording.folder)?;
    print!("{found}");
    Ok(found.hits.is_empty())
}
