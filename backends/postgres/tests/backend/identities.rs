//! Accounts and revoked tokens: one atomic step each, whoever else writes, by the server's clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use syntrix_storage_core::backend::{
    Insertion, RevocationRequest, UserApplied, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    ErrorKind, Operation, Revocation, RevokeOutcome, Secret, Timestamp, TokenId, User, UserFilter,
    UserId, UserListPlan, UserPageRequest, UsernameKey, Version,
};

use crate::common::{Fixture, START, context, race};

/// Long after any clock of a test machine.
const LATE: i64 = 4_000_000_000_000;

pub fn record(text: &str, name: &str) -> UserRecord {
    let id = UserId::parse(text).expect("id");
    let mut user = User::first(id, name, Timestamp::from_milliseconds(START));
    user.password_hash = Some(Secret::new("$argon2id$canary"));
    user.password_algorithm = Some("argon2id".into());
    let (key, key_rule_version) =
        (UsernameKey::fold(name).expect("name"), UsernameKey::RULE_VERSION);
    UserRecord { user, key, key_rule_version, login_window: 0, login_sequence: 0 }
}

pub fn insert(record: UserRecord) -> UserWrite {
    UserWrite::Insert(Box::new(record))
}

pub fn request(text: &str) -> RevocationRequest {
    RevocationRequest {
        token: TokenId::parse(text).expect("token"),
        immediate: false,
        expires_at: Timestamp::from_milliseconds(LATE),
        keep_until: Timestamp::from_milliseconds(LATE),
        reason: None,
        subject: None,
        family: None,
        successor: None,
    }
}

fn shown(record: &UserRecord) -> String {
    format!("{record:?} {:?}", record.user.password_hash.as_ref().map(Secret::expose))
}

/// Every field has a value of its own, so that no two of them can change places.
fn whole() -> UserRecord {
    let time = |milliseconds| Some(Timestamp::from_milliseconds(milliseconds));
    let names =
        |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let mut record = record("u1", "Ada");
    let user = &mut record.user;
    user.password_changed_at = time(1);
    user.roles = names(&["a", "b,c", "d\"e"]);
    user.db_admin = names(&["{x}", "it's"]);
    (user.disabled, user.disabled_at, user.disabled_reason) = (true, time(2), Some("left".into()));
    let profile = json!({"n": 1e19, "": [null, true], "é": {"b": 1, "a": 2.5}});
    user.profile = profile.as_object().expect("object").clone();
    (user.token_epoch, user.tokens_valid_after) = (3, time(4));
    user.version = Version::new(5);
    (user.created_at, user.updated_at) =
        (Timestamp::from_milliseconds(6), Timestamp::from_milliseconds(7));
    user.login.last_login_at = time(9);
    user.login.last_failed_at = time(10);
    (user.login.failed_attempts, user.login.lockout_count) = (11, 13);
    user.login.lockout_until = time(12);
    (record.login_window, record.login_sequence) = (14, 15);
    record
}

#[tokio::test]
async fn every_field_of_an_account_comes_back_and_the_time_is_the_servers() {
    let fixture = Fixture::open().await;
    let users = fixture.backend.users().expect("users");
    let context = context(Operation::Write);
    assert_eq!(users.write(insert(whole()), &context).await.expect("write"), UserApplied::Yes);
    let found = users.get(&UserId::parse("u1").expect("id"), &context).await.expect("get");
    assert_eq!(shown(&found.value.expect("account")), shown(&whole()));
    let key = UsernameKey::fold("ADA").expect("name");
    let by_name = users.get_by_name(&key, &context).await.expect("get");
    assert_eq!(shown(&by_name.value.expect("account")), shown(&whole()));
    // The injected clock stands in the past; the server's does not.
    assert!(by_name.now.as_milliseconds() > START + 1000);
    let nobody = users.get(&UserId::parse("u2").expect("id"), &context).await.expect("get");
    assert!(nobody.value.is_none() && nobody.now.as_milliseconds() > START + 1000);
}

#[tokio::test]
async fn ids_and_names_are_told_apart_when_they_are_taken() {
    let fixture = Fixture::open().await;
    let users = fixture.backend.users().expect("users");
    let write = |write| {
        let users = users.clone();
        async move { users.write(write, &context(Operation::Write)).await.expect("write") }
    };
    assert_eq!(write(insert(record("u1", "ada"))).await, UserApplied::Yes);
    assert_eq!(write(insert(record("u1", "bob"))).await, UserApplied::IdTaken);
    assert_eq!(write(insert(record("u1", "ada"))).await, UserApplied::IdTaken);
    assert_eq!(write(insert(record("u2", "ada"))).await, UserApplied::NameTaken);
    assert_eq!(write(insert(record("u2", "bob"))).await, UserApplied::Yes);
    let replace = |mut record: UserRecord, expected| {
        record.user.version = Version::new(expected + 1);
        UserWrite::Replace { expected: Version::new(expected), record: Box::new(record) }
    };
    assert_eq!(write(replace(record("u2", "ada"), 1)).await, UserApplied::NameTaken);
    assert_eq!(write(replace(record("u2", "bo"), 2)).await, UserApplied::Stale);
    assert_eq!(write(replace(record("u9", "bo"), 1)).await, UserApplied::Stale);
    let mut gone = record("u1", "ada");
    gone.user.deleted_at = Some(Timestamp::from_milliseconds(START));
    assert_eq!(write(replace(gone, 1)).await, UserApplied::Yes);
    // The name is free, the id is not.
    assert_eq!(write(replace(record("u2", "ada"), 1)).await, UserApplied::Yes);
    assert_eq!(write(insert(record("u1", "eve"))).await, UserApplied::IdTaken);
    let plan =
        UserListPlan::check(UserFilter::default(), UserPageRequest::default()).expect("plan");
    let listed = users.list(&plan, &context(Operation::Query)).await.expect("list");
    let names: Vec<_> = listed.iter().map(|record| record.user.username.as_str()).collect();
    assert_eq!((names, listed[0].user.password_hash.is_none()), (vec!["ada"], true));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_count_a_login_at_one_sequence_one_does() {
    let one = Fixture::open().await;
    let other = one.again().await;
    let stores = [one.backend.users().expect("users"), other.backend.users().expect("users")];
    stores[0].write(insert(record("u1", "ada")), &context(Operation::Write)).await.expect("write");
    let answers = race(|number| {
        let users = stores[number % 2].clone();
        async move {
            let mut state = record("u1", "ada").login_state();
            (state.stats.failed_attempts, state.sequence) = (number as u32, 1);
            let id = UserId::parse("u1").expect("id");
            let write = UserWrite::Login { id, expected: 0, state };
            users.write(write, &context(Operation::Write)).await.expect("write")
        }
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| **answer == UserApplied::Yes).count(), 1);
}

#[tokio::test]
async fn a_dropped_or_changed_index_of_names_is_noticed() {
    let fixture = Fixture::open().await;
    let users = fixture.backend.users().expect("users");
    let raw = fixture.raw().await;
    users.ensure_indexes().await.expect("whole");
    raw.batch_execute("DROP INDEX users_username_key").await.expect("drop");
    users.ensure_indexes().await.expect("made");
    raw.batch_execute(
        "DROP INDEX users_username_key; CREATE INDEX users_username_key ON users (username_key)",
    )
    .await
    .expect("change");
    assert_eq!(users.ensure_indexes().await.expect_err("accepted").kind(), ErrorKind::Internal);
    raw.batch_execute("DROP INDEX users_username_key").await.expect("drop");
    for id in ["u1", "u2"] {
        users.write(insert(record(id, "ada")), &context(Operation::Write)).await.expect("write");
    }
    let error = users.ensure_indexes().await.expect_err("accepted");
    assert_eq!(error.fact("names"), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_from_everywhere_at_once_end_in_the_strictest_record() {
    let one = Fixture::open().await;
    let other = one.again().await;
    let stores = [
        one.backend.revocations().expect("revocations"),
        other.backend.revocations().expect("revocations"),
    ];
    for round in 0..5 {
        let token = format!("t{round}");
        let answers =
            race(|number| {
                let revocations = stores[number % 2].clone();
                let mut asked = request(&token);
                asked.immediate = number == 5;
                asked.keep_until = Timestamp::from_milliseconds(LATE + number as i64);
                asked.subject = (number == 9).then(|| "u1".to_owned());
                async move {
                    revocations.join(asked, &context(Operation::Write)).await.expect("join").value
                }
            })
            .await;
        let inserted = answers.iter().filter(|answer| **answer == RevokeOutcome::Inserted).count();
        assert_eq!(inserted, 1);
        let id = TokenId::parse(&token).expect("token");
        let found = stores[1].get(&id, &context(Operation::Read)).await.expect("get");
        let Revocation { immediate, keep_until, subject, .. } = *found.value.expect("record");
        assert_eq!((immediate, keep_until.as_milliseconds()), (true, LATE + 31));
        assert_eq!(subject.as_deref(), Some("u1"));
        assert_eq!(found.canary, Some(stores[0].canary()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_insert_one_wins_and_the_others_see_its_record() {
    let one = Fixture::open().await;
    let other = one.again().await;
    let stores = [
        one.backend.revocations().expect("revocations"),
        other.backend.revocations().expect("revocations"),
    ];
    let answers =
        race(|number| {
            let revocations = stores[number % 2].clone();
            let mut asked = request("t");
            asked.successor = Some(TokenId::parse(&format!("next{number}")).expect("token"));
            async move {
                revocations.insert(asked, &context(Operation::Write)).await.expect("insert").value
            }
        })
        .await;
    let winner =
        answers.iter().position(|answer| *answer == Insertion::Inserted).expect("a winner");
    let successor = TokenId::parse(&format!("next{winner}")).expect("token");
    for (number, answer) in answers.iter().enumerate().filter(|(number, _)| *number != winner) {
        let Insertion::Present(record) = answer else { panic!("{number}: {answer:?}") };
        assert_eq!(record.successor.as_ref(), Some(&successor));
    }
}

#[tokio::test]
async fn a_record_whose_time_is_over_counts_as_none_and_is_purged() {
    let fixture = Fixture::open().await;
    let revocations = fixture.backend.revocations().expect("revocations");
    let context = context(Operation::Write);
    let raw = fixture.raw().await;
    for token in ["old", "older"] {
        let sql = "INSERT INTO revocations VALUES ($1, 1, TRUE, 2, 3, 'once', NULL, NULL, NULL)";
        raw.execute(sql, &[&token]).await.expect("insert");
    }
    let joined = revocations.join(request("old"), &context).await.expect("join");
    assert_eq!(joined.value, RevokeOutcome::Inserted);
    let id = TokenId::parse("old").expect("token");
    let found = revocations.get(&id, &context).await.expect("get").value.expect("record");
    assert_eq!((found.immediate, found.reason, found.revoked_at), (false, None, joined.now));
    let purged = revocations.purge(10).await.expect("purge");
    assert_eq!((purged.purged, purged.more), (1, false));
    // Whoever writes around this crate cannot loosen it.
    raw.batch_execute("UPDATE revocations SET revoked_at = 9e12, keep_until = 5")
        .await
        .expect("sql");
    let kept = revocations.get(&id, &context).await.expect("get").value.expect("record");
    assert_eq!((kept.revoked_at, kept.keep_until.as_milliseconds()), (found.revoked_at, LATE));
}

#[tokio::test]
async fn a_lost_mark_is_seen_with_the_next_answer_and_at_the_next_open() {
    let fixture = Fixture::open().await;
    let revocations = fixture.backend.revocations().expect("revocations");
    let raw = fixture.raw().await;
    raw.batch_execute("DELETE FROM revocations_canary").await.expect("sql");
    let token = TokenId::parse("t").expect("token");
    let read = revocations.get(&token, &context(Operation::Read)).await.expect("get");
    assert_eq!(read.canary, None);
    let provider = crate::common::provider(&fixture.place.block(&json!({})));
    let open = fixture.place.context(&fixture.clock);
    let again = provider.open(&open).await.expect("open");
    let error = again.revocations().expect_err("opened");
    assert_eq!(error.kind(), ErrorKind::StateLost);
    // Documents and accounts do not depend on it.
    let users = again.users().expect("users");
    users.write(insert(record("u1", "ada")), &context(Operation::Write)).await.expect("write");
    fixture.insert("case/a", json!({})).await;
    let documents = again.documents().expect("documents");
    documents.health().await.expect("health");
    let path = crate::common::parse("case/a");
    let found = documents.get(&path, &context(Operation::Read)).await.expect("get");
    assert!(found.is_some());
    again.close().await.expect("close");
    raw.batch_execute(error.fact("statement").expect("statement")).await.expect("remedy");
    let anew = provider.open(&open).await.expect("open");
    let mark = anew.revocations().expect("revocations").canary();
    assert_ne!(mark, revocations.canary());
    anew.close().await.expect("close");
    let many: Vec<_> = ["a", "t", "a"].map(|text| TokenId::parse(text).expect("token")).into();
    revocations.join(request("a"), &context(Operation::Write)).await.expect("join");
    let read = Arc::clone(&revocations).get_many(&many, &context(Operation::Read)).await;
    let found: Vec<_> = read.expect("get").value.iter().map(Option::is_some).collect();
    assert_eq!(found, [true, false, true]);
}
