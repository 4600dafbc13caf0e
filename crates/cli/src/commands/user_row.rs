//! An account as a result row: everything but the hash.

use serde_json::{Map, Value, json};
use syntrix_storage::{Timestamp, User};

pub(super) fn of(user: &User) -> Map<String, Value> {
    let User { login, .. } = user;
    let members = json!({
        "id": user.id.as_str(),
        "username": user.username,
        "passwordAlgorithm": user.password_algorithm,
        "passwordChangedAt": time(user.password_changed_at),
        "roles": user.roles,
        "dbAdmin": user.db_admin,
        "disabled": user.disabled,
        "disabledAt": time(user.disabled_at),
        "disabledReason": user.disabled_reason,
        "profile": user.profile,
        "lastLoginAt": time(login.last_login_at),
        "lastFailedAt": time(login.last_failed_at),
        "failedAttempts": login.failed_attempts,
        "lockoutUntil": time(login.lockout_until),
        "lockoutCount": login.lockout_count,
        "tokenEpoch": user.token_epoch,
        "version": user.version.get(),
        "createdAt": user.created_at.as_milliseconds(),
        "updatedAt": user.updated_at.as_milliseconds(),
    });
    // What an account does not have is left out, as in documents.
    let Value::Object(mut members) = members else { return Map::new() };
    members.retain(|_, value| !value.is_null());
    members
}

fn time(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_milliseconds)
}
