//! Whether this build of SQLite reads numbers and keys exactly; some releases do not.

use std::sync::OnceLock;

use rusqlite::Connection;
use syntrix_storage_core::{Error, ErrorKind, Result};

/// Keys that a lookup by JSON path has missed in one release or another.
const KEYS: [&str; 8] = ["", "q\"r", "b\\s", "l\n", "a.b", "[0]", "o'k", "\u{1f600}\u{7f}"];

/// Runs once per process: the library is the same for every file.
pub(crate) fn run() -> Result<()> {
    static PASSED: OnceLock<bool> = OnceLock::new();
    if *PASSED.get_or_init(|| check().unwrap_or(false)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, "open")
        .with_message(
            "this build of SQLite reads JSON numbers or keys wrongly; use the bundled library",
        )
        .with_fact("sqlite", rusqlite::version()))
}

fn check() -> rusqlite::Result<bool> {
    let connection = Connection::open_in_memory()?;
    Ok(reads_doubles(&connection)? && finds_keys(&connection)?)
}

fn reads_doubles(connection: &Connection) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare("SELECT json_extract(?1, '$.\"n\"')")?;
    for exponent in -300..=300 {
        let number: f64 = format!("1.2345678901234567e{exponent}").parse().unwrap_or(f64::NAN);
        let text = serde_json::json!({ "n": number }).to_string();
        // An integral double comes back as one that is not, or the other way round: compare the value.
        let read: f64 = statement.query_row([text], |row| row.get(0))?;
        if read.to_bits() != number.to_bits() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn finds_keys(connection: &Connection) -> rusqlite::Result<bool> {
    let members = KEYS.iter().zip(1i64..).map(|(key, value)| ((*key).to_owned(), value.into()));
    let text = serde_json::Value::Object(members.collect()).to_string();
    for (key, value) in KEYS.iter().zip(1i64..) {
        let path = format!("$.{}", crate::expression::json_string(key));
        let found: Option<i64> =
            connection.query_row("SELECT json_extract(?1, ?2)", (&text, path), |row| row.get(0))?;
        if found != Some(value) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bundled_library_passes() {
        assert!(super::check().expect("self-test runs"));
    }
}
