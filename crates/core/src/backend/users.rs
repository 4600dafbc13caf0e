//! The thin backend behind a store of accounts.

use async_trait::async_trait;

use crate::backend::CallContext;
use crate::capabilities::Capabilities;
use crate::document::Version;
use crate::document_admin::HealthReport;
use crate::error::Result;
use crate::login::LoginStats;
use crate::time::Timestamp;
use crate::user::{User, UserId};
use crate::user_list::UserListPlan;
use crate::username::UsernameKey;

/// An account as a backend keeps it.
#[derive(Clone, Debug)]
pub struct UserRecord {
    /// What applications see, hash included.
    pub user: User,
    /// The folded name; unique among accounts that are not deleted.
    pub key: UsernameKey,
    /// The rule the name was folded by, [`UsernameKey::RULE_VERSION`].
    pub key_rule_version: u16,
    /// Counts login windows. A ticket names the one it was given out in.
    pub login_window: u64,
    /// Counts writes to the login part, which [`Version`] does not.
    pub login_sequence: u64,
}

/// The part of an account that logins write: everything else stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginState {
    /// What applications see of it.
    pub stats: LoginStats,
    /// See [`UserRecord::login_window`].
    pub window: u64,
    /// See [`UserRecord::login_sequence`].
    pub sequence: u64,
}

impl UserRecord {
    /// The login part.
    pub fn login_state(&self) -> LoginState {
        LoginState {
            stats: self.user.login.clone(),
            window: self.login_window,
            sequence: self.login_sequence,
        }
    }

    /// Replaces the login part.
    pub fn set_login_state(&mut self, state: LoginState) {
        self.user.login = state.stats;
        self.login_window = state.window;
        self.login_sequence = state.sequence;
    }
}

/// One conditional write of one account, applied as a whole or not at all.
#[derive(Clone, Debug)]
pub enum UserWrite {
    /// Stores a new account if its id is unknown, tombstones included, and its name is free.
    Insert(Box<UserRecord>),
    /// Replaces everything but the login part if the account has the version `expected` and its name is free or its own.
    Replace {
        /// The version that must be there.
        expected: Version,
        /// What to store; its login part is not.
        record: Box<UserRecord>,
    },
    /// Replaces the login part alone if it has the sequence `expected`.
    Login {
        /// Which account.
        id: UserId,
        /// The sequence that must be there.
        expected: u64,
        /// What to store.
        state: LoginState,
    },
}

/// What became of a [`UserWrite`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserApplied {
    /// It was applied.
    Yes,
    /// The id is known already, perhaps as a tombstone.
    IdTaken,
    /// Another account has the name.
    NameTaken,
    /// The version or sequence is another one, or there is no such account.
    Stale,
}

/// What was read, and the store's time when it was.
#[derive(Clone, Debug)]
pub struct Dated<T> {
    /// What was read.
    pub value: T,
    /// The store's own time: the server's, or the injected clock's where there is no server.
    pub now: Timestamp,
}

/// A place for accounts: stores and finds, decides nothing.
#[async_trait]
pub trait UserBackend: Send + Sync + std::fmt::Debug {
    /// The kind in the configuration, for example `sqlite`.
    fn kind(&self) -> &'static str;

    /// What it offers; what concerns documents alone is off.
    fn capabilities(&self) -> Capabilities;

    /// Reads an account by id, tombstones included.
    async fn get(&self, id: &UserId, context: &CallContext) -> Result<Dated<Option<UserRecord>>>;

    /// Reads an account that is not deleted by folded name.
    async fn get_by_name(
        &self,
        key: &UsernameKey,
        context: &CallContext,
    ) -> Result<Dated<Option<UserRecord>>>;

    /// Runs one write.
    async fn write(&self, write: UserWrite, context: &CallContext) -> Result<UserApplied>;

    /// Answers a list: at most [`UserListPlan::rows_max`] accounts by id. It need not bring the hashes.
    async fn list(&self, plan: &UserListPlan, context: &CallContext) -> Result<Vec<UserRecord>>;

    /// Makes sure that names are unique: verifies the index that says so, creates it when missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) with the number of names that several accounts have, or if an
    /// index of that name is not what it should be.
    async fn ensure_indexes(&self) -> Result<()>;

    /// Probes the backend.
    async fn health(&self) -> Result<HealthReport>;

    /// Lets go of everything. Idempotent: a caller may give up and close again.
    async fn close(&self) -> Result<()>;
}
