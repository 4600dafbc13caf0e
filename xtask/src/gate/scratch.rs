//! Where the gate's temporary files lie: in memory where there is room.
//!
//! The gate kills processes and never the machine, and what a process has written outlives it there as on a disk. A disk that is asked
//! hundreds of times a second to keep something would be what the run waits for most.

use std::path::{Path, PathBuf};

/// Files in memory, on Linux.
const IN_MEMORY: &str = "/dev/shm";
/// What is free there before a run that needs a few of them: data of servers, and what the compiler and linkers put aside.
const FREE_BYTES_MIN: u64 = 8 << 30;

/// Has every temporary file of ours, and of the programs that we start, made in memory if there is room.
pub(super) fn choose() {
    match in_memory(Path::new(IN_MEMORY)) {
        // What somebody chose by `TMPDIR` stays.
        Some(folder) if std::env::var_os("TMPDIR").is_none() => {
            // An error says that the folder was chosen before.
            let _ = tempfile::env::override_temp_dir(&folder);
            println!("temporary files lie in memory");
        }
        _ => println!("temporary files lie in {}", tempfile::env::temp_dir().display()),
    }
}

fn in_memory(folder: &Path) -> Option<PathBuf> {
    let space = rustix::fs::statvfs(folder).ok()?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    (free >= FREE_BYTES_MIN).then(|| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_has_no_room() {
        assert_eq!(in_memory(Path::new("/no/such/folder")), None);
    }
}
