//! Accounts: races between handles, and the store as a whole.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::{
    ErrorKind, LoginAttempt, LoginPolicy, LoginStats, Result, Secret, Timestamp, User, UserId,
    UserOptions, UserPatch, UserStore,
};

use super::steps::in_tasks;
use super::usr_steps::{
    attempt, by_id, by_name, create, expect_same, new_user, renamed, ticket, update,
};
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect, expect_equal, within};

const MS: Duration = Duration::from_millis(1);

pub(super) static CASES: &[Case] = &[
    case!(
        "USR-31",
        Usr,
        "Guesses through several handles get as many tickets as the policy says, numbered from 1.",
        "A counter that is guarded within one process only.",
        [],
        async |context| {
            let (ada, stores) = (create(&context, "ada").await?, user_stores(&context).await?);
            let outcomes = in_tasks(60, |number| {
                let (users, id) = (Arc::clone(&stores[number % stores.len()]), ada.id.clone());
                async move { Ok(users.begin_login_attempt(&id, policy(10), options()).await?) }
            });
            let (mut tickets, mut locks) = (Vec::new(), Vec::new());
            for outcome in outcomes.await? {
                match outcome {
                    LoginAttempt::Allowed(ticket) => tickets.push((ticket.attempt, ticket.window)),
                    LoginAttempt::Locked { until } => locks.push(Some(until)),
                    other => return Err(Failure::new(format_args!("{other:?}"))),
                }
            }
            tickets.sort_unstable();
            let window = tickets.first().map_or(0, |ticket| ticket.1);
            let expected: Vec<_> = (1..=10).map(|attempt| (attempt, window)).collect();
            expect_equal(tickets, expected, "the tickets given out")?;
            let login = by_id(&context, &ada.id).await?.login;
            expect_equal((login.failed_attempts, login.lockout_count), (10, 1), "the counts")?;
            expect_equal(locks, vec![login.lockout_until; 50], "the lock the others are told")
        }
    ),
    case!(
        "USR-19",
        Usr,
        "400 failures through several handles are counted one by one and lock once.",
        "Failures that share a count, and locks that each further failure renews.",
        [],
        async |context| {
            let (ada, stores) = (create(&context, "ada").await?, user_stores(&context).await?);
            let tasks = in_tasks(8, |number| {
                let (users, id) = (Arc::clone(&stores[number % stores.len()]), ada.id.clone());
                async move {
                    let mut seen = Vec::new();
                    for _ in 0..50 {
                        seen.push(users.record_login_failure(&id, policy(100), options()).await?);
                    }
                    Ok(seen)
                }
            });
            let mut seen = tasks.await?.concat();
            seen.sort_unstable_by_key(|stats| stats.failed_attempts);
            let counts: Vec<_> = seen.iter().map(|stats| stats.failed_attempts).collect();
            expect_equal(counts, (1..=400).collect::<Vec<_>>(), "what the calls counted")?;
            let login = by_id(&context, &ada.id).await?.login;
            expect_equal((login.failed_attempts, login.lockout_count), (400, 1), "the counts")?;
            let (before, after) = seen.split_at(99);
            expect(before.iter().all(|stats| stats.lockout_until.is_none()), "locked too early")?;
            let same = after.iter().all(|stats| stats.lockout_until == login.lockout_until);
            expect(login.lockout_until.is_some() && same, "locked more than once")
        }
    ),
    case!(
        "USR-41",
        Usr,
        "Of creates and renames that want one name at the same time exactly one gets it.",
        "A check for the name that creates make and renames do not.",
        [],
        async |context| {
            let stores = user_stores(&context).await?;
            let mut others = Vec::new();
            for number in 0..8 {
                others.push(create(&context, &format!("former{number}")).await?.id);
            }
            let outcomes = in_tasks(16, |number| {
                let users = Arc::clone(&stores[number / 2 % stores.len()]);
                let id = others[number / 2].clone();
                async move {
                    Ok(match number % 2 {
                        0 => users.create_user(new_user("ADA"), options()).await,
                        _ => users.update_user(&id, renamed("ada"), options()).await,
                    })
                }
            });
            let winner = only_winner(outcomes.await?, |error| {
                expect_equal(error.kind(), ErrorKind::AlreadyExists, "a loser")?;
                expect_equal(error.fact("field"), Some("username"), "the fact `field`")
            })?;
            expect_same(&by_name(&context, "ada").await?, &winner, "whom the name finds")?;
            expect_same(&by_id(&context, &winner.id).await?, &winner, "the winner")
        }
    ),
    case!(
        "USR-42",
        Usr,
        "Of 32 updates that expect one version exactly one succeeds.",
        "Two editors that both pass the check of a version.",
        [],
        async |context| {
            let (ada, stores) = (create(&context, "ada").await?, user_stores(&context).await?);
            let outcomes = in_tasks(32, |number| {
                let (users, id) = (Arc::clone(&stores[number % stores.len()]), ada.id.clone());
                let options = options().with_expected_version(ada.version);
                let change = patch(|patch| patch.roles = Some([format!("r{number}")].into()));
                async move { Ok(users.update_user(&id, change, options).await) }
            });
            let winner = only_winner(outcomes.await?, |error| {
                expect_equal(error.kind(), ErrorKind::PreconditionFailed, "a loser")?;
                expect_equal(error.fact("version"), Some("2"), "the fact `version`")
            })?;
            expect_same(&by_id(&context, &ada.id).await?, &winner, "what is stored")
        }
    ),
    case!(
        "USR-43",
        Usr,
        "A new password and an edit of roles at the same time both take effect.",
        "An edit of the whole record that writes back the old hash.",
        [],
        async |context| {
            let stores = user_stores(&context).await?;
            for round in 0..20 {
                let ada = create(&context, &format!("ada{round}")).await?;
                in_tasks(2, |number| {
                    let (users, id) = (Arc::clone(&stores[number % stores.len()]), ada.id.clone());
                    async move { Ok(edit_or_set_password(&*users, &id, number).await.map(drop)?) }
                })
                .await?;
                let after = by_id(&context, &ada.id).await?;
                let hash = after.password_hash.as_ref().map(Secret::expose);
                expect(hash == Some("$new$hash"), "the old hash is back")?;
                expect_equal(&after.roles, &["editor".into()].into(), "the roles")?;
                expect_equal((after.version.get(), after.token_epoch), (3, 1), "version, epoch")?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-44",
        Usr,
        "A success that races with the failure at the threshold leaves it locked or reset.",
        "An account that is locked with a count of zero, or full and not locked.",
        [],
        async |context| {
            for round in 0..20 {
                success_against_failure(&context, round).await?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-45",
        Usr,
        "Failures of a locked account count, and neither lengthen nor lift its lock.",
        "Anybody keeping anybody else locked out for ever.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            let lock = lock(&context, &ada.id).await?;
            for count in 4..=10 {
                let after = fail(&context, &ada.id).await?;
                expect_equal(after.failed_attempts, count, "failures")?;
                let locks = (after.lockout_until, after.lockout_count);
                expect_equal(locks, (Some(lock), 1), "the lock")?;
                expect_equal(&by_id(&context, &ada.id).await?.login, &after, "what is stored")?;
                let locked = LoginAttempt::Locked { until: lock };
                expect_equal(attempt(&context, &ada.id, policy(3)).await?, locked, "an attempt")?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-46",
        Usr,
        "A lock outlasts a rename, a new password, and disabling and enabling the account.",
        "Changes of the account that lift a lock on the side.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            let lock = lock(&context, &ada.id).await?;
            let before = by_id(&context, &ada.id).await?.login;
            update(&context, &ada.id, renamed("eve")).await?;
            let hash = Secret::new("$new$hash");
            context.users().set_password(&ada.id, hash, "argon2id", true, options()).await?;
            update(&context, &ada.id, disabled(true)).await?;
            let after = update(&context, &ada.id, disabled(false)).await?;
            expect_equal(&after.login, &before, "what the last change returned")?;
            expect_equal(&by_id(&context, &ada.id).await?.login, &before, "what is stored")?;
            let locked = LoginAttempt::Locked { until: lock };
            expect_equal(attempt(&context, &ada.id, policy(3)).await?, locked, "an attempt")
        }
    ),
    case!(
        "USR-47",
        Usr,
        "Counters at their end stay there, and the lock is no longer than the longest.",
        "Counts that wrap to zero and unlock the account.",
        [],
        async |context| {
            let (users, ada) = (context.users(), create(&context, "ada").await?);
            let mut full = LoginStats::default();
            (full.failed_attempts, full.lockout_count) = (u32::MAX, u32::MAX);
            users.update_user_login_stats(&ada.id, full.clone(), options()).await?;
            expect_equal(by_id(&context, &ada.id).await?.login, full, "full counters")?;
            for _ in 0..2 {
                let after = fail(&context, &ada.id).await?;
                let counts = (after.failed_attempts, after.lockout_count);
                expect_equal(counts, (u32::MAX, u32::MAX), "the counters")?;
                let lock = after.last_failed_at.zip(after.lockout_until);
                let lock = lock.map(|(failed, until)| until.since(failed) <= policy(3).lock_max);
                expect_equal(lock, Some(true), "locked, and not for longer than the longest")?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-48",
        Usr,
        "To the millisecond, failures add up within the window and start anew behind a lock.",
        "Windows that end too early, and counts that outlive a lock, so that a slip locks again.",
        [InjectedClock],
        async |context| {
            let (near, far) = (create(&context, "near").await?, create(&context, "far").await?);
            for user in [&near, &far] {
                for _ in 0..2 {
                    fail(&context, &user.id).await?;
                }
            }
            context.clock().advance(policy(3).window - MS);
            let locked = fail(&context, &near.id).await?;
            expect_equal(locked.failed_attempts, 3, "failures within the window")?;
            expect(locked.lockout_until.is_some(), "three failures did not lock")?;
            context.clock().advance(MS);
            expect_equal(fail(&context, &far.id).await?.failed_attempts, 1, "beyond the window")?;
            context.clock().advance(policy(3).window - MS);
            expect_equal(fail(&context, &far.id).await?.failed_attempts, 2, "since the last one")?;

            let anew = fail(&context, &near.id).await?;
            let state = (anew.failed_attempts, anew.lockout_until);
            expect_equal(state, (1, None), "the first failure behind a lock")
        }
    ),
    case!(
        "USR-49",
        Usr,
        "Each disabling raises the epoch, also of a disabled account, which keeps its date.",
        "Sessions that outlive their end, and a date that moves.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            let first = update(&context, &ada.id, disabled(true)).await?;
            context.clock().advance(Duration::from_secs(60));
            let change = patch(|patch| patch.disabled_reason = Some("stolen".into()));
            let explained = update(&context, &ada.id, change).await?;
            expect_equal(explained.disabled_reason.as_deref(), Some("stolen"), "the reason")?;
            expect_equal(explained.disabled_at, first.disabled_at, "since when")?;
            let repeated = update(&context, &ada.id, disabled(true)).await?;
            let epochs = [first.token_epoch, explained.token_epoch, repeated.token_epoch];
            expect_equal(epochs, [1, 1, 2], "the epochs")?;
            let kept = (repeated.disabled_at, repeated.disabled_reason.as_deref());
            expect_equal(kept, (first.disabled_at, Some("stolen")), "since when and why")?;
            let enabled = update(&context, &ada.id, disabled(false)).await?;
            let again = update(&context, &ada.id, disabled(true)).await?;
            expect_equal((enabled.token_epoch, again.token_epoch), (2, 3), "the epochs")?;
            expect_equal(again.disabled_reason, None, "the reason of the time before")
        }
    ),
    case!(
        "USR-50",
        Usr,
        "Each change moves updatedAt, also while the clock stands still, and never createdAt.",
        "Changes that cannot be told apart by time, and a time of creation that is overwritten.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            let mut last = ada.updated_at;
            for number in 0..5 {
                let after = match number % 2 {
                    0 => update(&context, &ada.id, UserPatch::default()).await?,
                    _ => {
                        let (users, hash) = (context.users(), Secret::new("$new$hash"));
                        users.set_password(&ada.id, hash, "bcrypt", false, options()).await?
                    }
                };
                expect(after.updated_at > last, "updatedAt did not move")?;
                expect_equal(after.created_at, ada.created_at, "createdAt")?;
                expect_same(&by_id(&context, &ada.id).await?, &after, "what is stored")?;
                last = after.updated_at;
            }
            Ok(())
        }
    ),
];

pub(super) fn options() -> UserOptions {
    UserOptions::default()
}

/// The first lock lasts a minute, and everything else is as usual.
pub(super) fn policy(threshold: u32) -> LoginPolicy {
    let mut policy = LoginPolicy::default();
    policy.threshold = threshold;
    policy
}

pub(super) fn patch(change: impl FnOnce(&mut UserPatch)) -> UserPatch {
    let mut patch = UserPatch::default();
    change(&mut patch);
    patch
}

pub(super) fn disabled(disabled: bool) -> UserPatch {
    patch(|patch| patch.disabled = Some(disabled))
}

/// The store, and a second handle on the same accounts where the backend allows one.
async fn user_stores(context: &Context) -> CaseResult<Vec<Arc<dyn UserStore>>> {
    let mut stores = vec![context.users()];
    if context.capabilities().shared {
        stores.push(context.second_handle().await?.users()?);
    }
    Ok(stores)
}

/// The account of the one write that succeeded; each other one must have failed as `loses` says.
fn only_winner(
    outcomes: Vec<Result<User>>,
    loses: impl Fn(&syntrix_storage_core::Error) -> CaseResult,
) -> CaseResult<User> {
    let mut winners = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(user) => winners.push(user),
            Err(error) => loses(&error)?,
        }
    }
    expect_equal(winners.len(), 1, "how many succeeded")?;
    winners.pop().ok_or_else(|| Failure::new("nobody succeeded"))
}

async fn edit_or_set_password(users: &dyn UserStore, id: &UserId, number: usize) -> Result<User> {
    if number == 0 {
        let change = patch(|patch| patch.roles = Some(["editor".into()].into()));
        return users.update_user(id, change, options()).await;
    }
    users.set_password(id, Secret::new("$new$hash"), "argon2id", true, options()).await
}

/// Locks an account with three attempts; until when.
async fn lock(context: &Context, id: &UserId) -> CaseResult<Timestamp> {
    for _ in 0..3 {
        ticket(context, id, policy(3)).await?;
    }
    match attempt(context, id, policy(3)).await? {
        LoginAttempt::Locked { until } => Ok(until),
        other => Err(Failure::new(format_args!("three attempts did not lock: {other:?}"))),
    }
}

async fn fail(context: &Context, id: &UserId) -> CaseResult<LoginStats> {
    Ok(context.users().record_login_failure(id, policy(3), options()).await?)
}

async fn success_against_failure(context: &Context, round: u32) -> CaseResult {
    let ada = create(context, &format!("ada{round}")).await?;
    ticket(context, &ada.id, policy(3)).await?;
    let last = ticket(context, &ada.id, policy(3)).await?;
    let last = round.is_multiple_of(2).then_some(last);
    let racing = in_tasks(2, |number| {
        let (context, id) = (context.clone(), ada.id.clone());
        async move {
            if number == 0 {
                fail(&context, &id).await?;
                return Ok(());
            }
            context.users().record_login_success(&id, last, options()).await?;
            Ok(())
        }
    });
    within(racing).await??;
    let login = by_id(context, &ada.id).await?.login;
    let state = (login.failed_attempts, login.lockout_until.is_some());
    // Failure first: reset with a ticket, locked without. Success first: one failure in a new window.
    let expected = if last.is_some() { (0, false) } else { (3, true) };
    let what = format_args!("count {} and locked {}", state.0, state.1).to_string();
    expect(state == expected || state == (1, false), what)
}
