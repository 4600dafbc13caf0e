//! Looks at a database file without SQLite, and without taking SQLite's locks away.
//!
//! On POSIX, closing any descriptor of a file drops every lock that the process holds on it, also those of connections that
//! are open ("How To Corrupt An SQLite Database File", section 2.2, sqlite.org). So a descriptor that was opened once
//! stays open for as long as the file exists.

use std::fs::File;
use std::io;
use std::path::Path;

/// Reads the first bytes of the file.
#[cfg(unix)]
pub(crate) fn read_start(path: &Path, buffer: &mut [u8]) -> io::Result<()> {
    kept::read_start(path, buffer)
}

/// Keeps the descriptor of a file that was just made.
#[cfg(unix)]
pub(crate) fn keep(file: File) -> io::Result<()> {
    kept::keep(file)
}

#[cfg(not(unix))]
pub(crate) fn read_start(path: &Path, buffer: &mut [u8]) -> io::Result<()> {
    io::Read::read_exact(&mut File::open(path)?, buffer)
}

#[cfg(not(unix))]
pub(crate) fn keep(_file: File) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
mod kept {
    use std::collections::HashMap;
    use std::fs::{self, File};
    use std::io;
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::path::Path;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// Device and inode.
    type Identity = (u64, u64);

    static KEPT: Mutex<Option<HashMap<Identity, File>>> = Mutex::new(None);

    pub(super) fn read_start(path: &Path, buffer: &mut [u8]) -> io::Result<()> {
        let mut kept = lock();
        let kept = kept.get_or_insert_default();
        let identity = identity(&fs::metadata(path)?);
        if let Some(file) = kept.get(&identity) {
            return file.read_exact_at(buffer, 0);
        }
        let file = File::open(path)?;
        let read = file.read_exact_at(buffer, 0);
        insert(kept, file)?;
        read
    }

    pub(super) fn keep(file: File) -> io::Result<()> {
        insert(lock().get_or_insert_default(), file)
    }

    fn insert(kept: &mut HashMap<Identity, File>, file: File) -> io::Result<()> {
        // A file without a name cannot be opened again, so nobody misses its locks.
        kept.retain(|_, file| file.metadata().is_ok_and(|metadata| metadata.nlink() > 0));
        let identity = identity(&file.metadata()?);
        // Of two descriptors of one file neither may be closed.
        if let Some(earlier) = kept.insert(identity, file) {
            std::mem::forget(earlier);
        }
        Ok(())
    }

    fn identity(metadata: &fs::Metadata) -> Identity {
        (metadata.dev(), metadata.ino())
    }

    fn lock() -> MutexGuard<'static, Option<HashMap<Identity, File>>> {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
