//! Indexes and rules of the table that a store relies on: verified, and made when they are missing.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use syntrix_storage_core::{Error, ErrorKind, Result};

use crate::error::from_sqlite;

/// A named part of the schema. SQLite keeps the statement word by word, so the text tells all there is to compare.
///
/// Also a step of a released migration: never change a released text. A new rule needs a new name and a new step.
#[derive(Debug)]
pub(crate) struct Part {
    name: &'static str,
    pub(crate) statement: &'static str,
}

/// Keeps names unique; the name of a deleted account is free.
pub(crate) const USERNAME_KEY: Part = Part {
    name: "users_username_key",
    statement: "CREATE UNIQUE INDEX users_username_key ON users (username_key) WHERE deleted_at IS NULL",
};
/// Finds the records whose time is over.
pub(crate) const KEEP_UNTIL: Part = Part {
    name: "revocations_keep_until",
    statement: "CREATE INDEX revocations_keep_until ON revocations (keep_until)",
};
/// Whoever writes around this crate cannot take a revocation back by an update.
pub(crate) const NEVER_LOOSEN: Part = Part {
    name: "revocations_never_loosen",
    statement: "CREATE TRIGGER revocations_never_loosen BEFORE UPDATE ON revocations \
        WHEN NEW.token <> OLD.token OR NEW.revoked_at > OLD.revoked_at OR NEW.immediate < OLD.immediate \
        OR NEW.expires_at < OLD.expires_at OR NEW.keep_until < OLD.keep_until \
        BEGIN SELECT RAISE(ABORT, 'a revocation never loosens'); END",
};

const STORED: &str = "SELECT sql FROM sqlite_master WHERE name = ?1";
const REPEATED: &str = "SELECT count(*) FROM \
    (SELECT 1 FROM users WHERE deleted_at IS NULL GROUP BY username_key HAVING count(*) > 1)";

/// Verifies what accounts rely on.
pub(crate) fn ensure_users(connection: &mut Connection) -> Result<()> {
    ensure(connection, &[USERNAME_KEY], refuse_repeated_names)
}

/// Verifies what revoked tokens rely on.
pub(crate) fn ensure_revocations(connection: &mut Connection) -> Result<()> {
    ensure(connection, &[KEEP_UNTIL, NEVER_LOOSEN], |_| Ok(()))
}

/// Makes what is missing, if `check` has nothing against it; all or nothing.
fn ensure(
    connection: &mut Connection,
    parts: &[Part],
    check: impl FnOnce(&Connection) -> Result<()>,
) -> Result<()> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    // What is whole needs no lock.
    if missing(connection, parts)?.is_empty() {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    check(&transaction)?;
    // Another process may have made some of it meanwhile.
    for part in missing(&transaction, parts)? {
        transaction.execute_batch(part.statement).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

fn missing<'parts>(connection: &Connection, parts: &'parts [Part]) -> Result<Vec<&'parts Part>> {
    let mut missing = Vec::new();
    for part in parts {
        let stored = connection.query_row(STORED, [part.name], |row| row.get::<_, String>(0));
        match stored.optional().map_err(|error| from_sqlite(&error))? {
            Some(statement) if statement == part.statement => {}
            Some(_) => return Err(wrong(part)),
            None => missing.push(part),
        }
    }
    Ok(missing)
}

fn refuse_repeated_names(connection: &Connection) -> Result<()> {
    let repeated: i64 = connection
        .query_row(REPEATED, [], |row| row.get(0))
        .map_err(|error| from_sqlite(&error))?;
    if repeated == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, "")
        .with_message("names belong to several accounts; rename or remove them, then try again")
        .with_fact("names", repeated))
}

fn wrong(part: &Part) -> Error {
    let message =
        "an index or trigger of this name is not what it should be; drop it, then try again";
    Error::new(ErrorKind::Internal, "")
        .with_message(message)
        .with_fact("name", part.name)
        .with_fact("statement", part.statement)
}
