//! An account: its id, its record, and how it is made and changed.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::document::Version;
use crate::error::{Error, Reason, Result};
use crate::login::LoginStats;
use crate::secret::Secret;
use crate::time::Timestamp;

/// An account's opaque id: 1 to 64 of `A-Z a-z 0-9 _ -`, never reused and never derived from the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(String);

impl UserId {
    /// Checks and takes an id.
    ///
    /// # Errors
    ///
    /// [`Reason::UserId`] if it breaks the rule above.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage_core::UserId;
    ///
    /// assert_eq!(UserId::parse("ada_1815")?.as_str(), "ada_1815");
    /// assert!(UserId::parse("system:cron").is_err());
    /// # Ok::<(), syntrix_storage_core::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
            let message = "a user id has 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'";
            return Err(Error::invalid("id", Reason::UserId, message));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An account as stored. The hash prints as `[redacted]` and is absent from lists.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct User {
    /// Never changes.
    pub id: UserId,
    /// As it was typed; unique in its folded form.
    pub username: String,
    /// An opaque PHC string; `None` in lists.
    pub password_hash: Option<Secret>,
    /// Names the scheme of the hash, for example `argon2id`.
    pub password_algorithm: Option<String>,
    /// When the hash was last set.
    pub password_changed_at: Option<Timestamp>,
    /// Sorted, without repeats.
    pub roles: BTreeSet<String>,
    /// Databases the account administers.
    pub db_admin: BTreeSet<String>,
    /// Whether the account is disabled; still returned by reads.
    pub disabled: bool,
    /// Since when.
    pub disabled_at: Option<Timestamp>,
    /// Why.
    pub disabled_reason: Option<String>,
    /// The application's own data, at most 16 KiB.
    pub profile: Map<String, Value>,
    /// What logins left behind.
    pub login: LoginStats,
    /// Carried in tokens; a token of another epoch is revoked.
    pub token_epoch: u64,
    /// Tokens issued up to here are revoked.
    pub tokens_valid_after: Option<Timestamp>,
    /// Counts changes other than logins.
    pub version: Version,
    /// When the account was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Set on a tombstone: the id is never given out again.
    pub deleted_at: Option<Timestamp>,
}

impl User {
    /// A new account with nothing but an id, a name and a time; version 1.
    pub fn first(id: UserId, username: impl Into<String>, now: Timestamp) -> Self {
        Self {
            id,
            username: username.into(),
            password_hash: None,
            password_algorithm: None,
            password_changed_at: None,
            roles: BTreeSet::new(),
            db_admin: BTreeSet::new(),
            disabled: false,
            disabled_at: None,
            disabled_reason: None,
            profile: Map::new(),
            login: LoginStats::default(),
            token_epoch: 0,
            tokens_valid_after: None,
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        }
    }
}

/// An account to create.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The id; made by the store if `None`.
    pub id: Option<UserId>,
    /// 1 to 128 characters.
    pub username: String,
    /// An opaque PHC string.
    pub password_hash: Secret,
    /// Names its scheme.
    pub password_algorithm: String,
    /// Roles.
    pub roles: BTreeSet<String>,
    /// Databases the account administers.
    pub db_admin: BTreeSet<String>,
    /// The application's own data.
    pub profile: Map<String, Value>,
}

impl NewUser {
    /// An account without roles and profile.
    pub fn new(
        username: impl Into<String>,
        password_hash: Secret,
        password_algorithm: impl Into<String>,
    ) -> Self {
        Self {
            id: None,
            username: username.into(),
            password_hash,
            password_algorithm: password_algorithm.into(),
            roles: BTreeSet::new(),
            db_admin: BTreeSet::new(),
            profile: Map::new(),
        }
    }
}

/// Changes to an account; `None` leaves a field as it is.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct UserPatch {
    /// A new name.
    pub username: Option<String>,
    /// All roles.
    pub roles: Option<BTreeSet<String>>,
    /// All administered databases.
    pub db_admin: Option<BTreeSet<String>>,
    /// Disables or enables the account. Every write that sets it to true raises the token epoch, also of an account that is
    /// disabled already: `disabled_at` stays then, and so does the reason unless another one is given.
    pub disabled: Option<bool>,
    /// Why it is disabled; refused for an account that is not.
    pub disabled_reason: Option<String>,
    /// The whole profile.
    pub profile: Option<Map<String, Value>>,
}
