//! Accounts in a file: whole, unique by name, and seen by every handle at once.

use std::sync::Arc;

use serde_json::json;
use syntrix_storage_core::backend::{UserApplied, UserBackend, UserRecord, UserWrite};
use syntrix_storage_core::{
    Error, ErrorKind, Operation, Secret, Timestamp, User, UserId, UsernameKey, Version,
};

use crate::common::{Fixture, START, context, fact, race};

pub fn id(text: &str) -> UserId {
    UserId::parse(text).expect("id")
}

pub fn key(name: &str) -> UsernameKey {
    UsernameKey::fold(name).expect("name")
}

/// An account of version 1 that never logged in.
pub fn record(text: &str, name: &str) -> UserRecord {
    let mut user = User::first(id(text), name, Timestamp::from_milliseconds(START));
    user.password_hash = Some(Secret::new("$argon2id$canary"));
    user.password_algorithm = Some("argon2id".into());
    let (key, key_rule_version) = (key(name), UsernameKey::RULE_VERSION);
    UserRecord { user, key, key_rule_version, login_window: 0, login_sequence: 0 }
}

pub fn insert(record: UserRecord) -> UserWrite {
    UserWrite::Insert(Box::new(record))
}

/// Everything there is to compare; the hash prints as nothing.
pub fn shown(record: &UserRecord) -> String {
    format!("{record:?} {:?}", record.user.password_hash.as_ref().map(Secret::expose))
}

async fn opened() -> (Fixture, Arc<dyn UserBackend>) {
    let fixture = Fixture::open().await;
    let users = fixture.backend.users().expect("users");
    (fixture, users)
}

async fn write(users: &Arc<dyn UserBackend>, change: UserWrite) -> UserApplied {
    users.write(change, &context(Operation::Write)).await.expect("write")
}

async fn get(users: &Arc<dyn UserBackend>, text: &str) -> Option<UserRecord> {
    users.get(&id(text), &context(Operation::Read)).await.expect("get").value
}

async fn by_name(users: &Arc<dyn UserBackend>, name: &str) -> Option<UserRecord> {
    users.get_by_name(&key(name), &context(Operation::Read)).await.expect("get").value
}

/// Every field has a value of its own, so that no two of them can change places.
fn whole() -> UserRecord {
    let time = |milliseconds| Some(Timestamp::from_milliseconds(milliseconds));
    let mut record = record("u1", "Ada");
    let user = &mut record.user;
    user.password_changed_at = time(1);
    user.roles = ["reader", "admin"].map(String::from).into();
    user.db_admin = ["main", "a\"b"].map(String::from).into();
    user.disabled = true;
    user.disabled_at = time(2);
    user.disabled_reason = Some("left".into());
    let profile =
        json!({"é": [1, 0.1, null, {}], "min": i64::MIN, "max": i64::MAX, "": "\u{1f600}"});
    user.profile = profile.as_object().expect("object").clone();
    user.token_epoch = u64::MAX;
    user.tokens_valid_after = time(3);
    user.version = Version::new(9);
    user.updated_at = Timestamp::from_milliseconds(START + 4);
    user.login.last_login_at = time(5);
    user.login.last_failed_at = time(6);
    user.login.failed_attempts = u32::MAX;
    user.login.lockout_until = time(7);
    user.login.lockout_count = 8;
    (record.login_window, record.login_sequence) = (u64::MAX - 1, u64::MAX - 2);
    record
}

#[tokio::test]
async fn every_field_comes_back_as_it_was_stored() {
    let (fixture, users) = opened().await;
    assert_eq!(write(&users, insert(whole())).await, UserApplied::Yes);
    for found in [get(&users, "u1").await, by_name(&users, "aDA").await] {
        assert_eq!(shown(&found.expect("there")), shown(&whole()));
    }
    fixture.backend.close().await.expect("close");
    let users = fixture.again().await.backend.users().expect("users");
    assert_eq!(shown(&get(&users, "u1").await.expect("kept")), shown(&whole()));
}

#[tokio::test]
async fn a_change_and_a_login_leave_each_other_alone() {
    let (_fixture, users) = opened().await;
    write(&users, insert(record("u1", "ada"))).await;
    let mut state = whole().login_state();
    state.sequence = 1;
    let login = UserWrite::Login { id: id("u1"), expected: 0, state: state.clone() };
    assert_eq!(write(&users, login.clone()).await, UserApplied::Yes);
    assert_eq!(write(&users, login).await, UserApplied::Stale, "the sequence moved on");
    let mut renamed = record("u1", "grace");
    renamed.user.version = Version::new(2);
    let replace = UserWrite::Replace { expected: Version::FIRST, record: Box::new(renamed) };
    assert_eq!(write(&users, replace.clone()).await, UserApplied::Yes);
    assert_eq!(write(&users, replace).await, UserApplied::Stale);
    let stored = get(&users, "u1").await.expect("there");
    assert_eq!(stored.login_state(), state);
    assert_eq!((stored.user.username.as_str(), stored.user.version.get()), ("grace", 2));
    assert!(by_name(&users, "ada").await.is_none());
}

#[tokio::test]
async fn a_deleted_account_frees_its_name_and_keeps_its_id() {
    let (_fixture, users) = opened().await;
    write(&users, insert(record("u1", "ada"))).await;
    let mut tombstone = record("u1", "ada");
    tombstone.user.deleted_at = Some(Timestamp::from_milliseconds(START));
    let delete = UserWrite::Replace { expected: Version::FIRST, record: Box::new(tombstone) };
    assert_eq!(write(&users, delete).await, UserApplied::Yes);
    assert!(by_name(&users, "ada").await.is_none());
    assert_eq!(write(&users, insert(record("u1", "new"))).await, UserApplied::IdTaken);
    assert_eq!(write(&users, insert(record("u2", "ADA"))).await, UserApplied::Yes);
    assert_eq!(write(&users, insert(record("u3", "Ada"))).await, UserApplied::NameTaken);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_that_want_one_name_one_gets_it() {
    let one = Fixture::open().await;
    let other = one.again().await;
    let handles = [&one, &other].map(|fixture| fixture.backend.users().expect("users"));
    let outcomes = race(|number| {
        let users = Arc::clone(&handles[number % 2]);
        async move { write(&users, insert(record(&format!("u{number}"), "ada"))).await }
    });
    let outcomes = outcomes.await;
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((count(UserApplied::Yes), count(UserApplied::NameTaken)), (1, 31));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_32_that_saw_one_sequence_one_counts_the_login() {
    let (_fixture, users) = opened().await;
    write(&users, insert(record("u1", "ada"))).await;
    let outcomes = race(|_| {
        let users = Arc::clone(&users);
        let mut state = record("u1", "ada").login_state();
        (state.sequence, state.stats.failed_attempts) = (1, 1);
        async move { write(&users, UserWrite::Login { id: id("u1"), expected: 0, state }).await }
    });
    let outcomes = outcomes.await;
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((count(UserApplied::Yes), count(UserApplied::Stale)), (1, 31));
}

#[tokio::test]
async fn a_write_of_one_handle_is_read_by_the_other_at_once() {
    let (one, users) = opened().await;
    let others = one.again().await.backend.users().expect("users");
    write(&users, insert(record("u1", "ada"))).await;
    assert!(by_name(&others, "ada").await.is_some());
    assert_eq!(write(&others, insert(record("u2", "ada"))).await, UserApplied::NameTaken);
}

async fn ensure_fails(users: &Arc<dyn UserBackend>) -> Error {
    let error = users.ensure_indexes().await.expect_err("it passed");
    assert_eq!(error.kind(), ErrorKind::Internal);
    error
}

fn index(fixture: &Fixture) -> Option<String> {
    let sql = "SELECT max(sql) FROM sqlite_master WHERE name = 'users_username_key'";
    fixture.raw().query_row(sql, [], |row| row.get(0)).expect("catalogue")
}

#[tokio::test]
async fn a_missing_index_is_made_again_and_a_whole_one_left_alone() {
    let (fixture, users) = opened().await;
    let statement = index(&fixture);
    users.ensure_indexes().await.expect("whole");
    fixture.raw().execute_batch("DROP INDEX users_username_key").expect("drop");
    let ensure = (0..8).map(|_| {
        let users = Arc::clone(&users);
        tokio::spawn(async move { users.ensure_indexes().await })
    });
    for task in ensure.collect::<Vec<_>>() {
        task.await.expect("task").expect("missing");
    }
    assert_eq!(index(&fixture), statement);
}

#[tokio::test]
async fn names_of_several_accounts_are_counted_not_named_and_nothing_changes() {
    let (fixture, users) = opened().await;
    for number in 0..5 {
        write(&users, insert(record(&format!("u{number}"), &format!("canary{number}")))).await;
    }
    let copies = "DROP INDEX users_username_key; \
        UPDATE users SET username_key = 'canary0' WHERE id IN ('u1', 'u2'); \
        UPDATE users SET username_key = 'canary4' WHERE id = 'u3';";
    fixture.raw().execute_batch(copies).expect("sql");
    let error = ensure_fails(&users).await;
    assert_eq!(error.fact("names"), Some("2"));
    assert!(!format!("{error:?} {error}").contains("canary"));
    assert_eq!(index(&fixture), None);
}

#[tokio::test]
async fn an_index_that_does_not_keep_names_unique_is_refused() {
    let (fixture, users) = opened().await;
    for index in [
        "INDEX users_username_key ON users (username_key) WHERE deleted_at IS NULL",
        "UNIQUE INDEX users_username_key ON users (username) WHERE deleted_at IS NULL",
        "UNIQUE INDEX users_username_key ON users (username_key, id) WHERE deleted_at IS NULL",
        "UNIQUE INDEX users_username_key ON users (username_key) WHERE disabled = 0",
        "UNIQUE INDEX users_username_key ON users (username_key COLLATE NOCASE) WHERE deleted_at IS NULL",
    ] {
        let sql = format!("DROP INDEX users_username_key; CREATE {index};");
        fixture.raw().execute_batch(&sql).expect("sql");
        assert_eq!(ensure_fails(&users).await.fact("name"), Some("users_username_key"), "{index}");
    }
}

#[tokio::test]
async fn a_damaged_row_is_an_internal_error_that_shows_nothing_of_it() {
    let (fixture, users) = opened().await;
    for damage in ["profile = 'canary'", "roles = '{canary'", "failed_attempts = -1"] {
        fixture.raw().execute_batch("DELETE FROM users").expect("sql");
        write(&users, insert(record("u1", "ada"))).await;
        fixture.raw().execute_batch(&format!("UPDATE users SET {damage}")).expect("sql");
        let error = users.get(&id("u1"), &context(Operation::Read)).await.expect_err(damage);
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}

#[tokio::test]
async fn health_counts_accounts() {
    let (_fixture, users) = opened().await;
    write(&users, insert(whole())).await;
    write(&users, insert(record("u2", "grace"))).await;
    let report = users.health().await.expect("health");
    let fact = |name| fact(&report, name);
    assert_eq!((fact("users"), fact("disabled")), (Some("2"), Some("1")));
    assert_eq!(fact("schemaVersion"), Some("4"));
}
