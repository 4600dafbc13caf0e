//! The store of accounts over a thin backend: read, evaluate here, compare-and-set.

mod change;
mod login;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage_core::backend::{
    CallContext, Dated, LoginState, StoreKind, UserApplied, UserBackend, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    Capabilities, Error, ErrorKind, HealthReport, LoginAttempt, LoginPolicy, LoginStats,
    LoginSuccess, LoginTicket, NewUser, Operation, PurgeReport, Result, Retry, Secret, StoreAdmin,
    Timestamp, User, UserFilter, UserId, UserListPlan, UserOptions, UserPage, UserPageRequest,
    UserPatch, UserStore, UsernameKey, Version, check_password,
};

use crate::calls::{Calls, deadline};
use crate::meter::Meter;
use crate::options::EngineOptions;
use crate::retry::{ATTEMPTS_MAX, pause};
use crate::turns::Turns;
use change::Change;

/// A store of accounts over a backend.
pub struct UserEngine {
    backend: Arc<dyn UserBackend>,
    calls: Calls,
    turns: Turns,
}

impl UserEngine {
    /// Starts an engine.
    pub fn start(backend: Arc<dyn UserBackend>, options: &EngineOptions) -> Self {
        let calls = Calls::new(Meter::new(StoreKind::Users, backend.kind()), options.close_timeout);
        Self { backend, calls, turns: Turns::new() }
    }

    async fn create(&self, user: NewUser, options: &UserOptions) -> Result<User> {
        let key = UsernameKey::fold(&user.username)?;
        let user = user.check()?;
        // Brings the store's time, and spares the write in the usual case of a taken name; the write decides.
        let found = self.backend.get_by_name(&key, &read(options)).await?;
        if found.value.is_some() {
            return Err(taken("username"));
        }
        let record = change::first(user, key, found.now)?;
        let insertion = UserWrite::Insert(Box::new(record.clone()));
        match self.backend.write(insertion, &write(options)).await? {
            UserApplied::Yes => Ok(record.user),
            UserApplied::NameTaken => Err(taken("username")),
            UserApplied::IdTaken => Err(taken("id")),
            UserApplied::Stale => Err(wrong_outcome()),
        }
    }

    /// A name that no account can have is looked up all the same, so that it costs what any unknown name does.
    async fn find_by_name(&self, username: &str, options: &UserOptions) -> Result<User> {
        let key = UsernameKey::fold(username).unwrap_or_else(|_| UsernameKey::nobody());
        let found = self.backend.get_by_name(&key, &read(options)).await?;
        found.value.map(|record| record.user).ok_or_else(not_found)
    }

    async fn find(&self, id: &UserId, context: &CallContext) -> Result<Dated<UserRecord>> {
        let Dated { value, now } = self.backend.get(id, context).await?;
        let live = value.filter(|record| record.user.deleted_at.is_none());
        Ok(Dated { value: live.ok_or_else(not_found)?, now })
    }

    async fn list(
        &self,
        filter: UserFilter,
        page: UserPageRequest,
        options: &UserOptions,
    ) -> Result<UserPage> {
        let plan = UserListPlan::check(filter, page)?;
        let context = CallContext::new(Operation::Query).with_deadline(deadline(options.timeout));
        let mut records = self.backend.list(&plan, &context).await?;
        let more = records.len() > plan.limit();
        records.truncate(plan.limit());
        let last = records.last().filter(|_| more);
        let next = last.map(|record| plan.cursor_after(&record.user.id));
        let users = records.into_iter().map(without_hash).collect();
        Ok(UserPage::new(users, next))
    }

    /// Reads, evaluates and replaces until nobody was faster.
    async fn change(&self, id: &UserId, change: Change, options: &UserOptions) -> Result<User> {
        let _turn = self.turn(id).await;
        for attempt in 0..ATTEMPTS_MAX {
            let current = self.find(id, &read(options)).await?;
            check_version(&current.value, options.expected_version)?;
            let expected = current.value.user.version;
            let record = change.apply(current.value, current.now)?;
            let replacement = UserWrite::Replace { expected, record: Box::new(record.clone()) };
            match self.backend.write(replacement, &write(options)).await? {
                UserApplied::Yes => return Ok(record.user),
                UserApplied::NameTaken => return Err(taken("username")),
                UserApplied::IdTaken => return Err(wrong_outcome()),
                UserApplied::Stale => pause(attempt).await,
            }
        }
        Err(conflict())
    }

    /// As [`UserEngine::change`], for the login part. `evaluate` gives the new state, or none to leave it, and the answer.
    async fn change_login<T>(
        &self,
        id: &UserId,
        options: &UserOptions,
        evaluate: impl Fn(&LoginState, Timestamp) -> (Option<LoginState>, T),
    ) -> Result<T> {
        let _turn = self.turn(id).await;
        for attempt in 0..ATTEMPTS_MAX {
            let current = self.find(id, &read(options)).await?;
            let stored = current.value.login_state();
            let (state, answer) = evaluate(&stored, current.now);
            let Some(mut state) = state else { return Ok(answer) };
            state.sequence = stored.sequence + 1;
            let change = UserWrite::Login { id: id.clone(), expected: stored.sequence, state };
            match self.backend.write(change, &write(options)).await? {
                UserApplied::Yes => return Ok(answer),
                UserApplied::Stale => pause(attempt).await,
                UserApplied::IdTaken | UserApplied::NameTaken => return Err(wrong_outcome()),
            }
        }
        Err(conflict())
    }

    async fn turn(&self, id: &UserId) -> tokio::sync::MutexGuard<'_, ()> {
        // Any spread will do: ids that share a turn wait for each other, no more.
        let digest = id.as_str().bytes().fold(0u8, |sum, byte| sum.wrapping_mul(31) ^ byte);
        self.turns.take(digest).await
    }
}

#[async_trait]
impl UserStore for UserEngine {
    async fn create_user(&self, user: NewUser, options: UserOptions) -> Result<User> {
        self.calls.run("create_user", options.timeout, self.create(user, &options)).await
    }

    async fn get_user_by_username(&self, username: &str, options: UserOptions) -> Result<User> {
        let work = self.find_by_name(username, &options);
        self.calls.run("get_user_by_username", options.timeout, work).await
    }

    async fn get_user_by_id(&self, id: &UserId, options: UserOptions) -> Result<User> {
        let work = async { Ok(self.find(id, &read(&options)).await?.value.user) };
        self.calls.run("get_user_by_id", options.timeout, work).await
    }

    async fn update_user_login_stats(
        &self,
        id: &UserId,
        stats: LoginStats,
        options: UserOptions,
    ) -> Result<()> {
        let work = async {
            stats.check()?;
            let set = |state: &LoginState, _| (Some(login::set(state, &stats)), ());
            self.change_login(id, &options, set).await
        };
        self.calls.run("update_user_login_stats", options.timeout, work).await
    }

    async fn list_users(
        &self,
        filter: UserFilter,
        page: UserPageRequest,
        options: UserOptions,
    ) -> Result<UserPage> {
        self.calls.run("list_users", options.timeout, self.list(filter, page, &options)).await
    }

    async fn update_user(
        &self,
        id: &UserId,
        patch: UserPatch,
        options: UserOptions,
    ) -> Result<User> {
        let work = async { self.change(id, Change::patch(patch)?, &options).await };
        self.calls.run("update_user", options.timeout, work).await
    }

    async fn set_password(
        &self,
        id: &UserId,
        password_hash: Secret,
        password_algorithm: &str,
        end_sessions: bool,
        options: UserOptions,
    ) -> Result<User> {
        let work = async {
            check_password(&password_hash, password_algorithm)?;
            let algorithm = password_algorithm.to_owned();
            let change = Change::Password { hash: password_hash, algorithm, end_sessions };
            self.change(id, change, &options).await
        };
        self.calls.run("set_password", options.timeout, work).await
    }

    async fn begin_login_attempt(
        &self,
        id: &UserId,
        policy: LoginPolicy,
        options: UserOptions,
    ) -> Result<LoginAttempt> {
        let work = async {
            policy.check()?;
            let begin = |state: &LoginState, now| login::begin(state, &policy, now);
            self.change_login(id, &options, begin).await
        };
        self.calls.run("begin_login_attempt", options.timeout, work).await
    }

    async fn record_login_failure(
        &self,
        id: &UserId,
        policy: LoginPolicy,
        options: UserOptions,
    ) -> Result<LoginStats> {
        let work = async {
            policy.check()?;
            let fail = |state: &LoginState, now| login::fail(state, &policy, now);
            self.change_login(id, &options, fail).await
        };
        self.calls.run("record_login_failure", options.timeout, work).await
    }

    async fn record_login_success(
        &self,
        id: &UserId,
        ticket: Option<LoginTicket>,
        options: UserOptions,
    ) -> Result<LoginSuccess> {
        let succeed = |state: &LoginState, now| login::succeed(state, ticket, now);
        let work = self.change_login(id, &options, succeed);
        self.calls.run("record_login_success", options.timeout, work).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        self.calls.run("ensure_indexes", None, self.backend.ensure_indexes()).await
    }

    async fn close(&self) -> Result<()> {
        self.calls.close(self.backend.close()).await
    }
}

#[async_trait]
impl StoreAdmin for UserEngine {
    /// Accounts do not expire: nothing is removed.
    async fn purge_expired(&self, _: usize) -> Result<PurgeReport> {
        self.calls.run("purge_expired", None, async { Ok(PurgeReport::default()) }).await
    }

    async fn health(&self) -> Result<HealthReport> {
        self.calls.health(self.backend.health()).await
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }
}

impl Drop for UserEngine {
    fn drop(&mut self) {
        self.calls.abandon();
    }
}

impl fmt::Debug for UserEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UserEngine").field("backend", &self.backend).finish_non_exhaustive()
    }
}

/// Logins and changes of accounts see the last commit: a replica that lags would forget a lock.
fn read(options: &UserOptions) -> CallContext {
    CallContext::new(Operation::ReadStrong).with_deadline(deadline(options.timeout))
}

fn write(options: &UserOptions) -> CallContext {
    CallContext::new(Operation::Write).with_deadline(deadline(options.timeout))
}

fn without_hash(mut record: UserRecord) -> User {
    record.user.password_hash = None;
    record.user
}

fn check_version(record: &UserRecord, expected: Option<Version>) -> Result<()> {
    let current = record.user.version;
    if expected.is_none_or(|expected| expected == current) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::PreconditionFailed, "")
        .with_message("the account has another version; read it again")
        .with_fact("version", current))
}

fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "").with_message("there is no such account")
}

fn taken(field: &'static str) -> Error {
    Error::new(ErrorKind::AlreadyExists, "")
        .with_message("another account has it; choose another one")
        .with_fact("field", field)
}

fn conflict() -> Error {
    Error::new(ErrorKind::Conflict, "")
        .with_message("other writers were faster every time; nothing was written, try again")
        .with_retry(Retry::Safe)
        .with_fact("attempts", ATTEMPTS_MAX)
}

fn wrong_outcome() -> Error {
    Error::new(ErrorKind::Internal, "").with_message("the backend gave an outcome of another write")
}
