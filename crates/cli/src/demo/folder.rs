//! The data directory of the demo: its own, or nobody's.

use std::fs;
use std::path::Path;

use crate::failure::Failure;

/// Says that the store beside it was made by the demo.
const MARKER: &str = "demo.marker";
const MARKER_TEXT: &str = "`syntrix-storage demo` made the store beside this file and deletes it when it runs again here.\n";
/// What the embedded store is called; its other files add something behind.
const STORE: &str = "storage.db";

/// Leaves a folder with the marker and without a store.
///
/// A folder that is neither new, nor empty, nor marked is refused and stays as it is.
pub(super) fn prepare(data_dir: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::io(format!("data directory {}", data_dir.display()))(error);
    fs::create_dir_all(data_dir).map_err(failed)?;
    let names: Vec<_> = fs::read_dir(data_dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
        .map_err(failed)?;
    if !names.is_empty() && !names.iter().any(|name| name == MARKER) {
        return Err(Failure::negative("demo", refusal(data_dir)));
    }
    // First of all, so that a demo that is killed can be started over.
    fs::write(data_dir.join(MARKER), MARKER_TEXT).map_err(failed)?;
    // Exactly what SQLite keeps, so that a copy somebody put beside it stays.
    for file in ["", "-wal", "-shm"].map(|suffix| data_dir.join(format!("{STORE}{suffix}"))) {
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn refusal(data_dir: &Path) -> String {
    format!(
        "the data directory {} is not empty and no demo made it; choose another: --data-dir DIR",
        data_dir.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("storage.db");
        fs::write(&file, "precious").expect("written");
        assert!(prepare(folder.path()).is_err());
        assert_eq!(fs::read_to_string(file).expect("there"), "precious");
    }

    #[test]
    fn a_folder_of_an_earlier_demo_is_started_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("new");
        prepare(&data_dir).expect("a new folder");
        for name in ["storage.db", "storage.db-wal", "notes.txt"] {
            fs::write(data_dir.join(name), "x").expect("written");
        }
        prepare(&data_dir).expect("an own folder");
        assert!(!data_dir.join("storage.db").exists() && !data_dir.join("storage.db-wal").exists());
        assert!(data_dir.join("notes.txt").exists());
    }
}
