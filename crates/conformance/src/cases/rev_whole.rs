//! Revoked tokens: what races, purges, dropped calls and deadlines leave behind.

use std::fmt::Debug;
use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use syntrix_storage_core::{
    Error, ErrorKind, GRACE_MAX, Result, RevocationOptions, RevocationStatus, RevokeOutcome,
    RotationOutcome, Timestamp, TokenId,
};

use super::rev_tokens::{
    FAR, GRACE, HOUR, MARGIN, MILLISECOND, SECOND, Tokens, after, id, ids, purge_all,
};
use super::steps::in_tasks;
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect, expect_equal, expect_kind};

pub(super) static CASES: &[Case] = &[
    case!(
        "REV-39",
        Rev,
        "A revocation that lies in the store's future is no grace but counts at once.",
        "A clock set back by an hour that gives every revoked token another hour of grace.",
        [InjectedClock],
        async |context| {
            let (tokens, token) = (Tokens::of(&context), id("token")?);
            let (now, until) = (after(&context, Duration::ZERO), after(&context, GRACE));
            tokens.revoke(&token, after(&context, 2 * HOUR)).await?;
            context.clock().set(now.saturating_sub(HOUR).as_milliseconds());
            tokens.expect_at_once(&token, "an hour before its revocation").await?;
            let rotated = tokens.rotate(&token, FAR, GRACE, &token).await?;
            let replay = matches!(rotated, RotationOutcome::Revoked { .. });
            expect(replay, format_args!("a rotation an hour before: {rotated:?}"))?;
            context.clock().set(now.as_milliseconds());
            let status = RevocationStatus::Grace { until, successor: None };
            expect_equal(tokens.status(&token, GRACE).await?, status, "when the clock is right")
        }
    ),
    case!(
        "REV-40",
        Rev,
        "When revocations of both kinds meet, the immediate one counts once both are acknowledged.",
        "The slower of two writes overwriting the stricter one.",
        [],
        async |context| {
            let (tokens, all) = (Tokens::of(&context), ids("token", 20)?);
            let revoked = in_tasks(80, |number| {
                let (tokens, token) = (tokens.clone(), all[number / 4].clone());
                async move {
                    match number % 4 {
                        0 => tokens.revoke_at_once(&token, FAR).await.map(drop),
                        1 => tokens.rotate(&token, FAR, GRACE, &token).await.map(drop),
                        _ => tokens.revoke(&token, FAR).await.map(drop),
                    }
                }
            });
            revoked.await?;
            for token in &all {
                tokens.expect_at_once(token, "after both kinds").await?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-41",
        Rev,
        "A rotation that loses changes nothing: neither successor nor reason nor expiry.",
        "The loser's successor handed to the next one, and expiries that replays extend.",
        [InjectedClock],
        async |context| {
            let (tokens, token) = (Tokens::of(&context), id("token")?);
            let (since, expires_at) = (after(&context, Duration::ZERO), after(&context, HOUR));
            tokens.revoke(&token, expires_at).await?;
            let options = RevocationOptions::default().with_reason("the loser's");
            for (grace, expected) in [
                (GRACE, RotationOutcome::InGrace { since, successor: None }),
                (Duration::ZERO, RotationOutcome::Revoked { since }),
            ] {
                let (later, late) = (after(&context, 2 * HOUR), Some(id("late")?));
                let (store, options) = (&tokens.0, options.clone());
                let lost = store.revoke_if_not_revoked(&token, later, grace, late, options).await?;
                expect_equal(lost, expected, format_args!("with {grace:?}"))?;
            }
            let status = RevocationStatus::Revoked { since, immediate: false, reason: None };
            expect_equal(tokens.status(&token, Duration::ZERO).await?, status, "status")?;
            context.clock().set(expires_at.saturating_add(MARGIN).as_milliseconds());
            tokens.expect_valid(&token, "when the first expiry is over").await
        }
    ),
    case!(
        "REV-42",
        Rev,
        "A record whose time is over counts as none for the next revocation, purged or not.",
        "A grace counted from a record that should be gone, or a purge that changes answers.",
        [InjectedClock],
        async |context| {
            let tokens = Tokens::of(&context);
            for purged in [false, true] {
                let (token, rotated) = (id(&format!("{purged}"))?, id(&format!("{purged} r"))?);
                tokens.revoke_at_once(&token, after(&context, HOUR)).await?;
                tokens.rotate(&rotated, after(&context, HOUR), GRACE, &token).await?;
                context.clock().advance(HOUR + MARGIN);
                if purged {
                    expect_equal(purge_all(&context).await?, 2, "purged")?;
                }
                let expires_at = after(&context, HOUR);
                let outcome = tokens.revoke(&token, expires_at).await?;
                expect_equal(outcome, RevokeOutcome::Inserted, format_args!("purged {purged}"))?;
                let outcome = tokens.rotate(&rotated, expires_at, GRACE, &token).await?;
                expect_equal(outcome, RotationOutcome::Won, format_args!("purged {purged}"))?;
                context.clock().advance(GRACE - MILLISECOND);
                tokens.expect(&token, GRACE, false, "in the new grace").await?;
                context.clock().advance(MILLISECOND);
                tokens.expect(&token, GRACE, true, "behind the new grace").await?;
                context.clock().advance(2 * HOUR);
                expect_equal(purge_all(&context).await?, 2, "one record of each token")?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-43",
        Rev,
        "A purge that runs beside checks and revocations removes no record that counts.",
        "A sweep that takes a record which was renewed since it was found.",
        [InjectedClock],
        async |context| {
            let tokens = Tokens::of(&context);
            let (over, live) = (ids("over", 200)?, ids("live", 50)?);
            revoke_all(&tokens, &over, after(&context, HOUR)).await?;
            revoke_all(&tokens, &live, after(&context, 2 * HOUR)).await?;
            context.clock().advance(HOUR + MARGIN);
            let renewed: Vec<_> = over.into_iter().step_by(4).collect();
            let beside = in_tasks(3, |task| {
                let (context, tokens) = (context.clone(), tokens.clone());
                let (renewed, live, later) = (renewed.clone(), live.clone(), after(&context, HOUR));
                async move {
                    match task {
                        0 => purge_in_steps(&context, 7).await,
                        1 => check_again_and_again(&tokens, &live).await,
                        _ => revoke_all(&tokens, &renewed, later).await,
                    }
                }
            });
            beside.await?;
            purge_all(&context).await?;
            let kept = [live, renewed].concat();
            let answers = tokens.many(&kept, Duration::ZERO).await?;
            expect_equal(answers, vec![true; kept.len()], "after the purge")?;
            context.clock().advance(2 * HOUR);
            expect_equal(purge_all(&context).await?, kept.len(), "records that were kept")
        }
    ),
    case!(
        "REV-44",
        Rev,
        "A revocation whose future is dropped is stored as a whole or not at all.",
        "A token without its successor or reason, because the caller gave up half way.",
        [],
        async |context| {
            let tokens = Tokens::of(&context);
            for number in 0..60 {
                let (rotated, revoked) = (id(&format!("r{number}"))?, id(&format!("i{number}"))?);
                let dropped = id("dropped")?;
                let call = tokens.rotate(&rotated, FAR, GRACE_MAX, &dropped);
                begin_and_drop(call, number % 4).await;
                let options = RevocationOptions::default().with_reason("dropped");
                let call = tokens.0.revoke_token_immediate(&revoked, FAR, options);
                begin_and_drop(call, number % 4).await;
                expect_whole_rotation(&tokens, &rotated).await?;
                expect_whole_revocation(&tokens, &revoked).await?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-45",
        Rev,
        "Two stores know nothing of each other's tokens.",
        "One table, or one key, for all namespaces.",
        [],
        async |context| {
            let tokens = Tokens::of(&context);
            let other = Tokens(context.other_store().await?.revocations()?);
            let (here, there) = (id("here")?, id("there")?);
            tokens.revoke_at_once(&here, FAR).await?;
            other.rotate(&there, FAR, GRACE, &here).await?;
            other.expect_valid(&here, "in the other store").await?;
            tokens.expect_valid(&there, "in this store").await?;
            let won = tokens.rotate(&there, FAR, GRACE, &here).await?;
            expect_equal(won, RotationOutcome::Won, "a rotation of the other's token")
        }
    ),
    case!(
        "REV-46",
        Rev,
        "A check that runs out of time is an error or right, and never says that all is well.",
        "A deadline that turns \"I do not know\" into \"not revoked\".",
        [],
        async |context| {
            let (tokens, token) = (Tokens::of(&context), id("token")?);
            tokens.revoke_at_once(&token, FAR).await?;
            let revoked =
                |status: RevocationStatus| matches!(status, RevocationStatus::Revoked { .. });
            let replay = |outcome| matches!(outcome, RotationOutcome::Revoked { .. });
            for microseconds in 0..50 {
                let (store, mut options) = (&tokens.0, RevocationOptions::default());
                options.timeout = Some(Duration::from_micros(microseconds));
                let check = store.is_revoked(&token, GRACE, options.clone()).await;
                right_or_late(check, "is_revoked")?;
                let many = [token.clone(), token.clone()];
                let many = store.is_revoked_many(&many, GRACE, options.clone()).await;
                right_or_late(many.map(|many| many == [true; 2]), "is_revoked_many")?;
                let status = store.revocation_status(&token, GRACE, options.clone()).await;
                right_or_late(status.map(revoked), "revocation_status")?;
                let rotated = store.revoke_if_not_revoked(&token, FAR, GRACE, None, options).await;
                right_or_late(rotated.map(replay), "revoke_if_not_revoked")?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-47",
        Rev,
        "Neither an error nor a debug text shows the id of a token.",
        "Ids of tokens in logs, where people read them who may not use them.",
        [],
        async |context| {
            let (tokens, texts) = (Tokens::of(&context), texts_about(&context, CANARY).await?);
            for text in texts {
                expect(!text.contains(CANARY), format_args!("the id is shown: {text}"))?;
            }
            let check = tokens.0.is_revoked(&id(CANARY)?, GRACE, Default::default()).await;
            expect_kind(check, ErrorKind::Closed, "the last check").map(drop)
        }
    ),
    case!(
        "REV-48",
        Rev,
        "Checking a token stores nothing and starts nothing.",
        "Checks that leave records behind, or a grace that runs from the first check.",
        [InjectedClock],
        async |context| {
            let (tokens, token) = (Tokens::of(&context), id("token")?);
            for _ in 0..50 {
                tokens.expect_valid(&token, "before the revocation").await?;
                context.clock().advance(SECOND);
            }
            let outcome = tokens.revoke(&token, after(&context, HOUR)).await?;
            expect_equal(outcome, RevokeOutcome::Inserted, "the first revocation")?;
            for second in 0..GRACE.as_secs() {
                tokens.expect(&token, GRACE, false, &format!("{second} s later")).await?;
                tokens.expect(&id(&format!("other {second}"))?, GRACE, false, "unknown").await?;
                context.clock().advance(SECOND);
            }
            tokens.expect(&token, GRACE, true, "after the grace").await?;
            context.clock().advance(2 * HOUR);
            expect_equal(purge_all(&context).await?, 1, "records")
        }
    ),
    case!(
        "REV-49",
        Rev,
        "A clock that is set back a little grants no grace to those who ask for none.",
        "Comparing with the end of the grace instead of what has passed of it.",
        [InjectedClock],
        async |context| {
            let (tokens, token) = (Tokens::of(&context), id("token")?);
            tokens.revoke(&token, after(&context, HOUR)).await?;
            let start = syntrix_storage_core::Clock::now(context.clock()).as_milliseconds();
            for back_ms in [1, 1_000, 45_000, 60_000] {
                context.clock().set(start - back_ms);
                for grace in [Duration::ZERO, Duration::from_micros(999)] {
                    tokens.expect(&token, grace, true, &format!("{back_ms} ms back")).await?;
                }
            }
            Ok(())
        }
    ),
];

const CANARY: &str = "canary-6f1d0b";

async fn revoke_all(tokens: &Tokens, all: &[TokenId], expires_at: Timestamp) -> CaseResult {
    for token in all {
        let outcome = tokens.revoke(token, expires_at).await?;
        expect_equal(outcome, RevokeOutcome::Inserted, "a revocation")?;
    }
    Ok(())
}

async fn purge_in_steps(context: &Context, limit: usize) -> CaseResult {
    let admin = context.store_admin();
    loop {
        let report = admin.purge_expired(limit).await?;
        expect(report.purged <= limit, format_args!("purged {} of {limit}", report.purged))?;
        if !report.more {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

async fn check_again_and_again(tokens: &Tokens, live: &[TokenId]) -> CaseResult {
    for round in 0..50 {
        let answers = tokens.many(live, GRACE).await?;
        expect_equal(answers, vec![true; live.len()], format_args!("check {round}"))?;
    }
    Ok(())
}

/// Polls `call` at most `polls` times and drops it.
async fn begin_and_drop(call: impl Future, polls: usize) {
    let mut call = std::pin::pin!(call);
    for _ in 0..polls {
        let done = std::future::poll_fn(|task| Poll::Ready(call.as_mut().poll(task).is_ready()));
        if done.await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Fails unless a dropped rotation to `dropped` left nothing or everything, and repeating it fits to what it left.
async fn expect_whole_rotation(tokens: &Tokens, token: &TokenId) -> CaseResult {
    let holder = match tokens.rotate(token, FAR, GRACE_MAX, &id("repeated")?).await? {
        RotationOutcome::Won => "repeated",
        RotationOutcome::InGrace { successor: Some(successor), .. }
            if successor.as_str() == "dropped" =>
        {
            "dropped"
        }
        outcome => return Err(Failure::new(format_args!("the repeated rotation: {outcome:?}"))),
    };
    match tokens.status(token, GRACE_MAX).await? {
        RevocationStatus::Grace { successor: Some(successor), .. } => {
            expect_equal(successor.as_str(), holder, "the successor")
        }
        status => Err(Failure::new(format_args!("the rotated token: {status:?}"))),
    }
}

/// Fails unless a dropped immediate revocation left nothing or everything, and can be repeated.
async fn expect_whole_revocation(tokens: &Tokens, token: &TokenId) -> CaseResult {
    match tokens.status(token, Duration::ZERO).await? {
        RevocationStatus::NotRevoked => {}
        RevocationStatus::Revoked { immediate: true, reason: Some(reason), .. } => {
            expect_equal(reason.as_str(), "dropped", "reason")?;
        }
        status => return Err(Failure::new(format_args!("half a revocation: {status:?}"))),
    }
    tokens.revoke_at_once(token, FAR).await?;
    tokens.expect_at_once(token, "after repeating").await
}

/// Fails unless the answer is right, or missing because the time was over.
fn right_or_late(answer: Result<bool>, what: &str) -> CaseResult {
    match answer {
        Ok(right) => expect(right, format_args!("{what} did not say that the token is revoked")),
        late => expect_kind(late, ErrorKind::Timeout, what).map(drop),
    }
}

/// All that a store says of the token `name`, right and wrong calls alike; closes it in the end.
async fn texts_about(context: &Context, name: &str) -> CaseResult<Vec<String>> {
    let (tokens, token) = (Tokens::of(context), id(name)?);
    let mut texts = vec![format!("{token:?} {:?}", tokens.0)];
    texts.push(format!("{:?}", tokens.rotate(&token, FAR, GRACE_MAX, &token).await?));
    texts.push(format!("{:?}", tokens.rotate(&token, FAR, GRACE_MAX, &token).await?));
    texts.push(format!("{:#?}", tokens.status(&token, GRACE_MAX).await?));
    texts.push(format!("{:?}", context.store_admin().health().await?));
    let long = RevocationOptions::default().with_reason("x".repeat(257));
    texts.push(error_text(tokens.0.revoke_token(&token, FAR, long).await)?);
    let many = vec![token.clone(); 1001];
    texts.push(error_text(tokens.0.is_revoked_many(&many, GRACE, Default::default()).await)?);
    texts.push(error_text(TokenId::parse(&name.repeat(100)))?);
    tokens.0.close().await?;
    texts.push(error_text(tokens.0.is_revoked(&token, GRACE, Default::default()).await)?);
    texts.push(error_text(tokens.0.revoke_token(&token, FAR, Default::default()).await)?);
    Ok(texts)
}

/// Everything an error can be made to print, with its sources.
fn error_text<T: Debug>(result: Result<T>) -> CaseResult<String> {
    let error: Error = match result {
        Ok(value) => return Err(Failure::new(format_args!("expected an error, got {value:?}"))),
        Err(error) => error,
    };
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    Ok(text)
}
