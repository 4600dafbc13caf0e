//! An account in the form of its columns, and back.

use std::collections::BTreeSet;

use syntrix_storage_core::backend::{LoginState, UserRecord};
use syntrix_storage_core::{Result, Secret, Timestamp, User, UserId, UsernameKey, Version};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::error::damaged;
use crate::row::{Json, canonical_numbers, timestamp, unsigned, value};
use crate::session::Parameter;

/// What [`Account`] borrows, as a record holds it in another form.
pub(crate) fn profile_text(record: &UserRecord) -> String {
    serde_json::Value::Object(record.user.profile.clone()).to_string()
}

/// An account without its login part.
pub(crate) struct Account<'record> {
    record: &'record UserRecord,
    id: &'record str,
    key: &'record str,
    key_rule_version: i32,
    password_hash: Option<&'record str>,
    times: [Option<i64>; 4],
    roles: Vec<&'record str>,
    db_admin: Vec<&'record str>,
    profile: Json<'record>,
    token_epoch: i64,
    version: i64,
    written: [i64; 2],
}

impl<'record> Account<'record> {
    pub(crate) fn of(record: &'record UserRecord, profile: &'record str) -> Self {
        let user = &record.user;
        let times =
            [user.password_changed_at, user.disabled_at, user.tokens_valid_after, user.deleted_at];
        Self {
            record,
            id: user.id.as_str(),
            key: record.key.as_str(),
            key_rule_version: i32::from(record.key_rule_version),
            password_hash: user.password_hash.as_ref().map(Secret::expose),
            times: times.map(milliseconds),
            roles: user.roles.iter().map(String::as_str).collect(),
            db_admin: user.db_admin.iter().map(String::as_str).collect(),
            profile: Json(profile),
            token_epoch: user.token_epoch as i64,
            version: user.version.get(),
            written: [user.created_at.as_milliseconds(), user.updated_at.as_milliseconds()],
        }
    }

    /// $1 to $19.
    pub(crate) fn parameters(&self) -> [Parameter<'_>; 19] {
        let user = &self.record.user;
        [
            (&self.id, Type::TEXT),
            (&user.username, Type::TEXT),
            (&self.key, Type::TEXT),
            (&self.key_rule_version, Type::INT4),
            (&self.password_hash, Type::TEXT),
            (&user.password_algorithm, Type::TEXT),
            (&self.times[0], Type::INT8),
            (&self.roles, Type::TEXT_ARRAY),
            (&self.db_admin, Type::TEXT_ARRAY),
            (&user.disabled, Type::BOOL),
            (&self.times[1], Type::INT8),
            (&user.disabled_reason, Type::TEXT),
            (&self.profile, Type::JSONB),
            (&self.token_epoch, Type::INT8),
            (&self.times[2], Type::INT8),
            (&self.version, Type::INT8),
            (&self.written[0], Type::INT8),
            (&self.written[1], Type::INT8),
            (&self.times[3], Type::INT8),
        ]
    }
}

/// The login part in the form of its columns.
pub(crate) struct Login {
    /// Last login, last failure, end of the lock.
    times: [Option<i64>; 3],
    /// Failures, locks, window, sequence.
    counts: [i64; 4],
}

impl Login {
    pub(crate) fn of(state: &LoginState) -> Self {
        let LoginState { stats, window, sequence } = state;
        let times = [stats.last_login_at, stats.last_failed_at, stats.lockout_until];
        Self {
            times: times.map(milliseconds),
            counts: [
                i64::from(stats.failed_attempts),
                i64::from(stats.lockout_count),
                *window as i64,
                *sequence as i64,
            ],
        }
    }

    pub(crate) fn parameters(&self) -> [Parameter<'_>; 7] {
        [
            (&self.times[0], Type::INT8),
            (&self.times[1], Type::INT8),
            (&self.counts[0], Type::INT8),
            (&self.times[2], Type::INT8),
            (&self.counts[1], Type::INT8),
            (&self.counts[2], Type::INT8),
            (&self.counts[3], Type::INT8),
        ]
    }
}

/// The record in a row of all columns.
pub(crate) fn record(row: &Row) -> Result<UserRecord> {
    let id = UserId::parse(value(row, 0)?).map_err(|_| damaged())?;
    let created_at = timestamp(row, 16)?;
    let mut user = User::first(id, value::<String>(row, 1)?, created_at);
    let key = UsernameKey::from_stored(value::<String>(row, 2)?);
    let key_rule_version: i32 = value(row, 3)?;
    let key_rule_version = u16::try_from(key_rule_version).map_err(|_| damaged())?;
    account(row, &mut user)?;
    login(row, &mut user)?;
    let (login_window, login_sequence) = (unsigned(value(row, 24)?)?, unsigned(value(row, 25)?)?);
    Ok(UserRecord { user, key, key_rule_version, login_window, login_sequence })
}

fn account(row: &Row, user: &mut User) -> Result<()> {
    user.password_hash = value::<Option<String>>(row, 4)?.map(Secret::new);
    user.password_algorithm = value(row, 5)?;
    user.password_changed_at = time(row, 6)?;
    user.roles = names(row, 7)?;
    user.db_admin = names(row, 8)?;
    user.disabled = value(row, 9)?;
    user.disabled_at = time(row, 10)?;
    user.disabled_reason = value(row, 11)?;
    let Json(profile) = value(row, 12)?;
    user.profile = serde_json::from_str(&canonical_numbers(profile)?).map_err(|_| damaged())?;
    user.token_epoch = unsigned(value(row, 13)?)?;
    user.tokens_valid_after = time(row, 14)?;
    user.version = Version::new(value(row, 15)?);
    user.updated_at = timestamp(row, 17)?;
    user.deleted_at = time(row, 18)?;
    Ok(())
}

fn login(row: &Row, user: &mut User) -> Result<()> {
    let count = |column| -> Result<u32> {
        u32::try_from(value::<i64>(row, column)?).map_err(|_| damaged())
    };
    user.login.last_login_at = time(row, 19)?;
    user.login.last_failed_at = time(row, 20)?;
    user.login.failed_attempts = count(21)?;
    user.login.lockout_until = time(row, 22)?;
    user.login.lockout_count = count(23)?;
    Ok(())
}

fn names(row: &Row, column: usize) -> Result<BTreeSet<String>> {
    Ok(value::<Vec<String>>(row, column)?.into_iter().collect())
}

fn time(row: &Row, column: usize) -> Result<Option<Timestamp>> {
    Ok(value::<Option<i64>>(row, column)?.map(Timestamp::from_milliseconds))
}

fn milliseconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_milliseconds)
}
