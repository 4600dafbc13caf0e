//! Accounts: logins that cannot be raced, passwords, and what hides secrets.

use std::time::Duration;

use syntrix_storage_core::{
    ErrorKind, LoginAttempt, LoginPolicy, LoginStats, LoginSuccess, Secret, Timestamp, UserPatch,
};

use super::steps::in_tasks;
use super::usr_steps::{attempt, by_id, create, expect_same, new_user, ticket, update};
use crate::canary::HASH_SECRET;
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_kind};

const MS: Duration = Duration::from_millis(1);

fn policy(threshold: u32) -> LoginPolicy {
    let mut policy = LoginPolicy::default();
    policy.threshold = threshold;
    policy
}

pub(super) static CASES: &[Case] = &[
    case!(
        "USR-16",
        Usr,
        "Login statistics are set exactly and touch nothing else.",
        "Writing a whole account for a counter.",
        [],
        async |context| {
            let before = create(&context, "ada").await?;
            let stats = stats();
            let users = context.users();
            users.update_user_login_stats(&before.id, stats.clone(), Default::default()).await?;
            let mut expected = before.clone();
            expected.login = stats;
            expect_same(&by_id(&context, &before.id).await?, &expected, "the account")
        }
    ),
    case!(
        "USR-18",
        Usr,
        "Changes of an account and logins at the same time both survive.",
        "Overwriting the whole record with what was read before.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            in_tasks(2, |task| {
                let (users, id) = (context.users(), ada.id.clone());
                async move {
                    for step in 0..50 {
                        if task == 0 {
                            users
                                .record_login_failure(&id, policy(100), Default::default())
                                .await?;
                            // Else they are all done before the first change has begun.
                            tokio::time::sleep(MS).await;
                            continue;
                        }
                        let mut patch = UserPatch::default();
                        patch.roles = Some([format!("r{step}")].into());
                        users.update_user(&id, patch, Default::default()).await?;
                    }
                    Ok(())
                }
            })
            .await?;
            let stored = by_id(&context, &ada.id).await?;
            expect_equal(stored.login.failed_attempts, 50, "the failures")?;
            expect_equal(stored.version.get(), 51, "the version")?;
            expect_equal(stored.roles, ["r49".into()].into(), "the roles")
        }
    ),
    case!(
        "USR-20",
        Usr,
        "A lock that was cleared reads back as none.",
        "The epoch in place of nothing.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            let users = context.users();
            users.update_user_login_stats(&ada.id, stats(), Default::default()).await?;
            let mut cleared = stats();
            (cleared.lockout_until, cleared.failed_attempts) = (None, 0);
            users.update_user_login_stats(&ada.id, cleared.clone(), Default::default()).await?;
            expect_equal(by_id(&context, &ada.id).await?.login, cleared, "the statistics")
        }
    ),
    case!(
        "USR-21",
        Usr,
        "Who never logged in has no last login; a last login never moves back.",
        "Year 1, and imports that forget logins.",
        [],
        async |context| {
            let ada = create(&context, "ada").await?;
            expect_equal(ada.login, LoginStats::default(), "a new account")?;
            let users = context.users();
            let at = |milliseconds| {
                let mut stats = LoginStats::default();
                stats.last_login_at = Some(Timestamp::from_milliseconds(milliseconds));
                stats
            };
            for (set, kept) in [(5_000, 5_000), (4_000, 5_000), (6_000, 6_000)] {
                users.update_user_login_stats(&ada.id, at(set), Default::default()).await?;
                let last = by_id(&context, &ada.id).await?.login.last_login_at;
                expect_equal(last, Some(Timestamp::from_milliseconds(kept)), "the last login")?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-22",
        Usr,
        "A hash is kept exactly and shows in no debug output and no error.",
        "Hashes in logs.",
        [],
        async |context| {
            let hash = &*format!("$x$ \u{e9}\u{1f600}'\"\\ {HASH_SECRET}");
            let mut user = new_user("ada");
            user.password_hash = Secret::new(hash);
            let shown = format!("{user:?}");
            let created = context.users().create_user(user.clone(), Default::default()).await?;
            let stored = by_id(&context, &created.id).await?;
            let kept = stored.password_hash.as_ref().map(|hash| hash.expose().to_owned());
            expect_equal(kept.as_deref(), Some(hash), "the hash")?;
            let again = context.users().create_user(user, Default::default()).await;
            let error = expect_kind(again, ErrorKind::AlreadyExists, "once more")?;
            for text in [shown, format!("{stored:?}"), format!("{error:?}"), error.to_string()] {
                let shows = text.contains(HASH_SECRET);
                let masked = text.replace(HASH_SECRET, "…");
                expect(!shows, format_args!("a hash shows in {masked}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "USR-28",
        Usr,
        "Verifying the indexes twice, also at the same time, succeeds and changes nothing.",
        "Index builds that fail when there is one already.",
        [],
        async |context| {
            context.users().ensure_indexes().await?;
            let ada = create(&context, "ada").await?;
            in_tasks(8, |_| {
                let users = context.users();
                async move { Ok(users.ensure_indexes().await?) }
            })
            .await?;
            expect_same(&by_id(&context, &ada.id).await?, &ada, "the account")
        }
    ),
    case!(
        "USR-32",
        Usr,
        "A lock lasts as long as the policy says, each time longer, up to the longest.",
        "Locks that are renewed by further guesses, or that never grow.",
        [InjectedClock],
        async |context| { grow_locks(&context).await }
    ),
    case!(
        "USR-33",
        Usr,
        "A success of an older window does not lift a lock; one of the same window does.",
        "A slow right password that unlocks the account for the guesser.",
        [InjectedClock],
        async |context| { stale_success(&context).await }
    ),
    case!(
        "USR-34",
        Usr,
        "Failures further apart than the window do not add up.",
        "Locking out people who mistype once a month.",
        [InjectedClock],
        async |context| {
            let (ada, policy) = (create(&context, "ada").await?, policy(3));
            for _ in 0..5 {
                for _ in 0..2 {
                    ticket(&context, &ada.id, policy).await?;
                }
                context.clock().advance(policy.window + MS);
            }
            let login = by_id(&context, &ada.id).await?.login;
            expect_equal((login.lockout_until, login.lockout_count), (None, 0), "the lock")
        }
    ),
    case!(
        "USR-36",
        Usr,
        "A new hash ends the sessions in the same write if asked, and only then.",
        "A password change that leaves a thief logged in.",
        [],
        async |context| {
            let (ada, users) = (create(&context, "ada").await?, context.users());
            let hash = || Secret::new("$other$hash");
            let none = Default::default;
            let kept = users.set_password(&ada.id, hash(), "bcrypt", false, none()).await?;
            expect_equal((kept.token_epoch, kept.version.get()), (0, 2), "epoch and version")?;
            expect_equal(kept.password_algorithm.as_deref(), Some("bcrypt"), "the scheme")?;
            let ended = users.set_password(&ada.id, hash(), "bcrypt", true, none()).await?;
            expect_equal((ended.token_epoch, ended.version.get()), (1, 3), "epoch and version")?;
            expect(ended.password_changed_at.is_some(), "nobody knows since when")?;
            let wrong = users.set_password(&ada.id, Secret::new(""), "bcrypt", true, none()).await;
            expect_kind(wrong, ErrorKind::InvalidArgument, "an empty hash")?;
            expect_same(&by_id(&context, &ada.id).await?, &ended, "the account")
        }
    ),
    case!(
        "USR-38",
        Usr,
        "Accounts, with their locks, survive closing and opening.",
        "Guesses that are counted anew after each restart.",
        [Durable],
        async |context| {
            let ada = create(&context, "ada").await?;
            for _ in 0..3 {
                ticket(&context, &ada.id, policy(3)).await?;
            }
            let before = by_id(&context, &ada.id).await?;
            context.reopen().await?;
            expect_same(&by_id(&context, &ada.id).await?, &before, "the account")?;
            let begun = attempt(&context, &ada.id, policy(3)).await?;
            expect(matches!(begun, LoginAttempt::Locked { .. }), "the lock is gone")
        }
    ),
];

fn stats() -> LoginStats {
    let mut stats = LoginStats::default();
    stats.last_login_at = Some(Timestamp::from_milliseconds(1_600_000_000_001));
    stats.last_failed_at = Some(Timestamp::from_milliseconds(1_600_000_000_002));
    stats.lockout_until = Some(Timestamp::from_milliseconds(1_600_000_000_003));
    (stats.failed_attempts, stats.lockout_count) = (7, 2);
    stats
}

async fn grow_locks(context: &Context) -> CaseResult {
    let (ada, policy) = (create(context, "ada").await?, policy(2));
    for seconds in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
        ticket(context, &ada.id, policy).await?;
        ticket(context, &ada.id, policy).await?;
        let now = context_now(context);
        let expected = now.saturating_add(Duration::from_secs(seconds));
        let until = by_id(context, &ada.id).await?.login.lockout_until;
        expect_equal(until, Some(expected), "until when it is locked")?;
        context.clock().advance(Duration::from_secs(seconds) - MS);
        let locked = attempt(context, &ada.id, policy).await?;
        let expected = LoginAttempt::Locked { until: expected };
        expect_equal(locked, expected, "a guess in the last millisecond, which renews nothing")?;
        context.clock().advance(MS);
    }
    Ok(())
}

async fn stale_success(context: &Context) -> CaseResult {
    let (ada, policy) = (create(context, "ada").await?, policy(2));
    let users = context.users();
    let none = Default::default;
    let old = ticket(context, &ada.id, policy).await?;
    let locking = ticket(context, &ada.id, policy).await?;
    let without = users.record_login_success(&ada.id, None, none()).await?;
    expect(matches!(without, LoginSuccess::Locked { .. }), "a success without a ticket unlocked")?;
    let own = users.record_login_success(&ada.id, Some(locking), none()).await?;
    expect_equal(own, LoginSuccess::Recorded, "the ticket of the window that locked")?;
    let login = by_id(context, &ada.id).await?.login;
    expect_equal((login.failed_attempts, login.lockout_until), (0, None), "after the success")?;
    expect_equal(login.last_login_at, Some(context_now(context)), "the last login")?;

    for _ in 0..2 {
        ticket(context, &ada.id, policy).await?;
    }
    let before = by_id(context, &ada.id).await?;
    let stale = users.record_login_success(&ada.id, Some(old), none()).await?;
    expect(matches!(stale, LoginSuccess::Locked { .. }), "a ticket of an older window unlocked")?;
    expect_same(&by_id(context, &ada.id).await?, &before, "the locked account")?;

    context.clock().advance(policy.lock_max);
    let fresh = ticket(context, &ada.id, policy).await?;
    expect_equal(fresh.attempt, 1, "after the lock the count starts anew")?;
    let mut patch = UserPatch::default();
    patch.roles = Some(["x".into()].into());
    update(context, &ada.id, patch).await?;
    let done = users.record_login_success(&ada.id, Some(fresh), none()).await?;
    expect_equal(done, LoginSuccess::Recorded, "a success after a change of the account")
}

fn context_now(context: &Context) -> Timestamp {
    use syntrix_storage_core::Clock;
    context.clock().now()
}
