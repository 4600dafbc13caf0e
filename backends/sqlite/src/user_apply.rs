//! Writes of accounts: what each does to its row.

use std::collections::BTreeSet;

use rusqlite::{Connection, ErrorCode, params};
use syntrix_storage_core::backend::{LoginState, UserApplied, UserRecord, UserWrite};
use syntrix_storage_core::{Secret, Timestamp, User, UserId, Version};

use crate::group::{Change, Group, Outcome};
use crate::user_row::columns;

/// The number of a write: one more than any account has.
macro_rules! next_number {
    () => {
        "(SELECT coalesce(max(change_seq), 0) + 1 FROM users)"
    };
}
/// Everything of an account but its logins, from ?2 to ?19.
macro_rules! account {
    () => {
        "username=?2,username_key=?3,key_rule_version=?4,password_hash=?5,\
         password_algorithm=?6,password_changed_at=?7,roles=?8,db_admin=?9,disabled=?10,disabled_at=?11,\
         disabled_reason=?12,profile=?13,token_epoch=?14,tokens_valid_after=?15,version=?16,created_at=?17,\
         updated_at=?18,deleted_at=?19"
    };
}
const INSERT: &str = concat!(
    "INSERT INTO users (",
    columns!(),
    ",change_seq) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,\
     ?24,?25,?26,",
    next_number!(),
    ")"
);
const REPLACE: &str = concat!(
    "UPDATE users SET ",
    account!(),
    ",change_seq=",
    next_number!(),
    " WHERE id=?1 AND version=?20"
);
const SET_LOGIN: &str = concat!(
    "UPDATE users SET last_login_at=?2,last_failed_at=?3,failed_attempts=?4,\
    lockout_until=?5,lockout_count=?6,login_window=?7,login_sequence=?8,change_seq=",
    next_number!(),
    " WHERE id=?1 AND login_sequence=?9"
);
const SWAP: &str = concat!(
    "UPDATE users SET ",
    account!(),
    ",last_login_at=?20,last_failed_at=?21,failed_attempts=?22,lockout_until=?23,\
    lockout_count=?24,login_window=?25,login_sequence=?26,change_seq=",
    next_number!(),
    " WHERE id=?1 AND version=?27 AND login_sequence=?28"
);
const ID_IS_KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1)";

/// The values of ?1 to ?19 in [`INSERT`] and [`REPLACE`], in the order of [`columns!`], then those of the statement itself.
macro_rules! account_values {
    ($record:ident, $($own:expr),+) => {
        params![
            $record.user.id.as_str(),
            $record.user.username,
            $record.key.as_str(),
            $record.key_rule_version,
            $record.user.password_hash.as_ref().map(Secret::expose),
            $record.user.password_algorithm,
            milliseconds($record.user.password_changed_at),
            names_to_json(&$record.user.roles),
            names_to_json(&$record.user.db_admin),
            $record.user.disabled,
            milliseconds($record.user.disabled_at),
            $record.user.disabled_reason,
            profile_to_json(&$record.user),
            $record.user.token_epoch as i64,
            milliseconds($record.user.tokens_valid_after),
            $record.user.version.get(),
            $record.user.created_at.as_milliseconds(),
            $record.user.updated_at.as_milliseconds(),
            milliseconds($record.user.deleted_at),
            $($own),+
        ]
    };
}

impl Change for UserWrite {
    type Answer = UserApplied;

    fn apply(&self, group: &mut Group<'_>) -> Outcome<UserApplied> {
        let connection = group.connection();
        let applied = match self {
            Self::Insert(record) => insert(connection, record),
            Self::Replace { expected, record } => replace(connection, *expected, record),
            Self::Login { id, expected, state } => set_login(connection, id, *expected, state),
            Self::Swap { expected, record } => swap(connection, *expected, record),
        }?;
        if applied == UserApplied::Yes {
            group.account_written();
        }
        Ok(Ok(applied))
    }
}

fn insert(connection: &Connection, record: &UserRecord) -> rusqlite::Result<UserApplied> {
    let login = &record.user.login;
    let known = connection
        .prepare_cached(ID_IS_KNOWN)?
        .query_row([record.user.id.as_str()], |row| row.get::<_, bool>(0))?;
    if known {
        return Ok(UserApplied::IdTaken);
    }
    let inserted = connection.prepare_cached(INSERT)?.execute(account_values!(
        record,
        milliseconds(login.last_login_at),
        milliseconds(login.last_failed_at),
        login.failed_attempts,
        milliseconds(login.lockout_until),
        login.lockout_count,
        record.login_window as i64,
        record.login_sequence as i64
    ));
    name_taken_or(inserted, |_| UserApplied::Yes)
}

fn replace(
    connection: &Connection,
    expected: Version,
    record: &UserRecord,
) -> rusqlite::Result<UserApplied> {
    let replaced =
        connection.prepare_cached(REPLACE)?.execute(account_values!(record, expected.get()));
    name_taken_or(replaced, changed_or_stale)
}

/// All columns in one statement: a name that is taken leaves the login part alone, too.
fn swap(
    connection: &Connection,
    expected: (Version, u64),
    record: &UserRecord,
) -> rusqlite::Result<UserApplied> {
    let login = &record.user.login;
    let swapped = connection.prepare_cached(SWAP)?.execute(account_values!(
        record,
        milliseconds(login.last_login_at),
        milliseconds(login.last_failed_at),
        login.failed_attempts,
        milliseconds(login.lockout_until),
        login.lockout_count,
        record.login_window as i64,
        record.login_sequence as i64,
        expected.0.get(),
        expected.1 as i64
    ));
    name_taken_or(swapped, changed_or_stale)
}

fn set_login(
    connection: &Connection,
    id: &UserId,
    expected: u64,
    state: &LoginState,
) -> rusqlite::Result<UserApplied> {
    let stats = &state.stats;
    let changed = connection.prepare_cached(SET_LOGIN)?.execute(params![
        id.as_str(),
        milliseconds(stats.last_login_at),
        milliseconds(stats.last_failed_at),
        stats.failed_attempts,
        milliseconds(stats.lockout_until),
        stats.lockout_count,
        state.window as i64,
        state.sequence as i64,
        expected as i64,
    ])?;
    Ok(changed_or_stale(changed))
}

fn changed_or_stale(rows: usize) -> UserApplied {
    if rows == 1 { UserApplied::Yes } else { UserApplied::Stale }
}

/// The id was looked at before, so the one constraint that is left is the name's.
fn name_taken_or(
    written: rusqlite::Result<usize>,
    otherwise: impl FnOnce(usize) -> UserApplied,
) -> rusqlite::Result<UserApplied> {
    match written {
        Ok(rows) => Ok(otherwise(rows)),
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.code == ErrorCode::ConstraintViolation
                && failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE =>
        {
            Ok(UserApplied::NameTaken)
        }
        Err(error) => Err(error),
    }
}

fn milliseconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_milliseconds)
}

fn names_to_json(names: &BTreeSet<String>) -> String {
    serde_json::Value::from_iter(names.iter().map(String::as_str)).to_string()
}

fn profile_to_json(user: &User) -> String {
    serde_json::Value::Object(user.profile.clone()).to_string()
}
