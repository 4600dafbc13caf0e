//! Accounts: handles, namespaces, cancellation, close.

use std::fmt::Debug;
use std::time::Duration;

use syntrix_storage_core::{ErrorKind, LoginStats, Result, Secret, UserId, UserPatch};

use super::usr_races::{disabled, options, policy};
use super::usr_steps::{by_id, by_name, create, expect_same, list_all, new_user, update};
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_kind, within, within_limit};

/// `close` waits up to 5 s for calls in flight.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

pub(super) static CASES: &[Case] = &[
    case!(
        "USR-51",
        Usr,
        "Two handles see each other's accounts, and closing one leaves the other at work.",
        "Caches of accounts, and a connection that the first to leave closes.",
        [Shared],
        async |context| {
            let second = context.second_handle().await?;
            let there = second.users()?;
            let ada = create(&context, "ada").await?;
            let found = there.get_user_by_username("ada", options()).await?;
            expect_same(&found, &ada, "the account through the other handle")?;
            there.update_user(&ada.id, disabled(true), options()).await?;
            expect(by_id(&context, &ada.id).await?.disabled, "a stale answer")?;
            within_limit(CLOSE_LIMIT, second.close()).await??;
            let read = there.get_user_by_id(&ada.id, options()).await;
            expect_kind(read, ErrorKind::Closed, "the closed handle")?;
            create(&context, "bob").await?;
            expect_equal(&by_id(&context, &ada.id).await?.id, &ada.id, "the open handle")
        }
    ),
    case!(
        "USR-52",
        Usr,
        "Two stores share nothing: one name and id can be in both.",
        "Namespaces that are parts of one table and run together.",
        [],
        async |context| {
            let other = context.other_store().await?.users()?;
            let ada = create(&context, "ada").await?;
            let found = other.get_user_by_id(&ada.id, options()).await;
            expect_kind(found, ErrorKind::NotFound, "the id in the other store")?;
            let found = other.get_user_by_username("ada", options()).await;
            expect_kind(found, ErrorKind::NotFound, "the name in the other store")?;
            let mut namesake = new_user("ADA");
            namesake.id = Some(ada.id.clone());
            other.create_user(namesake, options()).await?;
            other.update_user(&ada.id, disabled(true), options()).await?;
            expect_same(&by_id(&context, &ada.id).await?, &ada, "the account by id")?;
            expect_same(&by_name(&context, "ada").await?, &ada, "the account by name")
        }
    ),
    case!(
        "USR-53",
        Usr,
        "A create whose caller goes away leaves a whole account or none.",
        "A name that is taken by nobody, and half an account.",
        [],
        async |context| { drop_creates(&context, 100).await }
    ),
    case!(
        "USR-54",
        Usr,
        "A deadline that is over is told as timeout, and the store goes on.",
        "Deadlines that are ignored, and handles that are stuck after one.",
        [],
        async |context| {
            let (users, mut late) = (context.users(), options());
            late.timeout = Some(Duration::ZERO);
            let created = users.create_user(new_user("ada"), late.clone()).await;
            expect_kind(created, ErrorKind::Timeout, "create_user")?;
            let bob = create(&context, "bob").await?;
            let found = users.get_user_by_username("bob", late.clone()).await;
            expect_kind(found, ErrorKind::Timeout, "get_user_by_username")?;
            let begun = users.begin_login_attempt(&bob.id, policy(3), late).await;
            expect_kind(begun, ErrorKind::Timeout, "begin_login_attempt")?;
            let mut patient = options();
            patient.timeout = Some(Duration::from_secs(5));
            let found = users.get_user_by_id(&bob.id, patient).await?;
            expect_equal((found.version, found.login), (bob.version, bob.login), "the account")?;
            let ada = users.get_user_by_username("ada", options()).await;
            expect_kind(ada, ErrorKind::NotFound, "the account that had no time")?;
            Ok(())
        }
    ),
    case!(
        "USR-55",
        Usr,
        "Operators see whether the store is ready and what it offers; a purge takes no account.",
        "Probes that look at nothing, and accounts that expire.",
        [],
        async |context| {
            let (ada, gone) = (create(&context, "ada").await?, create(&context, "gone").await?);
            let gone = update(&context, &gone.id, disabled(true)).await?;
            context.clock().advance(Duration::from_secs(400 * 24 * 60 * 60));
            let admin = context.store_admin();
            let report = admin.health().await?;
            expect(report.ready, "an open store is not ready")?;
            expect(!report.backend.is_empty(), "the report names no backend")?;
            expect_equal(admin.capabilities(), context.capabilities(), "what is offered")?;
            while admin.purge_expired(100).await?.more {}
            for user in [&ada, &gone] {
                expect_same(&by_id(&context, &user.id).await?, user, "an account")?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-37",
        Usr,
        "After close each operation, also an operator's, is refused as closed and named.",
        "Calls that hang, reconnect or answer from a cache.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            within_limit(CLOSE_LIMIT, context.users().close()).await??;
            within(every_operation_is_closed(&context, &ada.id)).await??;
            within_limit(CLOSE_LIMIT, context.handle().close()).await??;
            within_limit(CLOSE_LIMIT, context.users().close()).await??;
            Ok(())
        }
    ),
];

async fn every_operation_is_closed(context: &Context, id: &UserId) -> CaseResult {
    let (users, admin) = (context.users(), context.store_admin());
    closed("create_user", users.create_user(new_user("bob"), options()).await)?;
    closed("get_user_by_username", users.get_user_by_username("ada", options()).await)?;
    closed("get_user_by_id", users.get_user_by_id(id, options()).await)?;
    let set = users.update_user_login_stats(id, LoginStats::default(), options()).await;
    closed("update_user_login_stats", set)?;
    let listed = users.list_users(Default::default(), Default::default(), options()).await;
    closed("list_users", listed)?;
    closed("update_user", users.update_user(id, UserPatch::default(), options()).await)?;
    let set = users.set_password(id, Secret::new("x"), "argon2id", false, options()).await;
    closed("set_password", set)?;
    closed("begin_login_attempt", users.begin_login_attempt(id, policy(3), options()).await)?;
    closed("record_login_failure", users.record_login_failure(id, policy(3), options()).await)?;
    closed("record_login_success", users.record_login_success(id, None, options()).await)?;
    closed("ensure_indexes", users.ensure_indexes().await)?;
    closed("purge_expired", admin.purge_expired(1).await)?;
    closed("health", admin.health().await)
}

fn closed<T: Debug>(operation: &str, result: Result<T>) -> CaseResult {
    let error = expect_kind(result, ErrorKind::Closed, operation)?;
    expect_equal(error.operation(), operation, "operation of the error")
}

/// Drops `count` creates half way and repeats each. A name is whole or free, so one of both got it.
async fn drop_creates(context: &Context, count: usize) -> CaseResult {
    for number in 0..count {
        let name = format!("n{number}");
        let (users, user) = (context.users(), new_user(&name));
        let task = tokio::spawn(async move { users.create_user(user, options()).await.map(drop) });
        tokio::time::sleep(Duration::from_micros(number as u64 * 10)).await;
        task.abort();
        let _ = task.await;
        match context.users().create_user(new_user(&name), options()).await {
            Ok(_) => {}
            Err(error) => expect_equal(error.kind(), ErrorKind::AlreadyExists, "the repeat")?,
        }
        let found = by_name(context, &name).await?;
        expect(found.password_hash.is_some(), "an account without a hash")?;
        expect_same(&by_id(context, &found.id).await?, &found, "the account by id")?;
    }
    let names = list_all(context, &Default::default(), 200).await?.concat();
    expect_equal(names.len(), count, "accounts, one of each name")
}
