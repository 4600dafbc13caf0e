//! Everything that is logged while a test runs, kept where the gate searches it for credentials.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, Once};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// The folder to write to; without it nothing is kept.
const FOLDER_VARIABLE: &str = "SYNTRIX_STORAGE_TEST_LOGS";

/// Writes all spans and events of this process into a file of its own. Called again it does nothing.
pub(crate) fn keep() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
            let file = PathBuf::from(folder).join(format!("test-{}.log", std::process::id()));
            start(File::create(file).expect("a log file"));
        }
    });
}

fn start(file: File) {
    let started = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("syntrix_storage=trace"))
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init();
    started.expect("no other log");
}
