//! The store of user accounts, as applications see it. Hashing, tokens and policy belong to the caller.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::cursor::Cursor;
use crate::document::Version;
use crate::error::{Error, Reason, Result};
use crate::revocation_store::TokenRevocationStore;
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
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if it breaks the rule above or begins with
    /// `system:`.
    pub fn parse(text: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
            let message = "a user id has 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'";
            return Err(Error::invalid("id", Reason::Option, message));
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

/// What logins left on an account.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginStats {
    /// Last success; never moves back.
    pub last_login_at: Option<Timestamp>,
    /// Last failure.
    pub last_failed_at: Option<Timestamp>,
    /// Consecutive failures in the window.
    pub failed_attempts: u32,
    /// Locked until then; `None` is not locked.
    pub lockout_until: Option<Timestamp>,
    /// How many lockouts so far.
    pub lockout_count: u32,
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
    /// Disables or enables the account; disabling raises the token epoch in the same write.
    pub disabled: Option<bool>,
    /// Why it is disabled.
    pub disabled_reason: Option<String>,
    /// The whole profile.
    pub profile: Option<Map<String, Value>>,
}

/// When wrong passwords lock an account.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoginPolicy {
    /// Attempts that may test a password in one window, 1 to 100.
    pub threshold: u32,
    /// Failures further apart than this do not add up.
    pub window: Duration,
    /// The first lock.
    pub lock_base: Duration,
    /// Each further lock is longer by this factor.
    pub lock_factor: f64,
    /// The longest lock.
    pub lock_max: Duration,
}

impl Default for LoginPolicy {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            threshold: 10,
            window: 15 * minute,
            lock_base: minute,
            lock_factor: 2.0,
            lock_max: 60 * minute,
        }
    }
}

/// Permission to test one password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginTicket {
    /// Which attempt of the window this is, from 1.
    pub attempt: u32,
    /// The login sequence of the record when it was given out.
    pub sequence: u64,
}

/// The answer to `begin_login_attempt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginAttempt {
    /// Test the password. The attempt is counted already; a wrong one needs no further call.
    Allowed(LoginTicket),
    /// Deny, whatever the password.
    Locked {
        /// Until then.
        until: Timestamp,
    },
}

/// The answer to `record_login_success`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginSuccess {
    /// The login counts.
    Recorded,
    /// Locked in the meantime: deny.
    Locked {
        /// Until then.
        until: Timestamp,
    },
}

/// Which accounts to list.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Folded names that begin so.
    pub name_prefix: Option<String>,
    /// Accounts with this role.
    pub role: Option<String>,
    /// Disabled or enabled ones.
    pub disabled: Option<bool>,
}

/// Which page to list.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct UserPageRequest {
    /// 1 to 200; 50 if `None`.
    pub limit: Option<u32>,
    /// Continue behind this page.
    pub after: Option<Cursor>,
}

/// A page of accounts, without hashes.
#[derive(Clone, Debug)]
pub struct UserPage {
    /// The accounts.
    pub users: Vec<User>,
    /// Where the next page starts.
    pub next: Option<Cursor>,
}

/// Options of user operations.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct UserOptions {
    /// Longest the call may take.
    pub timeout: Option<Duration>,
    /// The version the account must have, for `update_user` and `set_password`.
    pub expected_version: Option<Version>,
}

/// Keeps user accounts. Object safe.
///
/// Passwords never come here: the store keeps an opaque hash and counts attempts in a way that concurrent guesses cannot race.
#[async_trait]
pub trait UserStore: Send + Sync + fmt::Debug {
    /// Stores a new account.
    async fn create_user(&self, user: NewUser, options: UserOptions) -> Result<User>;

    /// Finds an account by name, in its folded form.
    async fn get_user_by_username(&self, username: &str, options: UserOptions) -> Result<User>;

    /// Finds an account by id.
    async fn get_user_by_id(&self, id: &UserId, options: UserOptions) -> Result<User>;

    /// Sets the login statistics absolutely; for import. `last_login_at` keeps the later time.
    async fn update_user_login_stats(
        &self,
        id: &UserId,
        stats: LoginStats,
        options: UserOptions,
    ) -> Result<()>;

    /// Lists accounts by id, without hashes.
    async fn list_users(
        &self,
        filter: UserFilter,
        page: UserPageRequest,
        options: UserOptions,
    ) -> Result<UserPage>;

    /// Changes an account.
    async fn update_user(
        &self,
        id: &UserId,
        patch: UserPatch,
        options: UserOptions,
    ) -> Result<User>;

    /// Replaces the hash; with `end_sessions` also raises the token epoch.
    async fn set_password(
        &self,
        id: &UserId,
        password_hash: Secret,
        password_algorithm: &str,
        end_sessions: bool,
        options: UserOptions,
    ) -> Result<User>;

    /// Counts one attempt before the password is tested.
    async fn begin_login_attempt(
        &self,
        id: &UserId,
        policy: LoginPolicy,
        options: UserOptions,
    ) -> Result<LoginAttempt>;

    /// Resets the count after a right password.
    async fn record_login_success(
        &self,
        id: &UserId,
        ticket: Option<LoginTicket>,
        options: UserOptions,
    ) -> Result<LoginSuccess>;

    /// Verifies the indexes and creates what is missing.
    async fn ensure_indexes(&self) -> Result<()>;

    /// As [`DocumentStore::close`](crate::DocumentStore::close).
    async fn close(&self) -> Result<()>;
}

/// Users and revocations together, for constructors that want both.
pub trait AuthStore: Send + Sync + fmt::Debug {
    /// The accounts.
    fn users(&self) -> Arc<dyn UserStore>;

    /// The revoked tokens.
    fn revocations(&self) -> Arc<dyn TokenRevocationStore>;
}
