//! What a side does with accounts.

use std::sync::Arc;

use syntrix_storage_core::backend::StoreKind;
use syntrix_storage_core::{
    ErrorKind, LoginAttempt, LoginPolicy, LoginStats, LoginTicket, NewUser, Secret, UserFilter,
    UserId, UserOptions, UserPageRequest, UserPatch, UserStore, Version,
};

use super::answer::{self, Times};
use super::script::{Expected, Step};
use super::side::Side;
use crate::check::{CaseResult, Failure};

/// The hashes that accounts get: answers tell which, and show neither.
pub(super) const HASHES: [&str; 2] = [crate::canary::PASSWORD_HASH, "$argon2id$v=19$second"];
/// No list of a script has more pages.
const PAGES_MAX: usize = 100;

pub(super) fn is_about(step: &Step) -> bool {
    use Step::*;
    matches!(
        step,
        CreateUser { .. }
            | UpdateUser { .. }
            | SetPassword { .. }
            | Attempt { .. }
            | Fail { .. }
            | Succeed { .. }
            | SetLogins { .. }
            | GetUser { .. }
            | FindUser { .. }
            | ListUsers { .. }
    )
}

pub(super) async fn run(side: &mut Side, step: &Step) -> CaseResult<String> {
    let users = side.handle(StoreKind::Users).await?.users()?;
    let times = side.times(StoreKind::Users);
    match step {
        Step::FindUser { name } => {
            let found = users.get_user_by_username(name, Default::default()).await;
            answer::of(found, |user| Ok(answer::user(&user, times)))
        }
        Step::ListUsers { .. } => list(&users, step, times).await,
        Step::CreateUser { .. } => create(&users, step, times).await,
        Step::UpdateUser { id, .. }
        | Step::SetPassword { id, .. }
        | Step::Attempt { id, .. }
        | Step::Fail { id, .. }
        | Step::Succeed { id, .. }
        | Step::SetLogins { id, .. }
        | Step::GetUser { id } => match UserId::parse(id) {
            Ok(id) => about_one(side, &users, &id, step, times).await,
            Err(error) => Ok(answer::error_text(&error)),
        },
        other => Err(Failure::new(format_args!("`{other}` is not about accounts"))),
    }
}

async fn create(users: &Arc<dyn UserStore>, step: &Step, times: Times) -> CaseResult<String> {
    let Step::CreateUser { id, name, roles, profile } = step else { return Ok(String::new()) };
    let mut user = NewUser::new(name.clone(), Secret::new(HASHES[0]), "argon2id");
    user.id = Some(UserId::parse(id)?);
    user.roles = roles.iter().cloned().collect();
    user.profile = profile.clone();
    let created = users.create_user(user, Default::default()).await;
    answer::of(created, |user| Ok(answer::user(&user, times)))
}

async fn about_one(
    side: &mut Side,
    users: &Arc<dyn UserStore>,
    id: &UserId,
    step: &Step,
    times: Times,
) -> CaseResult<String> {
    let show = |user| Ok(answer::user(&user, times));
    match step {
        Step::GetUser { .. } => {
            answer::of(users.get_user_by_id(id, Default::default()).await, show)
        }
        Step::UpdateUser { version, .. } => {
            let options = expecting(users, id, *version).await?;
            answer::of(users.update_user(id, patch(step), options).await, show)
        }
        Step::SetPassword { second, end_sessions, version, .. } => {
            let options = expecting(users, id, *version).await?;
            let hash = Secret::new(HASHES[usize::from(*second)]);
            let set = users.set_password(id, hash, "argon2id", *end_sessions, options).await;
            answer::of(set, show)
        }
        Step::SetLogins { failed, locked, .. } => {
            let mut stats = LoginStats::default();
            stats.failed_attempts = *failed;
            stats.lockout_until = locked.then(|| side.at(StoreKind::Users, 86_400));
            let set = users.update_user_login_stats(id, stats, Default::default()).await;
            answer::of(set, |()| Ok("set".to_owned()))
        }
        login => log_in(side, users, id, login, times).await,
    }
}

async fn log_in(
    side: &mut Side,
    users: &Arc<dyn UserStore>,
    id: &UserId,
    step: &Step,
    times: Times,
) -> CaseResult<String> {
    match step {
        Step::Attempt { threshold, .. } => {
            let attempt = users.begin_login_attempt(id, policy(*threshold), Default::default());
            answer::of(attempt.await, |attempt| {
                if let LoginAttempt::Allowed(ticket) = attempt {
                    side.tickets.push(ticket);
                }
                Ok(answer::attempt(attempt, times))
            })
        }
        Step::Fail { threshold, .. } => {
            let failed = users.record_login_failure(id, policy(*threshold), Default::default());
            answer::of(failed.await, |stats| Ok(answer::logins(&stats, times)))
        }
        Step::Succeed { ticket, .. } => {
            let ticket = ticket.and_then(|age| taken(&side.tickets, age));
            let succeeded = users.record_login_success(id, ticket, Default::default());
            answer::of(succeeded.await, |success| Ok(answer::success(success, times)))
        }
        other => Err(Failure::new(format_args!("`{other}` is no login"))),
    }
}

/// The ticket that was given out `age` attempts before the last one, whoever got it.
fn taken(tickets: &[LoginTicket], age: usize) -> Option<LoginTicket> {
    tickets.iter().rev().nth(age).copied()
}

fn policy(threshold: u32) -> LoginPolicy {
    let mut policy = LoginPolicy::default();
    policy.threshold = threshold;
    policy
}

fn patch(step: &Step) -> UserPatch {
    let mut patch = UserPatch::default();
    if let Step::UpdateUser { name, roles, disabled, reason, .. } = step {
        patch.username.clone_from(name);
        patch.roles = roles.clone().map(|roles| roles.into_iter().collect());
        patch.disabled = *disabled;
        patch.disabled_reason.clone_from(reason);
    }
    patch
}

async fn expecting(
    users: &Arc<dyn UserStore>,
    id: &UserId,
    version: Expected,
) -> CaseResult<UserOptions> {
    if version == Expected::Any {
        return Ok(UserOptions::default());
    }
    let current = match users.get_user_by_id(id, Default::default()).await {
        Ok(user) => user.version.get(),
        Err(error) if error.kind() == ErrorKind::NotFound => 1,
        Err(error) => return Err(error.into()),
    };
    let behind = i64::from(version == Expected::Previous);
    Ok(UserOptions::default().with_expected_version(Version::new(current - behind)))
}

async fn list(users: &Arc<dyn UserStore>, step: &Step, times: Times) -> CaseResult<String> {
    let (mut lines, mut after) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let (filter, mut request) = list_request(step);
        request.after = after;
        let page = match users.list_users(filter, request, Default::default()).await {
            Ok(page) => page,
            Err(error) => {
                lines.push(answer::error_text(&error));
                return Ok(lines.join("\n  "));
            }
        };
        lines.extend(page.users.iter().map(|user| answer::user(user, times)));
        let Some(next) = page.next else { return Ok(lines.join("\n  ")) };
        // A cursor names no backend, so it is part of the answer.
        lines.push(format!("next {}", next.as_str()));
        after = Some(next);
    }
    Ok("no last page".to_owned())
}

fn list_request(step: &Step) -> (UserFilter, UserPageRequest) {
    let (mut filter, mut request) = (UserFilter::default(), UserPageRequest::default());
    if let Step::ListUsers { prefix, role, disabled, limit } = step {
        filter.name_prefix.clone_from(prefix);
        filter.role.clone_from(role);
        filter.disabled = *disabled;
        request.limit = Some(*limit);
    }
    (filter, request)
}
