//! The thin backend behind a store of accounts.

use std::time::Duration;

use async_trait::async_trait;

use crate::backend::CallContext;
use crate::backend::user_changes::{UserChanges, no_feed};
use crate::capabilities::Capabilities;
use crate::document::Version;
use crate::document_admin::HealthReport;
use crate::error::{Error, ErrorKind, Result};
use crate::login::LoginStats;
use crate::time::Timestamp;
use crate::token::Position;
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

    /// What is to be stored if this record, from the store that decides, meets the `stored` one of the same id elsewhere; `None`
    /// if that is as new.
    ///
    /// Account and login part are judged each by its own count, so the records of one account come to the same in any order,
    /// however often each is met. A displaced account is older than any.
    pub fn merged(&self, stored: &Self) -> Option<Self> {
        let account_is_newer = self.user.version > stored.user.version
            || (stored.is_displaced() && self.user.version == stored.user.version);
        let login_is_newer = self.login_sequence > stored.login_sequence;
        let mut next = if account_is_newer { self } else { stored }.clone();
        next.set_login_state(if login_is_newer { self } else { stored }.login_state());
        (account_is_newer || login_is_newer).then_some(next)
    }

    /// This account under a name that nobody can have, until the one it has now by right is told: what keeps a name that
    /// another account got meanwhile free.
    #[must_use]
    pub fn displaced(&self) -> Self {
        let mut displaced = self.clone();
        let name = format!("{DISPLACED}{}", self.user.id.as_str());
        displaced.key = UsernameKey::from_stored(name.as_str());
        displaced.user.username = name;
        displaced
    }

    /// Whether the name is only a stand-in.
    pub fn is_displaced(&self) -> bool {
        self.key.as_str().starts_with(DISPLACED)
    }
}

/// Begins the names of displaced accounts. No name that was asked for begins so.
const DISPLACED: &str = "~displaced:";

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
    /// Replication: replaces the whole account if it has the version and the login sequence `expected`, and its name is free
    /// or its own. A backend that does not have it answers [`ErrorKind::Unsupported`] and can be no shadow.
    Swap {
        /// The version and the login sequence that must be there.
        expected: (Version, u64),
        /// What to store, login part included.
        record: Box<UserRecord>,
    },
}

impl UserWrite {
    /// Whose account it writes.
    pub fn id(&self) -> &UserId {
        match self {
            Self::Insert(record) | Self::Replace { record, .. } | Self::Swap { record, .. } => {
                &record.user.id
            }
            Self::Login { id, .. } => id,
        }
    }
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

    /// Accounts behind `after` by id, with hashes and tombstones, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] from a backend that does not implement this: it can be no primary of a route with a shadow.
    async fn scan(
        &self,
        after: Option<&UserId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<UserRecord>> {
        let _ = (after, limit, context);
        Err(Error::new(ErrorKind::Unsupported, "scan")
            .with_message("this backend cannot hand out its accounts to another one"))
    }

    /// Accounts that were written behind `place`, at most `limit`. Every write that was applied puts its account behind all
    /// places that were given out before, in the transaction of the write: of `Insert`, `Replace`, `Login` and `Swap` alike.
    /// The order is that of commits as far as one account goes.
    ///
    /// `place` is one of [`UserBackend::changes_end`] or the end of a page.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] from a backend that does not implement this: a shadow of it is as old as the last pass over all
    /// accounts. [`ErrorKind::TokenExpired`] if the place is seen not to be of this history, or if what lies behind it was
    /// forgotten.
    async fn changes_since(&self, place: &Position, limit: usize) -> Result<UserChanges> {
        let _ = (place, limit);
        Err(no_feed())
    }

    /// The place behind the last committed write. A scan or read that begins afterwards sees everything up to it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] as [`UserBackend::changes_since`].
    async fn changes_end(&self) -> Result<Position> {
        Err(no_feed())
    }

    /// Returns when there may be writes behind `place`, by whatever process, at the latest after `timeout`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] as [`UserBackend::changes_since`].
    async fn wait_for_change(&self, place: &Position, timeout: Duration) -> Result<()> {
        let _ = (place, timeout);
        Err(no_feed())
    }

    /// Makes sure that names are unique: verifies the index that says so, creates it when missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`] with the number of names that several accounts have, or if an
    /// index of that name is not what it should be.
    async fn ensure_indexes(&self) -> Result<()>;

    /// Probes the backend.
    async fn health(&self) -> Result<HealthReport>;

    /// Lets go of everything. Idempotent: a caller may give up and close again.
    async fn close(&self) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: i64, sequence: u64) -> UserRecord {
        let id = UserId::parse("u1").unwrap();
        let mut user = User::first(id, "ada", Timestamp::from_milliseconds(1));
        user.version = Version::new(version);
        user.token_epoch = version as u64;
        user.login.failed_attempts = sequence as u32;
        let key = UsernameKey::fold("ada").unwrap();
        UserRecord {
            user,
            key,
            key_rule_version: 1,
            login_window: sequence,
            login_sequence: sequence,
        }
    }

    fn state(record: &UserRecord) -> (i64, u64, u64, u32, bool) {
        let UserRecord { user, login_sequence, .. } = record;
        let failed = user.login.failed_attempts;
        (user.version.get(), user.token_epoch, *login_sequence, failed, record.is_displaced())
    }

    fn meet(records: &[UserRecord]) -> (i64, u64, u64, u32, bool) {
        let mut stored = records[0].clone();
        for record in records.iter().chain(records) {
            stored = record.merged(&stored).unwrap_or(stored);
        }
        state(&stored)
    }

    proptest::proptest! {
        #[test]
        fn records_come_to_the_same_in_any_order_however_often_each_is_met(
            counts in proptest::collection::vec((1_i64..4, 0_u64..4), 1..6),
            start in 0_usize..6,
        ) {
            let records: Vec<_> = counts.iter().map(|(version, login)| record(*version, *login)).collect();
            let (mut turned, mut reversed) = (records.clone(), records.clone());
            turned.rotate_left(start % records.len());
            reversed.reverse();
            assert_eq!(meet(&turned), meet(&records));
            assert_eq!(meet(&reversed), meet(&records));
        }
    }

    #[test]
    fn a_displaced_account_gets_its_name_back_from_a_record_of_its_own_version() {
        let (whole, displaced) = (record(3, 2), record(3, 2).displaced());
        assert!(displaced.is_displaced() && !whole.is_displaced());
        assert_eq!(whole.merged(&displaced).map(|next| state(&next)), Some(state(&whole)));
        assert!(record(2, 2).merged(&displaced).is_none());
        assert!(whole.merged(&whole).is_none());
    }
}
