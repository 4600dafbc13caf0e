//! Stores of accounts with one defect each.

use std::sync::Arc;

use async_trait::async_trait;
use syntrix_storage::{
    Error, ErrorKind, LoginAttempt, LoginPolicy, LoginStats, LoginSuccess, LoginTicket, NewUser,
    Result, Secret, Timestamp, User, UserFilter, UserId, UserOptions, UserPage, UserPageRequest,
    UserPatch, UserStore,
};

use crate::Defect;

#[derive(Debug)]
pub(crate) struct BrokenUsers {
    pub(crate) inner: Arc<dyn UserStore>,
    pub(crate) defect: Defect,
}

impl BrokenUsers {
    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn shown(&self, mut user: User) -> Result<User> {
        if user.disabled && self.has(Defect::HidesDisabledAccounts) {
            return Err(Error::new(ErrorKind::NotFound, "get_user"));
        }
        if user.login.lockout_until.is_none() && self.has(Defect::ClearsLocksAsEpoch) {
            user.login.lockout_until = Some(Timestamp::from_milliseconds(0));
        }
        Ok(user)
    }

    /// Reads, then writes back what it read: a login in between is lost.
    async fn restore_login(&self, id: &UserId, before: LoginStats) -> Result<()> {
        self.inner.update_user_login_stats(id, before, UserOptions::default()).await
    }
}

#[async_trait]
impl UserStore for BrokenUsers {
    async fn create_user(&self, user: NewUser, options: UserOptions) -> Result<User> {
        self.inner.create_user(user, options).await
    }

    async fn get_user_by_username(&self, username: &str, options: UserOptions) -> Result<User> {
        let user = self.inner.get_user_by_username(username, options).await?;
        if user.username != username && self.has(Defect::FindsNamesExactly) {
            return Err(Error::new(ErrorKind::NotFound, "get_user_by_username"));
        }
        self.shown(user)
    }

    async fn get_user_by_id(&self, id: &UserId, options: UserOptions) -> Result<User> {
        self.shown(self.inner.get_user_by_id(id, options).await?)
    }

    async fn update_user_login_stats(
        &self,
        id: &UserId,
        stats: LoginStats,
        options: UserOptions,
    ) -> Result<()> {
        self.inner.update_user_login_stats(id, stats, options).await
    }

    async fn list_users(
        &self,
        filter: UserFilter,
        page: UserPageRequest,
        options: UserOptions,
    ) -> Result<UserPage> {
        let mut page = self.inner.list_users(filter, page, options).await?;
        if self.has(Defect::ListsHashes) {
            for user in &mut page.users {
                user.password_hash = Some(Secret::new("a hash"));
            }
        }
        if page.next.is_none() && self.has(Defect::LosesTheLastOfAList) {
            page.users.pop();
        }
        Ok(page)
    }

    async fn update_user(
        &self,
        id: &UserId,
        patch: UserPatch,
        mut options: UserOptions,
    ) -> Result<User> {
        if self.has(Defect::IgnoresExpectedVersions) {
            options.expected_version = None;
        }
        if !self.has(Defect::RestoresOnUpdate) {
            return self.inner.update_user(id, patch, options).await;
        }
        let before = self.inner.get_user_by_id(id, UserOptions::default()).await?.login;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let user = self.inner.update_user(id, patch, options).await?;
        self.restore_login(id, before).await?;
        Ok(user)
    }

    async fn set_password(
        &self,
        id: &UserId,
        password_hash: Secret,
        password_algorithm: &str,
        end_sessions: bool,
        options: UserOptions,
    ) -> Result<User> {
        let algorithm = password_algorithm;
        self.inner.set_password(id, password_hash, algorithm, end_sessions, options).await
    }

    async fn begin_login_attempt(
        &self,
        id: &UserId,
        policy: LoginPolicy,
        options: UserOptions,
    ) -> Result<LoginAttempt> {
        if !self.has(Defect::CountsAttemptsAfterwards) {
            return self.inner.begin_login_attempt(id, policy, options).await;
        }
        let user = self.inner.get_user_by_id(id, options.clone()).await?;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let attempt = self.inner.begin_login_attempt(id, policy, options).await?;
        match (user.login.lockout_until, attempt) {
            (None, LoginAttempt::Locked { .. }) => {
                Ok(LoginAttempt::Allowed(LoginTicket::new(1, 0)))
            }
            (_, attempt) => Ok(attempt),
        }
    }

    async fn record_login_failure(
        &self,
        id: &UserId,
        policy: LoginPolicy,
        options: UserOptions,
    ) -> Result<LoginStats> {
        self.inner.record_login_failure(id, policy, options).await
    }

    async fn record_login_success(
        &self,
        id: &UserId,
        ticket: Option<LoginTicket>,
        options: UserOptions,
    ) -> Result<LoginSuccess> {
        let success = self.inner.record_login_success(id, ticket, options).await?;
        if self.has(Defect::LiftsLocksWithStaleTickets) {
            self.restore_login(id, LoginStats::default()).await?;
            return Ok(LoginSuccess::Recorded);
        }
        Ok(success)
    }

    async fn ensure_indexes(&self) -> Result<()> {
        self.inner.ensure_indexes().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
