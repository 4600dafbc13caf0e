//! Revoked tokens: rotation, many at once, expiry and purge.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::{
    ErrorKind, ITEMS_MAX, RevokeOutcome, RotationOutcome, Timestamp, TokenId, TokenRevocationStore,
};

use super::rev_steps::{
    GRACE, NONE, check, expect_all, expires_in, now, revoke, revoke_immediate, second_store, token,
};
use super::steps::in_tasks;
use crate::case::case;
use crate::{Case, CaseResult, Context, expect, expect_equal, expect_kind};

const MS: Duration = Duration::from_millis(1);
const CLIENTS: usize = 8;
const TOKENS: usize = 100;
/// More than any margin for the clocks of others.
const LONG: Duration = Duration::from_secs(24 * 3600);

pub(super) static CASES: &[Case] = &[
    case!(
        "REV-10",
        Rev,
        "After a token's expiry a check is still no error, and in the end it is not revoked.",
        "Answers that depend on when somebody tidies up.",
        [InjectedClock],
        async |context| {
            revoke_immediate(&context, "t", expires_in(&context, 60)).await?;
            context.clock().advance(Duration::from_secs(61));
            expect_equal(check(&context, "t", NONE).await?, true, "within the margin")?;
            context.clock().advance(LONG);
            expect_equal(check(&context, "t", NONE).await?, false, "long after, not purged")?;
            context.store_admin().purge_expired(100).await?;
            expect_equal(check(&context, "t", NONE).await?, false, "long after, purged")?;
            let again = revoke(&context, "t", expires_in(&context, 60)).await?;
            expect_equal(again, RevokeOutcome::Inserted, "a new record")?;
            expect_equal(check(&context, "t", GRACE).await?, false, "with a grace of its own")
        }
    ),
    case!(
        "REV-11",
        Rev,
        "Nothing is purged before its time, to the millisecond.",
        "Sweeps by another unit or another clock.",
        [InjectedClock],
        async |context| {
            revoke_immediate(&context, "t", expires_in(&context, 60)).await?;
            let end = end_of_life(&context, "t", 60).await?;
            expect(end >= now(&context), "the record ended before the token")?;
            context.clock().set(end.as_milliseconds() - 1);
            expect_equal(context.store_admin().purge_expired(9).await?.purged, 0, "before")?;
            expect_equal(check(&context, "t", NONE).await?, true, "a millisecond before")?;
            context.clock().set(end.as_milliseconds());
            expect_equal(check(&context, "t", NONE).await?, false, "at its end")?;
            expect_equal(context.store_admin().purge_expired(9).await?.purged, 1, "at its end")
        }
    ),
    case!(
        "REV-14",
        Rev,
        "Answers about expired records are the same before and after they are purged.",
        "A late sweep that keeps records alive.",
        [InjectedClock],
        async |context| {
            let names = ["a", "b", "c"];
            for name in names {
                revoke(&context, name, expires_in(&context, 60)).await?;
            }
            context.clock().advance(LONG);
            expect_all(&context, &names, NONE, false).await?;
            context.store_admin().purge_expired(2).await?;
            expect_all(&context, &names, NONE, false).await
        }
    ),
    case!(
        "REV-16",
        Rev,
        "Of 100 callers that rotate one token exactly one wins.",
        "Reading first and writing afterwards.",
        [],
        async |context| {
            let second = second_store(&context).await?;
            let outcomes = rotate_together(&context, &second, 100, "t").await?;
            let won = outcomes.iter().filter(|one| **one == RotationOutcome::Won).count();
            expect_equal(won, 1, "the number of winners")?;
            let again = rotate(&context, "t", GRACE, None).await?;
            expect(again != RotationOutcome::Won, "a later caller won once more")
        }
    ),
    case!(
        "REV-23",
        Rev,
        "Revocations survive closing and opening.",
        "Records that only memory has.",
        [Durable],
        async |context| {
            revoke(&context, "graceful", expires_in(&context, 3600)).await?;
            revoke_immediate(&context, "immediate", expires_in(&context, 3600)).await?;
            context.reopen().await?;
            expect_all(&context, &["graceful", "immediate"], NONE, true).await?;
            expect_equal(check(&context, "immediate", GRACE).await?, true, "immediate")
        }
    ),
    case!(
        "REV-24",
        Rev,
        "Verifying the indexes twice, also at the same time, changes no answer.",
        "Index builds that fail when there is one already.",
        [],
        async |context| {
            revoke(&context, "t", expires_in(&context, 3600)).await?;
            in_tasks(8, |_| {
                let store = context.revocations();
                async move { Ok(store.ensure_indexes().await?) }
            })
            .await?;
            context.revocations().ensure_indexes().await?;
            expect_equal(check(&context, "t", NONE).await?, true, "the revoked one")?;
            expect_equal(check(&context, "other", NONE).await?, false, "another one")
        }
    ),
    case!(
        "REV-26",
        Rev,
        "A purge removes at most as many as asked, says whether there are more, and no live one.",
        "Purges that count wrongly or take too much.",
        [InjectedClock],
        async |context| {
            for number in 0..10 {
                revoke(&context, &format!("short{number}"), expires_in(&context, 60)).await?;
                revoke(&context, &format!("long{number}"), expires_in(&context, 864_000)).await?;
            }
            context.clock().advance(LONG);
            let mut purged = Vec::new();
            loop {
                let report = context.store_admin().purge_expired(4).await?;
                purged.push(report.purged);
                if !report.more {
                    break;
                }
            }
            expect_equal(purged.iter().sum::<usize>(), 10, "all that was purged")?;
            expect(purged.iter().all(|count| *count <= 4), "a purge took more than asked")?;
            for number in 0..10 {
                let live = check(&context, &format!("long{number}"), NONE).await?;
                expect_equal(live, true, format_args!("long{number}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-30",
        Rev,
        "A check of many tokens answers each in its place, as single checks do.",
        "Answers in the order of the database.",
        [],
        async |context| {
            let mut tokens = Vec::new();
            let mut expected = Vec::new();
            for number in 0..ITEMS_MAX {
                let name = format!("t{}", number * 7919 % ITEMS_MAX);
                // Not the same when it is read backwards.
                let revoked = number % 7 < 2;
                if revoked {
                    revoke(&context, &name, expires_in(&context, 3600)).await?;
                }
                tokens.push(token(&name)?);
                expected.push(revoked);
            }
            let store = context.revocations();
            let answers = store.is_revoked_many(&tokens, NONE, Default::default()).await?;
            expect_equal(answers, expected, "the answers")?;
            let none = store.is_revoked_many(&[], NONE, Default::default()).await?;
            expect_equal(none, Vec::<bool>::new(), "no tokens, no answers")?;
            let twice = [tokens[0].clone(), tokens[2].clone(), tokens[0].clone()];
            let answers = store.is_revoked_many(&twice, NONE, Default::default()).await?;
            expect_equal(answers, vec![true, false, true], "one token twice")?;
            tokens.push(token("one more")?);
            let refused = store.is_revoked_many(&tokens, NONE, Default::default()).await;
            expect_kind(refused, ErrorKind::InvalidArgument, "1001 tokens")?;
            Ok(())
        }
    ),
    case!(
        "REV-31",
        Rev,
        "8 clients that race for 100 refresh tokens are 100 winners; the losers get the successor.",
        "Sessions that fork, and clients that are logged out by their own retry.",
        [],
        async |context| {
            let second = second_store(&context).await?;
            for number in 0..TOKENS {
                let name = format!("refresh{number}");
                let outcomes = rotate_together(&context, &second, CLIENTS, &name).await?;
                let won = outcomes.iter().filter(|one| **one == RotationOutcome::Won).count();
                expect_equal(won, 1, format_args!("the winners of {name}"))?;
                let successors: std::collections::BTreeSet<_> =
                    outcomes.iter().filter_map(successor).collect();
                expect_equal(successors.len(), 1, "the successors that losers were given")?;
                let losers = outcomes.iter().filter_map(successor).count();
                expect_equal(losers, CLIENTS - 1, "the losers within the grace")?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-32",
        Rev,
        "A rotated token that comes back after the grace is a replay.",
        "Rotation that hands out successors for ever.",
        [InjectedClock],
        async |context| {
            let (since, next) = (now(&context), token("next")?);
            let won = rotate(&context, "t", GRACE, Some(&next)).await?;
            expect_equal(won, RotationOutcome::Won, "the first")?;
            context.clock().advance(GRACE - MS);
            let expected = RotationOutcome::InGrace { since, successor: Some(next.clone()) };
            let other = token("another")?;
            let late = rotate(&context, "t", GRACE, Some(&other)).await?;
            expect_equal(late, expected, "within the grace")?;
            context.clock().advance(MS);
            let replay = rotate(&context, "t", GRACE, Some(&other)).await?;
            expect_equal(replay, RotationOutcome::Revoked { since }, "at its end")
        }
    ),
    case!(
        "REV-33",
        Rev,
        "A token that was revoked at once is never rotated, nor one that has expired.",
        "Rotation that ignores other revocations.",
        [InjectedClock],
        async |context| {
            let since = now(&context);
            revoke_immediate(&context, "t", expires_in(&context, 3600)).await?;
            let outcome = rotate(&context, "t", GRACE, None).await?;
            expect_equal(outcome, RotationOutcome::Revoked { since }, "revoked at once")?;
            expect_equal(rotate(&context, "u", GRACE, None).await?, RotationOutcome::Won, "u")?;
            revoke_immediate(&context, "u", expires_in(&context, 3600)).await?;
            let outcome = rotate(&context, "u", GRACE, None).await?;
            expect_equal(outcome, RotationOutcome::Revoked { since }, "won, then revoked at once")?;

            let expired = now(&context).saturating_sub(LONG);
            let outcome = context
                .revocations()
                .revoke_if_not_revoked(&token("old")?, expired, GRACE, None, Default::default())
                .await?;
            expect_equal(outcome, RotationOutcome::AlreadyExpired, "expired long ago")
        }
    ),
];

async fn rotate(
    context: &Context,
    name: &str,
    grace: Duration,
    successor: Option<&TokenId>,
) -> CaseResult<RotationOutcome> {
    let (store, expires_at) = (context.revocations(), expires_in(context, 3600));
    let (token, successor) = (token(name)?, successor.cloned());
    let options = Default::default();
    Ok(store.revoke_if_not_revoked(&token, expires_at, grace, successor, options).await?)
}

/// Of as many clients, every other one over the second handle.
async fn rotate_together(
    context: &Context,
    second: &Arc<dyn TokenRevocationStore>,
    clients: usize,
    name: &str,
) -> CaseResult<Vec<RotationOutcome>> {
    let expires_at = expires_in(context, 3600);
    in_tasks(clients, |client| {
        let store = if client % 2 == 0 { context.revocations() } else { Arc::clone(second) };
        let name = name.to_owned();
        async move {
            let successor = Some(token(&format!("{name}-next-{client}"))?);
            let (token, options) = (token(&name)?, Default::default());
            Ok(store.revoke_if_not_revoked(&token, expires_at, GRACE, successor, options).await?)
        }
    })
    .await
}

fn successor(outcome: &RotationOutcome) -> Option<String> {
    match outcome {
        RotationOutcome::InGrace { successor: Some(successor), .. } => {
            Some(successor.as_str().to_owned())
        }
        _ => None,
    }
}

/// When a record revoked now, for a token that lives `seconds` more, ends: found by halving, as no call tells it.
async fn end_of_life(context: &Context, name: &str, seconds: u64) -> CaseResult<Timestamp> {
    let start = now(context).as_milliseconds();
    let (mut alive, mut gone) = (start, start + (seconds as i64) * 1000 + 24 * 3600 * 1000);
    while gone - alive > 1 {
        let middle = alive + (gone - alive) / 2;
        context.clock().set(middle);
        match check(context, name, NONE).await? {
            true => alive = middle,
            false => gone = middle,
        }
    }
    context.clock().set(start);
    Ok(Timestamp::from_milliseconds(gone))
}
