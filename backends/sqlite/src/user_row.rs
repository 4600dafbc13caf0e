//! Rows to accounts.

use std::collections::BTreeSet;

use rusqlite::Row;
use syntrix_storage_core::backend::UserRecord;
use syntrix_storage_core::{Result, Secret, Timestamp, User, UserId, UsernameKey, Version};

use crate::error::{damaged, from_sqlite};

/// What [`record`] reads, in its order. A macro, so that statements are made by the compiler.
macro_rules! columns {
    () => {
        columns!("password_hash")
    };
    ($hash:literal) => {
        concat!(
            "id,username,username_key,key_rule_version,",
            $hash,
            ",password_algorithm,password_changed_at,roles,db_admin,disabled,disabled_at,disabled_reason,\
             profile,token_epoch,tokens_valid_after,version,created_at,updated_at,deleted_at,last_login_at,\
             last_failed_at,failed_attempts,lockout_until,lockout_count,login_window,login_sequence"
        )
    };
}
pub(crate) use columns;

/// The record in a row of `columns!`.
pub(crate) fn record(row: &Row<'_>) -> Result<UserRecord> {
    let failed = |error: rusqlite::Error| from_sqlite(&error);
    let id = UserId::parse(&row.get::<_, String>(0).map_err(failed)?).map_err(|_| damaged())?;
    let created_at = Timestamp::from_milliseconds(row.get(16).map_err(failed)?);
    let mut user = User::first(id, row.get::<_, String>(1).map_err(failed)?, created_at);
    let key = UsernameKey::from_stored(row.get::<_, String>(2).map_err(failed)?);
    let key_rule_version = row.get(3).map_err(failed)?;
    account(row, &mut user).map_err(failed)?;
    login(row, &mut user).map_err(failed)?;
    let names = |column| -> Result<BTreeSet<String>> {
        serde_json::from_str(&row.get::<_, String>(column).map_err(failed)?).map_err(|_| damaged())
    };
    (user.roles, user.db_admin) = (names(7)?, names(8)?);
    let profile: String = row.get(12).map_err(failed)?;
    user.profile = serde_json::from_str(&profile).map_err(|_| damaged())?;
    let counter = |column| row.get::<_, i64>(column).map(|number| number as u64).map_err(failed);
    let (login_window, login_sequence) = (counter(24)?, counter(25)?);
    Ok(UserRecord { user, key, key_rule_version, login_window, login_sequence })
}

fn account(row: &Row<'_>, user: &mut User) -> rusqlite::Result<()> {
    user.password_hash = row.get::<_, Option<String>>(4)?.map(Secret::new);
    user.password_algorithm = row.get(5)?;
    user.password_changed_at = timestamp(row, 6)?;
    user.disabled = row.get(9)?;
    user.disabled_at = timestamp(row, 10)?;
    user.disabled_reason = row.get(11)?;
    user.token_epoch = row.get::<_, i64>(13)? as u64;
    user.tokens_valid_after = timestamp(row, 14)?;
    user.version = Version::new(row.get(15)?);
    user.updated_at = Timestamp::from_milliseconds(row.get(17)?);
    user.deleted_at = timestamp(row, 18)?;
    Ok(())
}

fn login(row: &Row<'_>, user: &mut User) -> rusqlite::Result<()> {
    user.login.last_login_at = timestamp(row, 19)?;
    user.login.last_failed_at = timestamp(row, 20)?;
    user.login.failed_attempts = row.get(21)?;
    user.login.lockout_until = timestamp(row, 22)?;
    user.login.lockout_count = row.get(23)?;
    Ok(())
}

fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_milliseconds))
}
