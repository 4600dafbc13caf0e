//! From a configured path to open connections: where the file is, who may read it, whose it is.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use syntrix_storage_core::backend::OpenContext;
use syntrix_storage_core::{Error, ErrorKind, Result};

use crate::error::from_sqlite;
use crate::probe;
use crate::schema::Identity;
use crate::settings::{Settings, Synchronous};

const MMAP_BYTES: i64 = 256 << 20;
const CACHE_KIBIBYTES: i64 = 16 << 10;
/// What is left of the write-ahead log after a burst.
const JOURNAL_BYTES_MAX: i64 = 64 << 20;
/// Every shape of query is one statement; more shapes than this are prepared again.
const STATEMENTS_CACHED: usize = 128;
const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// The configured file, or the one of the namespace beside it.
pub(crate) fn file_path(path: &Path, context: &OpenContext) -> PathBuf {
    let file = context.data_dir.join(path);
    let Some(namespace) = &context.namespace else { return file };
    let mut name = file.file_stem().map(OsString::from).unwrap_or_default();
    name.push(format!(".ns-{namespace}.db"));
    file.with_file_name(name)
}

/// The file and what SQLite keeps beside it.
pub(crate) fn file_and_companions(file: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// Makes sure that the folder and the file exist, are private and are no links; returns the absolute path.
///
/// SQLite gives its companion files the mode of the database file, so an owner-only file made beforehand keeps all three private.
pub(crate) fn prepare_file(file: &Path) -> Result<PathBuf> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    create_folder(folder).map_err(|error| unusable("the database folder", &error))?;
    let folder = folder.canonicalize().map_err(|error| unusable("the database folder", &error))?;
    let file = folder.join(file.file_name().unwrap_or_default());
    match create_file(&file) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_file(&file)?,
        Err(error) => return Err(unusable("the database file", &error)),
    }
    Ok(file)
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

fn create_file(file: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.read(true).write(true).create_new(true).open(file).and_then(probe::keep)
}

fn check_file(file: &Path) -> Result<()> {
    let metadata =
        fs::symlink_metadata(file).map_err(|error| unusable("the database file", &error))?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::ConfigInvalid, "open")
            .with_message("path must name a plain file: no link, no folder, no device"));
    }
    if metadata.len() > 0 && !has_header(file).map_err(|error| unusable("the file", &error))? {
        return Err(from_sqlite(&failure(rusqlite::ffi::SQLITE_NOTADB)));
    }
    Ok(())
}

/// Looked at before SQLite is, which takes some damaged files for empty ones.
fn has_header(file: &Path) -> io::Result<bool> {
    let mut header = [0; HEADER.len()];
    match probe::read_start(file, &mut header) {
        Ok(()) => Ok(&header == HEADER),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses a file that others can read: it holds everything the application stores.
#[cfg(unix)]
fn check_mode(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(file).map_err(|error| unusable("the database file", &error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::ConfigInvalid, "open")
        .with_message("other users can reach the database file; run chmod 600 on it")
        .with_fact("mode", format!("{mode:o}")))
}

#[cfg(not(unix))]
fn check_mode(_file: &Path) -> Result<()> {
    Ok(())
}

/// Refuses a foreign, newer, damaged or readable-by-all file, and leaves it as it is.
pub(crate) fn check_identity(file: &Path, settings: &Settings) -> Result<()> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let connection = open_plain(file, settings.busy_timeout()).map_err(failed)?;
    // The last one to close a file folds its log into it; a file that is not ours is not ours to fold.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .and_then(|_| connection.pragma_update(None, "query_only", true))
        .map_err(failed)?;
    Identity::read(&connection).map_err(failed)?.check()?;
    if connection.is_readonly("main").map_err(failed)? {
        return Err(from_sqlite(&failure(rusqlite::ffi::SQLITE_READONLY)));
    }
    check_mode(file)
}

/// The connection that writes; switches the file to a write-ahead log.
pub(crate) fn open_writer(file: &Path, settings: &Settings) -> rusqlite::Result<Connection> {
    let connection = open_configured(file, settings)?;
    switch_to_wal(&connection, settings.busy_timeout())?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES_MAX)?;
    let synchronous = match settings.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    Ok(connection)
}

/// A connection that cannot write.
pub(crate) fn open_reader(file: &Path, settings: &Settings) -> rusqlite::Result<Connection> {
    let connection = open_configured(file, settings)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn open_plain(file: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    Ok(connection)
}

fn open_configured(file: &Path, settings: &Settings) -> rusqlite::Result<Connection> {
    let connection = open_plain(file, settings.busy_timeout())?;
    // Plans depend on the statement alone, never on the values bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "mmap_size", MMAP_BYTES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIBIBYTES)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Two processes that open a new file at once collide here without SQLite waiting for us.
fn switch_to_wal(connection: &Connection, busy_timeout: Duration) -> rusqlite::Result<()> {
    let start = Instant::now();
    loop {
        let mode = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => return Err(failure(rusqlite::ffi::SQLITE_CANTOPEN)),
            Err(error) if is_busy(&error) && start.elapsed() < busy_timeout => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn failure(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}

fn unusable(what: &'static str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "open")
        .with_retry(syntrix_storage_core::Retry::Never)
        .with_message("the database folder or file cannot be used")
        .with_fact("what", what)
        .with_fact("reason", error.kind())
}
