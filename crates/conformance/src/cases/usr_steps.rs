//! What many cases about accounts do.

use serde_json::{Map, Value};
use syntrix_storage_core::{
    Cursor, LoginAttempt, LoginPolicy, LoginTicket, NewUser, Secret, User, UserFilter, UserId,
    UserPage, UserPageRequest, UserPatch,
};

use crate::{CaseResult, Context, Failure, expect, expect_equal};

/// No case has more pages than this; beyond it a cursor goes round in circles.
const PAGES_MAX: usize = 1000;

/// Of no password; whoever runs the suite can look for it where no hash belongs.
pub(super) const HASH: &str = crate::canary::PASSWORD_HASH;

pub(super) fn new_user(name: &str) -> NewUser {
    NewUser::new(name, Secret::new(HASH), "argon2id")
}

pub(super) async fn create(context: &Context, name: &str) -> CaseResult<User> {
    Ok(context.users().create_user(new_user(name), Default::default()).await?)
}

pub(super) async fn by_id(context: &Context, id: &UserId) -> CaseResult<User> {
    Ok(context.users().get_user_by_id(id, Default::default()).await?)
}

pub(super) async fn by_name(context: &Context, name: &str) -> CaseResult<User> {
    Ok(context.users().get_user_by_username(name, Default::default()).await?)
}

pub(super) async fn update(context: &Context, id: &UserId, patch: UserPatch) -> CaseResult<User> {
    Ok(context.users().update_user(id, patch, Default::default()).await?)
}

pub(super) fn renamed(name: &str) -> UserPatch {
    let mut patch = UserPatch::default();
    patch.username = Some(name.into());
    patch
}

pub(super) async fn attempt(
    context: &Context,
    id: &UserId,
    policy: LoginPolicy,
) -> CaseResult<LoginAttempt> {
    Ok(context.users().begin_login_attempt(id, policy, Default::default()).await?)
}

/// An attempt that must be allowed.
pub(super) async fn ticket(
    context: &Context,
    id: &UserId,
    policy: LoginPolicy,
) -> CaseResult<LoginTicket> {
    match attempt(context, id, policy).await? {
        LoginAttempt::Allowed(ticket) => Ok(ticket),
        locked => Err(Failure::new(format_args!("an attempt was refused: {locked:?}"))),
    }
}

/// Everything that is stored of an account, the hash included.
pub(super) fn facts(user: &User) -> String {
    format!("{user:?} {:?}", user.password_hash.as_ref().map(Secret::expose))
}

pub(super) fn expect_same(actual: &User, expected: &User, what: &str) -> CaseResult {
    expect_equal(facts(actual), facts(expected), what)
}

pub(super) async fn list(
    context: &Context,
    filter: &UserFilter,
    request: UserPageRequest,
) -> CaseResult<UserPage> {
    Ok(context.users().list_users(filter.clone(), request, Default::default()).await?)
}

pub(super) fn by_prefix(prefix: &str) -> UserFilter {
    let mut filter = UserFilter::default();
    filter.name_prefix = Some(prefix.into());
    filter
}

pub(super) fn by_role(role: &str) -> UserFilter {
    let mut filter = UserFilter::default();
    filter.role = Some(role.into());
    filter
}

pub(super) fn request(limit: Option<u32>, after: Option<Cursor>) -> UserPageRequest {
    let mut request = UserPageRequest::default();
    (request.limit, request.after) = (limit, after);
    request
}

pub(super) async fn page(
    context: &Context,
    filter: &UserFilter,
    limit: Option<u32>,
    after: Option<Cursor>,
) -> CaseResult<UserPage> {
    list(context, filter, request(limit, after)).await
}

pub(super) fn ids_of(page: &UserPage) -> Vec<String> {
    page.users.iter().map(|user| user.id.to_string()).collect()
}

/// The names of all pages, each with at most `limit` accounts.
pub(super) async fn list_all(
    context: &Context,
    filter: &UserFilter,
    limit: u32,
) -> CaseResult<Vec<Vec<String>>> {
    let names = |page: UserPage| page.users.into_iter().map(|user| user.username).collect();
    Ok(pages(context, filter, limit).await?.into_iter().map(names).collect())
}

/// As [`list_all`], the ids.
pub(super) async fn ids(
    context: &Context,
    filter: &UserFilter,
    limit: u32,
) -> CaseResult<Vec<Vec<String>>> {
    Ok(pages(context, filter, limit).await?.iter().map(ids_of).collect())
}

/// All pages. An empty one behind a cursor fails the case.
async fn pages(context: &Context, filter: &UserFilter, limit: u32) -> CaseResult<Vec<UserPage>> {
    let (mut pages, mut after) = (Vec::new(), None);
    while pages.len() < PAGES_MAX {
        let page = page(context, filter, Some(limit), after).await?;
        expect(pages.is_empty() || !page.users.is_empty(), "a cursor led to an empty page")?;
        after = page.next.clone();
        pages.push(page);
        if after.is_none() {
            return Ok(pages);
        }
    }
    Err(Failure::new("the pages of the list never end"))
}

/// The members of a JSON object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}
