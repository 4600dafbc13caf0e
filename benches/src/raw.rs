//! SQLite without the layer: same file, same pragmas, statements prepared once.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::Failure;

pub const GET: &str =
    "SELECT fullpath, version, created_at, updated_at, deleted, data FROM documents WHERE id = ?1";

pub fn open(folder: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join("storage.db"), flags)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "mmap_size", 256 << 20)?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    connection.pragma_update(None, "secure_delete", true)?;
    // Without it a statement over an expression is planned again for each new parameter: three times the cost.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
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
