//! The store of user accounts, as applications see it. Hashing, tokens and policy belong to the caller.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::document::Version;
use crate::error::Result;
use crate::login::{LoginAttempt, LoginPolicy, LoginStats, LoginSuccess, LoginTicket};
use crate::revocation_store::TokenRevocationStore;
use crate::secret::Secret;
use crate::user::{NewUser, User, UserId, UserPatch};
use crate::user_list::{UserFilter, UserPage, UserPageRequest};

/// Options of user operations.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct UserOptions {
    /// Longest the call may take; no limit if `None`. A write that times out may have been applied.
    pub timeout: Option<Duration>,
    /// The version the account must have, for `update_user` and `set_password`.
    pub expected_version: Option<Version>,
}

impl UserOptions {
    /// Sets the version the account must have.
    #[must_use]
    pub fn with_expected_version(mut self, version: Version) -> Self {
        self.expected_version = Some(version);
        self
    }
}

/// Keeps user accounts. Object safe.
///
/// Passwords never come here: the store keeps an opaque hash, never verifies it, and counts attempts in a way that concurrent
/// guesses cannot race. Times are UTC milliseconds by the store's own clock, whatever the caller's shows.
///
/// # Errors
///
/// Every method: [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) with the field before anything is read,
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an account that is not there,
/// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable),
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed). No error carries a name, a hash or a profile.
///
/// # Cancellation
///
/// Each write is one atomic step of the backend: a dropped future leaves the account as it was or as it should be.
#[async_trait]
pub trait UserStore: Send + Sync + fmt::Debug {
    /// Stores a new account with version 1, and returns it as stored.
    ///
    /// The name keeps its form and is unique in its folded one, see [`UsernameKey`](crate::UsernameKey). Roles: at most 64 of
    /// at most 64 bytes of `a-z 0-9 : . _ -`; `db_admin`: at most 256. The profile: at most 16 KiB of JSON, 16 levels, 256
    /// keys of at most 128 bytes. The hash: 1 to 1024 bytes. The name of its scheme: 1 to 32 of `a-z 0-9 -`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) with the fact `field` `username` or `id`.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{ErrorKind, NewUser, Secret, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let ada = || NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// let created = users.create_user(ada(), Default::default()).await?;
    /// assert_eq!(created.version.get(), 1);
    /// let again = users.create_user(ada(), Default::default()).await.unwrap_err();
    /// assert_eq!((again.kind(), again.fact("field")), (ErrorKind::AlreadyExists, Some("username")));
    /// # Ok(())
    /// # }
    /// ```
    async fn create_user(&self, user: NewUser, options: UserOptions) -> Result<User>;

    /// Finds an account by name, in its folded form. Disabled ones are found, too.
    ///
    /// A name that no account can have is `not_found`, after the same trip to the database as any other unknown name.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{NewUser, Secret, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// let ada = users.create_user(ada, Default::default()).await?;
    /// let found = users.get_user_by_username("ADA", Default::default()).await?;
    /// assert_eq!((found.id, found.username.as_str()), (ada.id, "Ada"));
    /// # Ok(())
    /// # }
    /// ```
    async fn get_user_by_username(&self, username: &str, options: UserOptions) -> Result<User>;

    /// Finds an account by id. Disabled ones are found, too.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{ErrorKind, Storage, UserId};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let nobody = UserId::parse("nobody")?;
    /// let error = users.get_user_by_id(&nobody, Default::default()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// # Ok(())
    /// # }
    /// ```
    async fn get_user_by_id(&self, id: &UserId, options: UserOptions) -> Result<User>;

    /// Sets the login statistics absolutely; for import. `last_login_at` keeps the later time.
    ///
    /// Concurrent attempts may be overwritten: count with [`begin_login_attempt`](Self::begin_login_attempt) instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{LoginStats, NewUser, Secret, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// let ada = users.create_user(ada, Default::default()).await?;
    /// let mut stats = LoginStats::default();
    /// stats.failed_attempts = 3;
    /// users.update_user_login_stats(&ada.id, stats.clone(), Default::default()).await?;
    /// assert_eq!(users.get_user_by_id(&ada.id, Default::default()).await?.login, stats);
    /// # Ok(())
    /// # }
    /// ```
    async fn update_user_login_stats(
        &self,
        id: &UserId,
        stats: LoginStats,
        options: UserOptions,
    ) -> Result<()>;

    /// Lists accounts by id, without hashes. A cursor stays valid when accounts come and go, and on any backend.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{NewUser, Secret, Storage, UserFilter, UserPageRequest};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// let ada = users.create_user(ada, Default::default()).await?;
    /// let mut filter = UserFilter::default();
    /// filter.name_prefix = Some("a".into());
    /// let page = users.list_users(filter, UserPageRequest::default(), Default::default()).await?;
    /// assert_eq!(page.users[0].id, ada.id);
    /// assert!(page.users[0].password_hash.is_none() && page.next.is_none());
    /// # Ok(())
    /// # }
    /// ```
    async fn list_users(
        &self,
        filter: UserFilter,
        page: UserPageRequest,
        options: UserOptions,
    ) -> Result<UserPage>;

    /// Changes an account and returns it as stored, one version later. Logins in between do not count as changes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PreconditionFailed`](crate::ErrorKind::PreconditionFailed) with the fact `version` if it is not
    /// [`expected_version`](UserOptions::expected_version); [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if
    /// the new name is taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{ErrorKind, NewUser, Secret, Storage, UserOptions, UserPatch};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// let ada = users.create_user(ada, Default::default()).await?;
    /// let mut patch = UserPatch::default();
    /// patch.roles = Some(["admin".to_owned()].into());
    /// let expected = || UserOptions::default().with_expected_version(ada.version);
    /// let changed = users.update_user(&ada.id, patch.clone(), expected()).await?;
    /// assert_eq!(changed.version.get(), 2);
    /// let late = users.update_user(&ada.id, patch, expected()).await.unwrap_err();
    /// assert_eq!((late.kind(), late.fact("version")), (ErrorKind::PreconditionFailed, Some("2")));
    /// # Ok(())
    /// # }
    /// ```
    async fn update_user(
        &self,
        id: &UserId,
        patch: UserPatch,
        options: UserOptions,
    ) -> Result<User>;

    /// Replaces the hash; with `end_sessions` also raises the token epoch, in the same write.
    ///
    /// # Errors
    ///
    /// As [`update_user`](Self::update_user).
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{NewUser, Secret, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// let ada = users.create_user(ada, Default::default()).await?;
    /// let hash = Secret::new("$2b$12$...");
    /// let changed = users.set_password(&ada.id, hash, "bcrypt", true, Default::default()).await?;
    /// assert_eq!(changed.token_epoch, ada.token_epoch + 1);
    /// # Ok(())
    /// # }
    /// ```
    async fn set_password(
        &self,
        id: &UserId,
        password_hash: Secret,
        password_algorithm: &str,
        end_sessions: bool,
        options: UserOptions,
    ) -> Result<User>;

    /// Counts one attempt before the password is tested, so that concurrent guesses cannot test more than the policy allows.
    ///
    /// The attempt that reaches the threshold is still allowed, and locks. A lock that is over, or a window in which nothing
    /// failed, starts the count anew. A wrong password needs no further call.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{LoginAttempt, LoginPolicy, NewUser, Secret, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// let ada = users.create_user(ada, Default::default()).await?;
    /// let mut policy = LoginPolicy::default();
    /// policy.threshold = 1;
    /// let first = users.begin_login_attempt(&ada.id, policy, Default::default()).await?;
    /// assert!(matches!(first, LoginAttempt::Allowed(_)));
    /// let second = users.begin_login_attempt(&ada.id, policy, Default::default()).await?;
    /// assert!(matches!(second, LoginAttempt::Locked { .. }));
    /// # Ok(())
    /// # }
    /// ```
    async fn begin_login_attempt(
        &self,
        id: &UserId,
        policy: LoginPolicy,
        options: UserOptions,
    ) -> Result<LoginAttempt>;

    /// Counts one failure of a login that took no ticket, also while the account is locked. No failure is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{LoginPolicy, NewUser, Secret, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// let ada = users.create_user(ada, Default::default()).await?;
    /// let policy = LoginPolicy::default();
    /// let stats = users.record_login_failure(&ada.id, policy, Default::default()).await?;
    /// assert_eq!(stats.failed_attempts, 1);
    /// # Ok(())
    /// # }
    /// ```
    async fn record_login_failure(
        &self,
        id: &UserId,
        policy: LoginPolicy,
        options: UserOptions,
    ) -> Result<LoginStats>;

    /// Resets the count, the lock and the number of locks after a right password, so that the next lock is a short one again.
    ///
    /// With the ticket of the window that locked the account, the lock goes. With an older one or none, a locked account
    /// stays locked, and the caller must deny the login: a stale success must not lift a lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{LoginAttempt, LoginPolicy, LoginSuccess, NewUser, Secret, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// let ada = NewUser::new("Ada", Secret::new("$argon2id$v=19$..."), "argon2id");
    /// let ada = users.create_user(ada, Default::default()).await?;
    /// let policy = LoginPolicy::default();
    /// let attempt = users.begin_login_attempt(&ada.id, policy, Default::default()).await?;
    /// let LoginAttempt::Allowed(ticket) = attempt else { panic!("locked") };
    /// let success = users.record_login_success(&ada.id, Some(ticket), Default::default()).await?;
    /// assert_eq!(success, LoginSuccess::Recorded);
    /// # Ok(())
    /// # }
    /// ```
    async fn record_login_success(
        &self,
        id: &UserId,
        ticket: Option<LoginTicket>,
        options: UserOptions,
    ) -> Result<LoginSuccess>;

    /// Verifies that names are unique in the database and creates the index that says so when it is missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) with the number of names that several accounts have; nothing is
    /// changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// users.ensure_indexes().await?;
    /// # Ok(())
    /// # }
    /// ```
    async fn ensure_indexes(&self) -> Result<()>;

    /// As [`DocumentStore::close`](crate::DocumentStore::close). Other stores of the same backend stay open.
    ///
    /// # Examples
    ///
    /// ```
    /// use syntrix_storage::{ErrorKind, Storage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> syntrix_storage::Result<()> {
    /// let storage = Storage::memory().await?;
    /// let users = storage.users()?;
    /// users.close().await?;
    /// let error = users.get_user_by_username("ada", Default::default()).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Closed);
    /// assert!(storage.documents().is_ok(), "the other stores stay open");
    /// # Ok(())
    /// # }
    /// ```
    async fn close(&self) -> Result<()>;
}

/// Users and revocations together, for constructors that want both.
pub trait AuthStore: Send + Sync + fmt::Debug {
    /// The accounts.
    fn users(&self) -> Arc<dyn UserStore>;

    /// The revoked tokens.
    fn revocations(&self) -> Arc<dyn TokenRevocationStore>;
}
