//! Revoked tokens in a file: decided in one step, never loosened, and seen by every handle at once.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage_core::backend::{Insertion, RevocationBackend, RevocationRequest};
use syntrix_storage_core::{
    ErrorKind, Operation, PurgeReport, Revocation, RevokeOutcome, Timestamp, TokenId,
};

use crate::common::{Fixture, START, context, fact, race};

pub fn token(text: &str) -> TokenId {
    TokenId::parse(text).expect("token")
}

/// Kept for `milliseconds` from [`START`].
pub fn request(text: &str, milliseconds: i64) -> RevocationRequest {
    let keep_until = Timestamp::from_milliseconds(START + milliseconds);
    RevocationRequest {
        token: token(text),
        immediate: false,
        expires_at: keep_until,
        keep_until,
        reason: None,
        subject: None,
        family: None,
        successor: None,
    }
}

async fn opened() -> (Fixture, Arc<dyn RevocationBackend>) {
    let fixture = Fixture::open().await;
    let revocations = fixture.backend.revocations().expect("revocations");
    (fixture, revocations)
}

async fn join(
    revocations: &Arc<dyn RevocationBackend>,
    request: RevocationRequest,
) -> RevokeOutcome {
    revocations.join(request, &context(Operation::Write)).await.expect("join").value
}

async fn get(revocations: &Arc<dyn RevocationBackend>, text: &str) -> Option<Revocation> {
    let found = revocations.get(&token(text), &context(Operation::Read)).await.expect("get");
    found.value.map(|record| *record)
}

#[tokio::test]
async fn every_field_comes_back_as_it_was_stored() {
    let (fixture, revocations) = opened().await;
    let text = |text: &str| Some(text.to_owned());
    let asked = RevocationRequest {
        immediate: true,
        expires_at: Timestamp::from_milliseconds(START + 1),
        reason: text("stolen"),
        subject: text("u1"),
        family: text("f1"),
        successor: Some(token("next")),
        ..request("it's \"{*}\" é", 100)
    };
    assert_eq!(join(&revocations, asked.clone()).await, RevokeOutcome::Inserted);
    let expected = asked.join(None, Timestamp::from_milliseconds(START)).1;
    assert_eq!(get(&revocations, "it's \"{*}\" é").await, expected);
    fixture.backend.close().await.expect("close");
    let revocations = fixture.again().await.backend.revocations().expect("revocations");
    assert_eq!(get(&revocations, "it's \"{*}\" é").await, expected);
    assert_eq!(get(&revocations, "it's \"{*}\" É").await, None);
}

#[tokio::test]
async fn a_record_whose_time_is_over_is_stored_anew_although_it_becomes_looser() {
    let (fixture, revocations) = opened().await;
    let first = RevocationRequest { immediate: true, ..request("t", 10) };
    assert_eq!(join(&revocations, first).await, RevokeOutcome::Inserted);
    fixture.clock.advance(Duration::from_millis(10));
    assert_eq!(join(&revocations, request("t", 20)).await, RevokeOutcome::Inserted);
    let stored = get(&revocations, "t").await.expect("there");
    assert_eq!((stored.immediate, stored.revoked_at.as_milliseconds()), (false, START + 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_that_rotate_one_token_one_wins_and_all_others_see_its_record() {
    let one = Fixture::open().await;
    let other = one.again().await;
    let handles = [&one, &other].map(|fixture| fixture.backend.revocations().expect("revocations"));
    let outcomes = race(|number| {
        let revocations = Arc::clone(&handles[number % 2]);
        let successor = Some(token(&format!("next{number}")));
        let request = RevocationRequest { successor, ..request("t", 1000) };
        async move { revocations.insert(request, &context(Operation::Write)).await }
    });
    let mut present = Vec::new();
    for outcome in outcomes.await {
        match outcome.expect("insert").value {
            Insertion::Inserted => {}
            Insertion::Present(record) => present.push(record),
            Insertion::AlreadyExpired => panic!("it has not expired"),
        }
    }
    let stored = get(&handles[0], "t").await.expect("there");
    assert_eq!(present.len(), 31);
    assert!(present.iter().all(|record| *record == stored));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_revocations_of_one_token_add_up_to_the_strictest() {
    let one = Fixture::open().await;
    let other = one.again().await;
    let handles = [&one, &other].map(|fixture| fixture.backend.revocations().expect("revocations"));
    let outcomes = race(|number| {
        let revocations = Arc::clone(&handles[number % 2]);
        let request =
            RevocationRequest { immediate: number == 7, ..request("t", 100 + number as i64) };
        async move { join(&revocations, request).await }
    });
    let outcomes = outcomes.await;
    let inserted = outcomes.iter().filter(|outcome| **outcome == RevokeOutcome::Inserted).count();
    let stored = get(&handles[1], "t").await.expect("there");
    assert_eq!(inserted, 1);
    assert_eq!((stored.immediate, stored.keep_until.as_milliseconds()), (true, START + 131));
}

#[tokio::test]
async fn a_revocation_by_one_handle_is_read_by_the_other_at_once() {
    let (one, revocations) = opened().await;
    let others = one.again().await.backend.revocations().expect("revocations");
    assert_eq!(get(&others, "t").await, None);
    join(&revocations, request("t", 10)).await;
    assert!(get(&others, "t").await.is_some());
}

#[tokio::test]
async fn a_purge_removes_what_is_over_in_batches_and_nothing_else() {
    let (fixture, revocations) = opened().await;
    for number in 0..7 {
        join(&revocations, request(&format!("over{number}"), 10)).await;
    }
    join(&revocations, request("kept", 11)).await;
    assert_eq!(revocations.purge(5).await.expect("purge"), PurgeReport::default());
    fixture.clock.advance(Duration::from_millis(10));
    let report = revocations.health().await.expect("health");
    let fact = |name| fact(&report, name);
    assert_eq!((fact("revocations"), fact("expired")), (Some("8"), Some("7")));
    let mut purged = Vec::new();
    for _ in 0..3 {
        let report = revocations.purge(3).await.expect("purge");
        purged.push((report.purged, report.more));
    }
    assert_eq!(purged, [(3, true), (3, true), (1, false)]);
    assert!(get(&revocations, "kept").await.is_some());
}

#[tokio::test]
async fn the_mark_stays_with_the_file_and_no_two_files_share_one() {
    let (fixture, revocations) = opened().await;
    let mark = revocations.canary();
    let found = revocations.get(&token("t"), &context(Operation::Read)).await.expect("get");
    assert_eq!(found.canary, Some(mark));
    fixture.backend.close().await.expect("close");
    assert_eq!(fixture.again().await.backend.revocations().expect("revocations").canary(), mark);
    assert_ne!(opened().await.1.canary(), mark);
}

#[tokio::test]
async fn a_damaged_row_is_an_error_and_never_an_answer() {
    let (fixture, revocations) = opened().await;
    join(&revocations, request("t", 10)).await;
    fixture.raw().execute_batch("UPDATE revocations SET successor = ''").expect("sql");
    let call = context(Operation::Write);
    let found = revocations.get(&token("t"), &call).await.map(drop);
    let joined = revocations.join(request("t", 10), &call).await.map(drop);
    let inserted = revocations.insert(request("t", 10), &call).await.map(drop);
    for outcome in [found, joined, inserted] {
        assert_eq!(outcome.expect_err("an answer").kind(), ErrorKind::Internal);
    }
}

#[tokio::test]
async fn the_index_and_the_rule_of_the_table_are_made_again_or_refused() {
    let (fixture, revocations) = opened().await;
    join(&revocations, request("t", 10)).await;
    let loosen = "UPDATE revocations SET keep_until = 0";
    fixture.raw().execute_batch(loosen).expect_err("loosened");
    let removed = "DROP TRIGGER revocations_never_loosen; DROP INDEX revocations_keep_until;";
    fixture.raw().execute_batch(removed).expect("sql");
    revocations.ensure_indexes().await.expect("missing");
    revocations.ensure_indexes().await.expect("whole");
    fixture.raw().execute_batch(loosen).expect_err("loosened");
    let other = "DROP INDEX revocations_keep_until; \
        CREATE INDEX revocations_keep_until ON revocations (expires_at);";
    fixture.raw().execute_batch(other).expect("sql");
    let error = revocations.ensure_indexes().await.expect_err("it passed");
    assert_eq!(error.fact("name"), Some("revocations_keep_until"));
}
