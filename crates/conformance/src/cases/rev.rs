//! Revoked tokens: the record only grows stricter, the grace, and fail closed.

use std::time::Duration;

use syntrix_storage_core::{
    ErrorKind, GRACE_MAX, Reason, RevocationOptions, RevocationStatus, RevokeOutcome, Timestamp,
    TokenId,
};

use super::rev_steps::{
    GRACE, NONE, check, expires_in, now, revoke, revoke_immediate, second_store, status, token,
};
use super::steps::in_tasks;
use crate::case::case;
use crate::{Case, expect, expect_equal, expect_kind};

const MS: Duration = Duration::from_millis(1);

pub(super) static CASES: &[Case] = &[
    case!(
        "REV-01",
        Rev,
        "A token that nobody revoked is not revoked.",
        "Answers that are true by default.",
        [],
        async |context| {
            expect_equal(check(&context, "unknown", NONE).await?, false, "without a grace")?;
            expect_equal(check(&context, "unknown", GRACE).await?, false, "with a grace")?;
            let found = status(&context, "unknown", NONE).await?;
            expect_equal(found, RevocationStatus::NotRevoked, "the status")
        }
    ),
    case!(
        "REV-02",
        Rev,
        "A revoked token is revoked at once for those who grant no grace.",
        "Revocations that are queued or only take effect later.",
        [],
        async |context| {
            let outcome = revoke(&context, "t", expires_in(&context, 3600)).await?;
            expect_equal(outcome, RevokeOutcome::Inserted, "the first revocation")?;
            expect_equal(check(&context, "t", NONE).await?, true, "without a grace")
        }
    ),
    case!(
        "REV-03",
        Rev,
        "A graceful revocation takes effect when the grace is over.",
        "A grace that never ends, or that is not granted.",
        [InjectedClock],
        async |context| {
            revoke(&context, "t", expires_in(&context, 3600)).await?;
            expect_equal(check(&context, "t", GRACE).await?, false, "within the grace")?;
            let until = now(&context).saturating_add(GRACE);
            let expected = RevocationStatus::Grace { until, successor: None };
            expect_equal(status(&context, "t", GRACE).await?, expected, "the status")?;
            context.clock().advance(GRACE + MS);
            expect_equal(check(&context, "t", GRACE).await?, true, "after the grace")
        }
    ),
    case!(
        "REV-04",
        Rev,
        "At the very end of the grace a token is revoked, a millisecond before it is not.",
        "Comparisons that are off by one.",
        [InjectedClock],
        async |context| {
            revoke(&context, "t", expires_in(&context, 3600)).await?;
            context.clock().advance(GRACE - MS);
            expect_equal(check(&context, "t", GRACE).await?, false, "a millisecond before")?;
            context.clock().advance(MS);
            expect_equal(check(&context, "t", GRACE).await?, true, "at the end")
        }
    ),
    case!(
        "REV-05",
        Rev,
        "An immediate revocation takes effect at once, however long the grace.",
        "Immediate revocations that are graceful ones dated back by a fixed time.",
        [],
        async |context| {
            let expires_at = expires_in(&context, 3600);
            let outcome = revoke_immediate(&context, "t", expires_at).await?;
            expect_equal(outcome, RevokeOutcome::Inserted, "the first revocation")?;
            let decade = Duration::from_secs(10 * 365 * 24 * 3600);
            for grace in [NONE, MS, GRACE, GRACE_MAX, 48 * GRACE_MAX, decade, Duration::MAX] {
                let revoked = check(&context, "t", grace).await?;
                expect_equal(revoked, true, format_args!("with a grace of {grace:?}"))?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-06",
        Rev,
        "Revoking again does not start the grace again.",
        "A token that is revoked on each use and stays usable for ever.",
        [InjectedClock],
        async |context| {
            for _ in 0..30 {
                revoke(&context, "t", expires_in(&context, 3600)).await?;
                expect_equal(check(&context, "t", GRACE).await?, false, "within the grace")?;
                context.clock().advance(Duration::from_secs(1));
            }
            revoke(&context, "t", expires_in(&context, 3600)).await?;
            expect_equal(check(&context, "t", GRACE).await?, true, "30 s after the first one")
        }
    ),
    case!(
        "REV-07",
        Rev,
        "An immediate revocation ends a running grace at once.",
        "Records that are only inserted and never tightened.",
        [],
        async |context| {
            let expires_at = expires_in(&context, 3600);
            revoke(&context, "t", expires_at).await?;
            let outcome = revoke_immediate(&context, "t", expires_at).await?;
            expect_equal(outcome, RevokeOutcome::Tightened, "the second revocation")?;
            expect_equal(check(&context, "t", GRACE).await?, true, "within the old grace")
        }
    ),
    case!(
        "REV-08",
        Rev,
        "A graceful revocation after an immediate one loosens nothing.",
        "The last write that wins.",
        [],
        async |context| {
            let expires_at = expires_in(&context, 3600);
            revoke_immediate(&context, "t", expires_at).await?;
            let outcome = revoke(&context, "t", expires_at).await?;
            expect_equal(outcome, RevokeOutcome::Unchanged, "the second revocation")?;
            expect_equal(check(&context, "t", GRACE).await?, true, "with a grace")
        }
    ),
    case!(
        "REV-09",
        Rev,
        "The latest expiry counts, in whatever order they come.",
        "A shorter second expiry that lets a record go too early.",
        [InjectedClock],
        async |context| {
            let (near, far) = (expires_in(&context, 60), expires_in(&context, 36_000));
            for (name, first, second, outcome) in [
                ("later", near, far, RevokeOutcome::Tightened),
                ("earlier", far, near, RevokeOutcome::Unchanged),
            ] {
                revoke(&context, name, first).await?;
                expect_equal(revoke(&context, name, second).await?, outcome, name)?;
            }
            context.clock().advance(Duration::from_secs(35_999));
            for name in ["later", "earlier"] {
                expect_equal(check(&context, name, GRACE).await?, true, name)?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-12",
        Rev,
        "Revoking an expired token is no error; long after its expiry nothing is stored.",
        "Errors for tokens that need no revocation, and records that nobody removes.",
        [InjectedClock],
        async |context| {
            let day = Duration::from_secs(24 * 3600);
            let long_ago = now(&context).saturating_sub(day);
            let outcome = revoke(&context, "old", long_ago).await?;
            expect_equal(outcome, RevokeOutcome::AlreadyExpired, "a day after its expiry")?;
            let outcome = revoke_immediate(&context, "old", long_ago).await?;
            expect_equal(outcome, RevokeOutcome::AlreadyExpired, "the same, at once")?;
            let just_now = now(&context).saturating_sub(Duration::from_secs(1));
            let outcome = revoke(&context, "late", just_now).await?;
            expect_equal(outcome, RevokeOutcome::Inserted, "within the margin for clocks")?;
            expect_equal(check(&context, "late", NONE).await?, true, "it is revoked")?;
            context.clock().advance(day);
            let purged = context.store_admin().purge_expired(100).await?.purged;
            expect_equal(purged, 1, "the records that were stored")
        }
    ),
    case!(
        "REV-13",
        Rev,
        "An expiry in the far future is taken.",
        "Overflow, and refusing a revocation because of its expiry.",
        [],
        async |context| {
            let latest = Timestamp::from_milliseconds(i64::MAX);
            for (name, expires_at) in [("year 9999", Timestamp::LATEST), ("beyond", latest)] {
                let outcome = revoke(&context, name, expires_at).await?;
                expect_equal(outcome, RevokeOutcome::Inserted, name)?;
                expect_equal(check(&context, name, NONE).await?, true, name)?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-15",
        Rev,
        "100 revocations of one token at the same time all succeed and make one record.",
        "Errors for those who come second.",
        [InjectedClock],
        async |context| {
            let (expires_at, first) = (expires_in(&context, 3600), second_store(&context).await?);
            let outcomes = in_tasks(100, |number| {
                let store = if number % 2 == 0 { context.revocations() } else { first.clone() };
                async move {
                    let token = token("t")?;
                    Ok(store.revoke_token(&token, expires_at, Default::default()).await?)
                }
            })
            .await?;
            let inserted = outcomes.iter().filter(|one| **one == RevokeOutcome::Inserted).count();
            expect_equal(inserted, 1, "the number of insertions")?;
            context.clock().advance(Duration::from_secs(24 * 3600));
            let purged = context.store_admin().purge_expired(1000).await?.purged;
            expect_equal(purged, 1, "the number of records")
        }
    ),
    case!(
        "REV-17",
        Rev,
        "An acknowledged revocation is seen through every handle at once.",
        "Cached answers of not revoked.",
        [Shared],
        async |context| {
            let other = context.second_handle().await?.revocations()?;
            for number in 0..50 {
                let name = format!("t{number}");
                let id = token(&name)?;
                let before = other.is_revoked(&id, NONE, Default::default()).await?;
                expect_equal(before, false, "before")?;
                revoke(&context, &name, expires_in(&context, 3600)).await?;
                let after = other.is_revoked(&id, NONE, Default::default()).await?;
                expect_equal(after, true, "after")?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-18",
        Rev,
        "A check that cannot be answered is an error, never not revoked.",
        "Failing open.",
        [],
        async |context| {
            let store = context.revocations();
            let (known, unknown) = (token("t")?, token("unknown")?);
            revoke(&context, "t", expires_in(&context, 3600)).await?;
            store.close().await?;
            store.close().await?;
            for id in [&known, &unknown] {
                let checked = store.is_revoked(id, NONE, Default::default()).await;
                expect_kind(checked, ErrorKind::Closed, "is_revoked")?;
                let status = store.revocation_status(id, NONE, Default::default()).await;
                expect_kind(status, ErrorKind::Closed, "revocation_status")?;
            }
            let many =
                store.is_revoked_many(std::slice::from_ref(&known), NONE, Default::default()).await;
            expect_kind(many, ErrorKind::Closed, "is_revoked_many")?;
            let expires_at = expires_in(&context, 60);
            let late = store.revoke_token(&known, expires_at, Default::default()).await;
            expect_kind(late, ErrorKind::Closed, "revoke_token")?;
            let late = store.revoke_token_immediate(&known, expires_at, Default::default()).await;
            expect_kind(late, ErrorKind::Closed, "revoke_token_immediate")?;
            Ok(())
        }
    ),
    case!(
        "REV-19",
        Rev,
        "Ids that are empty, too long or have control characters are no token ids.",
        "One record that speaks for every token without an id.",
        [],
        async |_context| {
            let long = "x".repeat(257);
            for text in ["", &long, "a\nb", "a\0", "\u{7f}", "\u{85}"] {
                let error = expect_kind(
                    TokenId::parse(text),
                    ErrorKind::InvalidArgument,
                    format_args!("{} bytes", text.len()),
                )?;
                expect_equal(error.reason(), Some(Reason::TokenId), "the reason")?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-20",
        Rev,
        "Token ids are compared byte by byte, whatever characters they have.",
        "Folding, trimming, patterns, and separators that run keys together.",
        [],
        async |context| {
            let long = "é".repeat(128);
            let names = [
                "a",
                "A",
                "a ",
                " a",
                "a:",
                ":a",
                "a*",
                "*",
                "a%",
                "_",
                "a'b",
                "a\"b",
                "{a}",
                "$a",
                "a/b",
                "a\u{301}",
                "á",
                "\u{1f600}",
                "a;DROP TABLE revocations",
                &long,
            ];
            for (position, name) in names.iter().enumerate() {
                let revoked = check(&context, name, NONE).await?;
                expect_equal(revoked, false, format_args!("{name:?} after {position} others"))?;
                revoke(&context, name, expires_in(&context, 3600)).await?;
                expect_equal(check(&context, name, NONE).await?, true, *name)?;
            }
            Ok(())
        }
    ),
    case!(
        "REV-27",
        Rev,
        "The first reason given is kept, and it is told with the status.",
        "Reasons that a repeated revocation overwrites.",
        [],
        async |context| {
            let (store, id) = (context.revocations(), token("t")?);
            let expires_at = expires_in(&context, 3600);
            for reason in ["stolen", "logged out"] {
                let options = RevocationOptions::default().with_reason(reason);
                store.revoke_token_immediate(&id, expires_at, options).await?;
            }
            match status(&context, "t", GRACE).await? {
                RevocationStatus::Revoked { immediate, reason, .. } => {
                    expect(immediate, "the status hides that it was immediate")?;
                    expect_equal(reason.as_deref(), Some("stolen"), "the reason")
                }
                other => Err(crate::Failure::new(format_args!("the status is {other:?}"))),
            }
        }
    ),
    case!(
        "REV-28",
        Rev,
        "A reason beyond 256 bytes is refused and nothing is revoked.",
        "Cut reasons, and half of a call that is applied.",
        [],
        async |context| {
            let (store, id) = (context.revocations(), token("t")?);
            let options = RevocationOptions::default().with_reason("x".repeat(257));
            let refused = store.revoke_token(&id, expires_in(&context, 60), options).await;
            expect_kind(refused, ErrorKind::InvalidArgument, "a long reason")?;
            expect_equal(check(&context, "t", NONE).await?, false, "it is revoked all the same")?;
            let options = RevocationOptions::default().with_reason("x".repeat(256));
            store.revoke_token(&id, expires_in(&context, 60), options).await?;
            expect_equal(check(&context, "t", NONE).await?, true, "at the limit")
        }
    ),
    case!(
        "REV-29",
        Rev,
        "A grace beyond the longest one counts as that; below a millisecond it is none.",
        "A caller's grace that keeps revoked tokens alive for days.",
        [InjectedClock],
        async |context| {
            revoke(&context, "t", expires_in(&context, 36_000)).await?;
            let tiny = Duration::from_micros(999);
            expect_equal(check(&context, "t", tiny).await?, true, "less than a millisecond")?;
            context.clock().advance(GRACE_MAX - MS);
            let long = Duration::from_secs(48 * 3600);
            expect_equal(check(&context, "t", long).await?, false, "within the longest grace")?;
            context.clock().advance(MS);
            expect_equal(check(&context, "t", long).await?, true, "at its end")
        }
    ),
];
