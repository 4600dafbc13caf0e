//! Where the gate's temporary files lie: in memory where there is room.
//!
//! The gate kills processes and never the machine, and what a process has written outlives it there as on a disk. A disk that is asked
//! hundreds of times a second to keep something would be what the run waits for most. The soak's files lie elsewhere, see there.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::failure::Result;
use crate::servers::on_signal;

/// Files in memory, on Linux.
const IN_MEMORY: &str = "/dev/shm";
/// Almost three times the most that a run on two processors held there: data of servers, and what linkers put aside.
#[cfg(target_os = "linux")]
const ROOM_BYTES_MIN: u64 = 6 << 30;

/// The folder of one run, if it is in memory; gone with this, and on Ctrl-C.
#[derive(Debug)]
pub(super) struct Temporary(#[expect(dead_code, reason = "held for its end")] Option<TempDir>);

impl Temporary {
    /// Has temporary files of ours made in memory, if there is room and nobody chose another place by `TMPDIR`.
    ///
    /// # Errors
    ///
    /// When nobody can wait for signals.
    pub(super) fn new() -> Result<Self> {
        let folder = chosen(std::env::var_os("TMPDIR"), Path::new(IN_MEMORY));
        if let Some(folder) = &folder {
            let path = folder.path().to_owned();
            // An error says that a place was chosen before.
            let _ = tempfile::env::override_temp_dir(&path);
            on_signal(move || _ = std::fs::remove_dir_all(path))?;
        }
        println!("temporary files lie in {}", tempfile::env::temp_dir().display());
        Ok(Self(folder))
    }

    /// Tells a program where ours lie. Setting a variable of our own process would be `unsafe`.
    pub(super) fn variable() -> (&'static str, OsString) {
        ("TMPDIR", tempfile::env::temp_dir().into())
    }
}

/// A folder in `memory`, unless somebody `named` another place or it is of no use.
fn chosen(named: Option<OsString>, memory: &Path) -> Option<TempDir> {
    if named.is_some() || !is_fit(memory) {
        return None;
    }
    let folder = tempfile::Builder::new().prefix("syntrix-gate-").tempdir_in(memory).ok()?;
    // A server that runs as another user has its data below.
    std::fs::set_permissions(&folder, Permissions::from_mode(0o711)).ok()?;
    Some(folder)
}

/// Whether there is room, of the folder and of the machine, and programs may be run from there, as doc tests are: containers mostly
/// forbid that.
#[cfg(target_os = "linux")]
fn is_fit(folder: &Path) -> bool {
    use rustix::fs::{StatVfsMountFlags, statvfs};

    let (Ok(file_system), Some(memory)) = (statvfs(folder), memory_available_bytes()) else {
        return false;
    };
    let room = file_system.f_bavail.saturating_mul(file_system.f_frsize);
    !file_system.f_flag.contains(StatVfsMountFlags::NOEXEC) && room.min(memory) >= ROOM_BYTES_MIN
}

#[cfg(not(target_os = "linux"))]
fn is_fit(_folder: &Path) -> bool {
    false
}

/// What `/proc/meminfo` says can be had without swapping (proc(5)).
#[cfg(target_os = "linux")]
fn memory_available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_a_place_has_it_and_one_that_is_not_there_is_not_chosen() {
        assert!(chosen(Some("/var/tmp".into()), Path::new(IN_MEMORY)).is_none());
        assert!(chosen(None, Path::new("/no/such/folder")).is_none());
        assert!(!is_fit(Path::new("/proc")), "nothing can be kept there");
    }

    #[test]
    fn a_folder_in_memory_can_be_passed_by_other_users_and_is_gone_in_the_end() {
        // A machine without room has no such folder.
        let Some(folder) = chosen(None, Path::new(IN_MEMORY)) else { return };
        let path = folder.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o711);
        drop(folder);
        assert!(!path.exists());
    }
}
