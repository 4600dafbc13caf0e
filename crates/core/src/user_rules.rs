//! What the fields of an account may hold, checked before anything is read.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::{Error, Reason, Result};
use crate::login::LoginStats;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::user::{NewUser, UserPatch};
use crate::value::normalize_value;

/// Most bytes of a stored password hash.
pub const PASSWORD_HASH_BYTES_MAX: usize = 1024;
/// Most bytes of a profile's canonical JSON.
pub const PROFILE_BYTES_MAX: usize = 16 << 10;
/// Most roles of one account.
pub const ROLES_MAX: usize = 64;

const ALGORITHM_BYTES_MAX: usize = 32;
const DATABASES_MAX: usize = 256;
const ROLE_BYTES_MAX: usize = 64;
const DISABLED_REASON_BYTES_MAX: usize = 256;
const PROFILE_DEPTH_MAX: usize = 16;
const PROFILE_KEYS_MAX: usize = 256;
const PROFILE_KEY_BYTES_MAX: usize = 128;

impl NewUser {
    /// Checks every field but the name, and brings the profile into normal form.
    ///
    /// # Errors
    ///
    /// [`Reason::UserField`] with the field and its limit; a value never.
    pub fn check(mut self) -> Result<Self> {
        check_password(&self.password_hash, &self.password_algorithm)?;
        check_set("roles", &self.roles, ROLES_MAX)?;
        check_set("dbAdmin", &self.db_admin, DATABASES_MAX)?;
        self.profile = normalize_profile(self.profile)?;
        Ok(self)
    }
}

impl UserPatch {
    /// As [`NewUser::check`].
    ///
    /// # Errors
    ///
    /// As [`NewUser::check`].
    pub fn check(mut self) -> Result<Self> {
        self.roles.as_ref().map_or(Ok(()), |roles| check_set("roles", roles, ROLES_MAX))?;
        self.db_admin
            .as_ref()
            .map_or(Ok(()), |names| check_set("dbAdmin", names, DATABASES_MAX))?;
        if let Some(reason) = &self.disabled_reason {
            let fits = reason.len() <= DISABLED_REASON_BYTES_MAX && !reason.contains('\0');
            refuse_unless(
                fits,
                "disabledReason",
                "a reason has up to 256 bytes, none of them zero",
            )?;
        }
        self.profile = self.profile.map(normalize_profile).transpose()?;
        Ok(self)
    }
}

impl LoginStats {
    /// Refuses times that not every backend can hold: before 1970 or after the year 9999.
    ///
    /// # Errors
    ///
    /// [`Reason::UserField`].
    pub fn check(&self) -> Result<()> {
        let holds = |time: &Option<Timestamp>| {
            time.is_none_or(|time| (Timestamp::default()..=Timestamp::LATEST).contains(&time))
        };
        let all =
            holds(&self.last_login_at) && holds(&self.last_failed_at) && holds(&self.lockout_until);
        refuse_unless(all, "login", "a time lies between the years 1970 and 9999")
    }
}

/// Checks a hash and the name of its scheme.
///
/// # Errors
///
/// [`Reason::UserField`].
pub fn check_password(hash: &Secret, algorithm: &str) -> Result<()> {
    let text = hash.expose();
    let fits = (1..=PASSWORD_HASH_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
    refuse_unless(fits, "passwordHash", "a hash has 1 to 1024 bytes, none of them zero")?;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let named =
        (1..=ALGORITHM_BYTES_MAX).contains(&algorithm.len()) && algorithm.bytes().all(allowed);
    refuse_unless(named, "passwordAlgorithm", "a scheme's name has 1 to 32 of a-z, 0-9 and -")
}

fn check_set(field: &'static str, names: &BTreeSet<String>, count_max: usize) -> Result<()> {
    if names.len() > count_max {
        return Err(Error::invalid(field, Reason::UserField, "too many entries")
            .with_fact("entries", names.len())
            .with_fact("limit", count_max));
    }
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":._-".contains(&byte);
    let fits =
        |name: &String| (1..=ROLE_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed);
    refuse_unless(names.iter().all(fits), field, "an entry has 1 to 64 of a-z, 0-9 and : . _ -")
}

/// Numbers and strings as in documents; smaller limits.
fn normalize_profile(profile: Map<String, Value>) -> Result<Map<String, Value>> {
    let mut keys = 0;
    let mut value = Value::Object(profile);
    check_shape(&value, 1, &mut keys)?;
    normalize_value(&mut value, 1).map_err(of_profile)?;
    let bytes = value.to_string().len();
    match value {
        Value::Object(profile) if bytes <= PROFILE_BYTES_MAX => Ok(profile),
        _ => {
            Err(Error::invalid("profile", Reason::UserField, "a profile has up to 16 KiB of JSON")
                .with_fact("bytes", bytes)
                .with_fact("limit", PROFILE_BYTES_MAX))
        }
    }
}

/// What is wrong with a value, told of the field it lies in.
fn of_profile(error: Error) -> Error {
    let reason = error.reason().unwrap_or(Reason::UserField);
    let message = error.message().unwrap_or("a profile holds what documents may hold").to_owned();
    Error::invalid("profile", reason, message)
}

fn check_shape(value: &Value, level: usize, keys: &mut usize) -> Result<()> {
    let members: Vec<&Value> = match value {
        Value::Object(members) => {
            *keys += members.len();
            let short = members.keys().all(|key| key.len() <= PROFILE_KEY_BYTES_MAX);
            refuse_unless(short, "profile", "a key of a profile has up to 128 bytes")?;
            members.values().collect()
        }
        Value::Array(items) => items.iter().collect(),
        _ => return Ok(()),
    };
    refuse_unless(level <= PROFILE_DEPTH_MAX, "profile", "a profile has up to 16 levels")?;
    refuse_unless(*keys <= PROFILE_KEYS_MAX, "profile", "a profile has up to 256 keys in all")?;
    members.into_iter().try_for_each(|member| check_shape(member, level + 1, keys))
}

fn refuse_unless(holds: bool, field: &'static str, message: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::invalid(field, Reason::UserField, message)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn profile(value: Value) -> Result<Map<String, Value>> {
        let Value::Object(profile) = value else { panic!("an object") };
        normalize_profile(profile)
    }

    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!({}), |inner, _| json!({"a": inner}))
    }

    #[test]
    fn a_profile_is_bounded_in_bytes_levels_and_keys() {
        assert!(profile(nested(16)).is_ok());
        assert!(profile(nested(17)).is_err());
        let overhead = json!({"a": ""}).to_string().len();
        assert!(profile(json!({"a": "x".repeat(PROFILE_BYTES_MAX - overhead)})).is_ok());
        assert!(profile(json!({"a": "x".repeat(PROFILE_BYTES_MAX - overhead + 1)})).is_err());
        let keys =
            |count: usize| (0..count).map(|n| (n.to_string(), json!(n))).collect::<Map<_, _>>();
        assert!(normalize_profile(keys(256)).is_ok());
        assert!(normalize_profile(keys(257)).is_err());
        assert!(profile(json!({"k".repeat(129): 1})).is_err());
    }

    #[test]
    fn numbers_of_a_profile_are_those_of_documents() {
        assert_eq!(profile(json!({"a": 1.0})).ok(), json!({"a": 1}).as_object().cloned());
        assert!(profile(json!({"a": u64::MAX})).is_err());
        assert!(profile(json!({"a": "\0"})).is_err());
    }

    #[test]
    fn an_error_never_shows_the_hash() {
        let error = check_password(&Secret::new("hunter2"), "No Such").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
        assert!(check_password(&Secret::new(""), "argon2id").is_err());
        assert!(check_password(&Secret::new("x".repeat(1025)), "argon2id").is_err());
        assert!(check_password(&Secret::new("x".repeat(1024)), "argon2id").is_ok());
    }
}
