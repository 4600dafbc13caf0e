//! What becomes of an account when it is made or changed.

use std::time::Duration;

use syntrix_storage_core::backend::UserRecord;
use syntrix_storage_core::{
    Error, NewUser, Reason, Result, Secret, Timestamp, User, UserId, UserPatch, UsernameKey,
};
use uuid::{ContextV7, Uuid};

/// The record of a new account.
pub(super) fn first(new: NewUser, key: UsernameKey, now: Timestamp) -> Result<UserRecord> {
    let id = new.id.map_or_else(|| random_id(now), Ok)?;
    let mut user = User::first(id, new.username, now);
    user.password_hash = Some(new.password_hash);
    user.password_algorithm = Some(new.password_algorithm);
    user.password_changed_at = Some(now);
    user.roles = new.roles;
    user.db_admin = new.db_admin;
    user.profile = new.profile;
    let key_rule_version = UsernameKey::RULE_VERSION;
    Ok(UserRecord { user, key, key_rule_version, login_window: 0, login_sequence: 0 })
}

/// A version 7 UUID: random, and new accounts lie together in an index.
///
/// Source: RFC 9562, section 5.7.
fn random_id(now: Timestamp) -> Result<UserId> {
    let milliseconds = u64::try_from(now.as_milliseconds()).unwrap_or_default();
    let nanoseconds = (milliseconds % 1000) as u32 * 1_000_000;
    let time = uuid::Timestamp::from_unix(ContextV7::new(), milliseconds / 1000, nanoseconds);
    UserId::parse(&Uuid::new_v7(time).to_string())
}

/// A change of everything but the login part.
#[derive(Debug)]
pub(super) enum Change {
    Patch { patch: UserPatch, key: Option<UsernameKey> },
    Password { hash: Secret, algorithm: String, end_sessions: bool },
}

impl Change {
    /// Checks a patch and folds its name.
    pub(super) fn patch(patch: UserPatch) -> Result<Self> {
        let key = patch.username.as_deref().map(UsernameKey::fold).transpose()?;
        let patch = patch.check()?;
        match (patch.disabled, &patch.disabled_reason) {
            (Some(false), Some(_)) => Err(reason_without_cause()),
            _ => Ok(Self::Patch { patch, key }),
        }
    }

    /// The account after the change, one version later.
    pub(super) fn apply(&self, mut record: UserRecord, now: Timestamp) -> Result<UserRecord> {
        match self {
            Self::Patch { patch, key } => {
                set_name(&mut record, patch, key.as_ref());
                set_fields(&mut record.user, patch);
                set_disabled(&mut record.user, patch, now)?;
            }
            Self::Password { hash, algorithm, end_sessions } => {
                let user = &mut record.user;
                user.password_hash = Some(hash.clone());
                user.password_algorithm = Some(algorithm.clone());
                user.password_changed_at = Some(now);
                user.token_epoch = user.token_epoch.saturating_add(u64::from(*end_sessions));
            }
        }
        record.user.version = record.user.version.next();
        record.user.updated_at = later(record.user.updated_at, now);
        Ok(record)
    }
}

fn set_name(record: &mut UserRecord, patch: &UserPatch, key: Option<&UsernameKey>) {
    if let (Some(username), Some(key)) = (&patch.username, key) {
        record.user.username.clone_from(username);
        record.key = key.clone();
        record.key_rule_version = UsernameKey::RULE_VERSION;
    }
}

fn set_fields(user: &mut User, patch: &UserPatch) {
    let UserPatch { roles, db_admin, profile, .. } = patch.clone();
    user.roles = roles.unwrap_or_else(|| std::mem::take(&mut user.roles));
    user.db_admin = db_admin.unwrap_or_else(|| std::mem::take(&mut user.db_admin));
    user.profile = profile.unwrap_or_else(|| std::mem::take(&mut user.profile));
}

/// Setting it raises the token epoch in the same write, again and again: whoever disables an account ends the sessions of
/// this very moment. An account that is disabled already stays so since when it was, and for the reason it was.
fn set_disabled(user: &mut User, patch: &UserPatch, now: Timestamp) -> Result<()> {
    match patch.disabled {
        Some(true) => {
            user.token_epoch = user.token_epoch.saturating_add(1);
            if !user.disabled {
                user.disabled = true;
                user.disabled_at = Some(now);
                user.disabled_reason = None;
            }
        }
        Some(false) => {
            user.disabled = false;
            user.disabled_at = None;
            user.disabled_reason = None;
        }
        None => {}
    }
    match &patch.disabled_reason {
        Some(_) if !user.disabled => Err(reason_without_cause()),
        Some(reason) => {
            user.disabled_reason = Some(reason.clone());
            Ok(())
        }
        None => Ok(()),
    }
}

fn reason_without_cause() -> Error {
    let message = "only a disabled account has a reason; set disabled, too";
    Error::invalid("disabledReason", Reason::UserField, message)
}

/// Strictly increasing, whatever the clock does.
fn later(previous: Timestamp, now: Timestamp) -> Timestamp {
    now.max(previous.saturating_add(Duration::from_millis(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_ids_are_valid_and_differ() {
        let now = Timestamp::from_milliseconds(1_700_000_000_123);
        assert_ne!(random_id(now).unwrap(), random_id(now).unwrap());
    }
}
