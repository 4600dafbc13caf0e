//! An account as a record of the server, and back.

use std::collections::BTreeSet;

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use syntrix_storage_core::backend::{LoginState, UserRecord};
use syntrix_storage_core::{Result, Secret, Timestamp, User, UserId, UsernameKey, Version};

use crate::error::damaged;
use crate::{decode, encode};

/// Everything but key and login part.
pub(crate) fn account(record: &UserRecord) -> Result<Document> {
    let user = &record.user;
    Ok(doc! {
        "username": &user.username,
        "usernameKey": record.key.as_str(),
        "keyRuleVersion": i64::from(record.key_rule_version),
        "passwordHash": user.password_hash.as_ref().map(Secret::expose),
        "passwordAlgorithm": user.password_algorithm.as_deref(),
        "passwordChangedAt": milliseconds(user.password_changed_at),
        "roles": names(&user.roles),
        "dbAdmin": names(&user.db_admin),
        "disabled": user.disabled,
        "disabledAt": milliseconds(user.disabled_at),
        "disabledReason": user.disabled_reason.as_deref(),
        "profile": profile(user)?,
        "tokenEpoch": user.token_epoch as i64,
        "tokensValidAfter": milliseconds(user.tokens_valid_after),
        "version": user.version.get(),
        "createdAt": user.created_at.as_milliseconds(),
        "updatedAt": user.updated_at.as_milliseconds(),
        "deletedAt": milliseconds(user.deleted_at),
        // What the unique index of names is partial by.
        "deleted": user.deleted_at.is_some(),
    })
}

/// The part that logins write.
pub(crate) fn login(state: &LoginState) -> Document {
    let stats = &state.stats;
    doc! {
        "lastLoginAt": milliseconds(stats.last_login_at),
        "lastFailedAt": milliseconds(stats.last_failed_at),
        "failedAttempts": i64::from(stats.failed_attempts),
        "lockoutUntil": milliseconds(stats.lockout_until),
        "lockoutCount": i64::from(stats.lockout_count),
        "loginWindow": state.window as i64,
        "loginSequence": state.sequence as i64,
    }
}

/// The account in a record.
pub(crate) fn decode(record: &Document) -> Result<UserRecord> {
    let id = UserId::parse(text(record, "_id")?).map_err(|_| damaged())?;
    let created_at = Timestamp::from_milliseconds(integer(record, "createdAt")?);
    let mut user = User::first(id, text(record, "username")?, created_at);
    user.password_hash = optional_text(record, "passwordHash").map(Secret::new);
    user.password_algorithm = optional_text(record, "passwordAlgorithm");
    user.password_changed_at = time(record, "passwordChangedAt");
    user.roles = set(record, "roles")?;
    user.db_admin = set(record, "dbAdmin")?;
    user.disabled = record.get_bool("disabled").map_err(|_| damaged())?;
    user.disabled_at = time(record, "disabledAt");
    user.disabled_reason = optional_text(record, "disabledReason");
    user.profile = read_profile(record)?;
    user.token_epoch = integer(record, "tokenEpoch")? as u64;
    user.tokens_valid_after = time(record, "tokensValidAfter");
    user.version = Version::new(integer(record, "version")?);
    user.updated_at = Timestamp::from_milliseconds(integer(record, "updatedAt")?);
    user.deleted_at = time(record, "deletedAt");
    read_login(record, &mut user)?;
    Ok(UserRecord {
        key: UsernameKey::from_stored(text(record, "usernameKey")?),
        key_rule_version: small(record, "keyRuleVersion")?,
        login_window: integer(record, "loginWindow")? as u64,
        login_sequence: integer(record, "loginSequence")? as u64,
        user,
    })
}

fn read_login(record: &Document, user: &mut User) -> Result<()> {
    user.login.last_login_at = time(record, "lastLoginAt");
    user.login.last_failed_at = time(record, "lastFailedAt");
    user.login.failed_attempts = small(record, "failedAttempts")?;
    user.login.lockout_until = time(record, "lockoutUntil");
    user.login.lockout_count = small(record, "lockoutCount")?;
    Ok(())
}

/// Keys of a profile are as free as those of documents, so they are escaped alike.
fn profile(user: &User) -> Result<Document> {
    let json = serde_json::Value::Object(user.profile.clone()).to_string();
    let mut bytes = Vec::with_capacity(json.len() * 2);
    let start = encode::begin_document(&mut bytes);
    encode::push_json(&mut bytes, "profile", &json)?;
    encode::end_document(&mut bytes, start);
    let whole = RawDocumentBuf::from_bytes(bytes).map_err(|_| damaged())?;
    let profile = whole.get_document("profile").map_err(|_| damaged())?;
    Document::try_from(profile).map_err(|_| damaged())
}

fn read_profile(record: &Document) -> Result<serde_json::Map<String, serde_json::Value>> {
    let profile = record.get_document("profile").map_err(|_| damaged())?;
    let raw = RawDocumentBuf::try_from(profile).map_err(|_| damaged())?;
    serde_json::from_str(decode::body(&raw)?.as_str()).map_err(|_| damaged())
}

pub(crate) fn milliseconds(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_milliseconds)
}

fn names(names: &BTreeSet<String>) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn set(record: &Document, field: &str) -> Result<BTreeSet<String>> {
    let items = record.get_array(field).map_err(|_| damaged())?;
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(damaged)).collect()
}

fn text<'record>(record: &'record Document, field: &str) -> Result<&'record str> {
    record.get_str(field).map_err(|_| damaged())
}

pub(crate) fn optional_text(record: &Document, field: &str) -> Option<String> {
    record.get_str(field).ok().map(str::to_owned)
}

pub(crate) fn integer(record: &Document, field: &str) -> Result<i64> {
    match record.get(field) {
        Some(Bson::Int64(integer)) => Ok(*integer),
        Some(Bson::Int32(integer)) => Ok(i64::from(*integer)),
        _ => Err(damaged()),
    }
}

fn small<T: TryFrom<i64>>(record: &Document, field: &str) -> Result<T> {
    T::try_from(integer(record, field)?).map_err(|_| damaged())
}

fn time(record: &Document, field: &str) -> Option<Timestamp> {
    integer(record, field).ok().map(Timestamp::from_milliseconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_comes_back_with_every_field() {
        let at = |milliseconds| Some(Timestamp::from_milliseconds(milliseconds));
        let mut user = User::first(UserId::parse("u1").unwrap(), "Ada", at(1).unwrap());
        user.password_hash = Some(Secret::new("$argon2id$x"));
        user.password_algorithm = Some("argon2id".into());
        (user.password_changed_at, user.tokens_valid_after) = (at(2), at(3));
        user.roles = ["a".to_owned(), "b".to_owned()].into();
        user.db_admin = ["main".to_owned()].into();
        (user.disabled, user.disabled_at, user.disabled_reason) = (true, at(4), Some("x".into()));
        user.profile = json!({"": {"$x": [1, 2.5]}, "a.b": null}).as_object().unwrap().clone();
        (user.token_epoch, user.deleted_at) = (u64::MAX, at(5));
        (user.login.last_login_at, user.login.failed_attempts) = (at(6), u32::MAX);
        (user.login.lockout_until, user.login.lockout_count) = (at(7), 8);
        let key = UsernameKey::from_stored("ada");
        let record = UserRecord {
            user,
            key,
            key_rule_version: 1,
            login_window: 9,
            login_sequence: u64::MAX,
        };
        let mut stored = account(&record).unwrap();
        stored.extend(login(&record.login_state()));
        stored.insert("_id", "u1");
        let back = decode(&stored).unwrap();
        assert_eq!(format!("{back:?}"), format!("{record:?}"));
        assert_eq!(back.user.password_hash.unwrap().expose(), "$argon2id$x");
    }

    #[test]
    fn a_record_that_lacks_a_field_is_damaged() {
        assert!(decode(&doc! { "_id": "u1" }).is_err());
    }
}
