//! SQLite without the layer: same file, same settings as the backend's connections, statements prepared once.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use crate::Failure;

pub const GET: &str =
    "SELECT fullpath, version, created_at, updated_at, deleted, data FROM documents WHERE id = ?1";

/// A connection with the settings of the backend's readers, one for one.
pub fn open_reader(folder: &Path) -> Result<Connection, Failure> {
    let connection = open(folder)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// A connection with the settings of the backend's writer, one for one. The file is in WAL mode already.
pub fn open_writer(folder: &Path) -> Result<Connection, Failure> {
    let connection = open(folder)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// A view that stays open: the reads of the process's other connections then need nothing of the kernel.
pub fn hold_view(folder: &Path) -> Result<Connection, Failure> {
    let connection = open_reader(folder)?;
    connection.execute_batch("BEGIN; SELECT 1 FROM metadata")?;
    Ok(connection)
}

fn open(folder: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let file = folder.canonicalize()?.join("storage.db");
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    // Without it a statement over an expression is planned again for each new parameter: three times the cost.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "mmap_size", 256 << 20)?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// A row as a careful user of the bare driver would read it.
#[expect(dead_code, reason = "the fields are read from the database, not from here")]
pub struct Row {
    pub fullpath: String,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub deleted: bool,
    pub data: String,
}

pub fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        fullpath: row.get(0)?,
        version: row.get(1)?,
        created_at: row.get(2)?,
        updated_at: row.get(3)?,
        deleted: row.get(4)?,
        data: row.get(5)?,
    })
}
