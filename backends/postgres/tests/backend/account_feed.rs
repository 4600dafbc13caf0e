//! The feed of accounts where transactions end in another order than they began, and what an upgrade makes of old accounts.

use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use syntrix_storage_core::backend::{UserBackend, UserChanges};
use syntrix_storage_core::{ExpiredReason, Operation, Position, Result};

use crate::common::{Fixture, context, provider};
use crate::identities::{insert, record};

async fn ids(
    users: &dyn UserBackend,
    place: &Position,
    limit: usize,
) -> (Vec<String>, UserChanges) {
    let changes = users.changes_since(place, limit).await.expect("changes");
    let ids = changes.records.iter().map(|record| record.user.id.as_str().to_owned());
    (ids.collect(), changes)
}

async fn users_of(fixture: &Fixture, names: &[&str]) -> Arc<dyn UserBackend> {
    let users = fixture.backend.users().expect("users");
    for name in names {
        users.write(insert(record(name, name)), &context(Operation::Write)).await.expect("write");
    }
    users
}

/// As the backend writes, but the transaction stays open.
fn update(id: &str) -> String {
    format!(
        "UPDATE users SET login_sequence = login_sequence + 1, change_seq = nextval('users_change_seq'), \
         change_xid = pg_current_xact_id() WHERE id = '{id}'"
    )
}

#[tokio::test]
async fn a_transaction_that_ends_behind_a_later_one_is_not_passed_over() {
    let fixture = Fixture::open().await;
    let users = users_of(&fixture, &["a", "b", "c"]).await;
    let start = users.changes_end().await.expect("end");
    let (slow, fast) = (fixture.raw().await, fixture.raw().await);
    slow.batch_execute(&format!("BEGIN; {}", update("a"))).await.expect("slow");
    fast.batch_execute(&update("b")).await.expect("fast");
    let (first, changes) = ids(&*users, &start, 10).await;
    assert_eq!((first, changes.more), (vec!["b".to_owned()], false));
    slow.batch_execute("COMMIT").await.expect("commit");
    let (then, changes) = ids(&*users, &changes.end, 10).await;
    assert_eq!(then, ["a"]);
    assert_eq!(ids(&*users, &changes.end, 10).await.0, Vec::<String>::new());
    assert_eq!(ids(&*users, &start, 10).await.0, ["a", "b"], "both behind the first place");
}

/// What is written while a window is read leaves it, and is in the next one.
#[tokio::test]
async fn an_account_that_is_written_again_between_two_pages_comes_with_a_later_one() {
    let fixture = Fixture::open().await;
    let users = users_of(&fixture, &[]).await;
    let start = users.changes_end().await.expect("end");
    let users = users_of(&fixture, &["a", "b", "c", "d"]).await;
    let (first, page) = ids(&*users, &start, 2).await;
    assert_eq!((first, page.more), (vec!["a".to_owned(), "b".to_owned()], true));
    let raw = fixture.raw().await;
    raw.batch_execute(&update("c")).await.expect("update");
    raw.batch_execute(&update("a")).await.expect("update");
    let (second, page) = ids(&*users, &page.end, 2).await;
    assert_eq!((second, page.more), (vec!["d".to_owned()], true), "not all of now is told");
    let (third, page) = ids(&*users, &page.end, 2).await;
    assert_eq!((third, page.more), (vec!["c".to_owned(), "a".to_owned()], false));
}

/// A standby that was promoted without the last transactions gives out their numbers again.
#[tokio::test]
async fn a_place_of_another_timeline_is_of_another_history() {
    let fixture = Fixture::open().await;
    let users = users_of(&fixture, &["a", "b", "c"]).await;
    let middle = users.changes_since(&Position::default(), 1).await.expect("changes").end;
    for mut place in [users.changes_end().await.expect("end"), middle] {
        users.changes_since(&place, 1).await.expect("the same timeline");
        *place.state.last_mut().expect("a timeline") ^= 2;
        let error = users.changes_since(&place, 1).await.expect_err("another timeline");
        assert_eq!(error.expired_reason(), Some(ExpiredReason::Diverged));
    }
}

/// Then no row has the transaction any more that was the highest one.
#[tokio::test]
async fn a_place_outlives_the_write_of_an_older_transaction_that_waited_for_the_row() {
    let fixture = Fixture::open().await;
    let users = users_of(&fixture, &["a", "b"]).await;
    let (slow, fast) = (fixture.raw().await, fixture.raw().await);
    slow.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.expect("slow");
    fast.batch_execute(&update("b")).await.expect("fast");
    let place = users.changes_end().await.expect("end");
    slow.batch_execute(&format!("{}; COMMIT", update("b"))).await.expect("slow");
    let (found, page) = ids(&*users, &place, 10).await;
    assert_eq!((found, page.more), (vec!["b".to_owned()], false));
    assert!(ids(&*users, &page.end, 10).await.0.is_empty());
}

const LONG: Duration = Duration::from_secs(60);

async fn is_woken(wait: impl Future<Output = Result<()>>) -> bool {
    match tokio::time::timeout(Duration::from_secs(2), wait).await {
        Ok(waited) => waited.map(|()| true).expect("wait"),
        Err(_) => false,
    }
}

/// A login wakes no watcher of documents, and a document no shadow of accounts: in this process and in another one.
#[tokio::test]
async fn accounts_and_documents_wake_those_who_wait_for_them() {
    let one = Fixture::open().await;
    let other = one.again().await;
    users_of(&one, &["a"]).await;
    for (number, waiting) in [&one, &other].into_iter().enumerate() {
        let (documents, users) = (&waiting.documents, waiting.backend.users().expect("users"));
        let name = format!("n{number}");
        // The first wait opens the side connection.
        for _ in 0..2 {
            let end = waiting.end().await;
            documents.wait_for_change(&end, Duration::from_millis(300)).await.expect("wait");
        }
        for is_account in [true, false] {
            let (end, accounts_end) =
                (waiting.end().await, users.changes_end().await.expect("end"));
            let write = async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                match is_account {
                    true => drop(users_of(&one, &[&name]).await),
                    false => drop(one.insert(&format!("case/{name}"), json!({})).await),
                }
            };
            let (by_account, by_document, ()) = tokio::join!(
                is_woken(users.wait_for_change(&accounts_end, LONG)),
                is_woken(documents.wait_for_change(&end, LONG)),
                write
            );
            assert_eq!((by_account, by_document), (is_account, !is_account), "{name}");
        }
    }
}

/// Nobody notifies us behind a pooler.
#[tokio::test]
async fn behind_a_pooler_a_wait_for_an_account_lasts_until_there_is_one() {
    let fixture = Fixture::with(&json!({"pooler": "transaction"})).await;
    let users = users_of(&fixture, &["a"]).await;
    let (end, started) = (users.changes_end().await.expect("end"), Instant::now());
    users.wait_for_change(&end, Duration::from_millis(400)).await.expect("wait");
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
    let other = fixture.again().await;
    let (woken, _) =
        tokio::join!(is_woken(users.wait_for_change(&end, LONG)), users_of(&other, &["b"]));
    assert!(woken, "only by the time limit");
    assert_eq!(ids(&*users, &end, 10).await.0, ["b"]);
}

/// Many in one transaction: the number tells them apart.
#[tokio::test]
async fn accounts_of_one_transaction_come_in_pages_too() {
    let fixture = Fixture::open().await;
    let users = users_of(&fixture, &["a", "b", "c", "d", "e"]).await;
    let mut place = users.changes_end().await.expect("end");
    fixture
        .raw()
        .await
        .batch_execute(&update("a").replace("= 'a'", "IN ('a','b','c','d','e')"))
        .await
        .expect("all");
    let mut found = Vec::new();
    loop {
        let (some, page) = ids(&*users, &place, 2).await;
        found.extend(some);
        place = page.end;
        if !page.more {
            break;
        }
    }
    found.sort();
    assert_eq!(found, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn transactions_of_another_server_neither_come_for_ever_nor_hide_what_is_written() {
    let fixture = Fixture::open().await;
    let users = users_of(&fixture, &["a", "b"]).await;
    let raw = fixture.raw().await;
    raw.batch_execute("UPDATE users SET change_xid = '9000000000' WHERE id = 'a'")
        .await
        .expect("copy");
    let start = users.changes_end().await.expect("end");
    assert_eq!(ids(&*users, &start, 10).await.0, Vec::<String>::new());
    raw.batch_execute(&update("b")).await.expect("update");
    let (found, page) = ids(&*users, &start, 10).await;
    assert_eq!(found, ["b"]);
    assert!(ids(&*users, &page.end, 10).await.0.is_empty());
}

/// The schema as the release before made it.
#[tokio::test]
async fn a_schema_of_the_second_version_keeps_its_accounts_and_all_are_in_the_feed() {
    let fixture = Fixture::open().await;
    users_of(&fixture, &["a", "b", "c"]).await;
    let raw = fixture.raw().await;
    fixture.backend.close().await.expect("close");
    raw.batch_execute(
        "ALTER TABLE users DROP COLUMN change_seq, DROP COLUMN change_xid; DROP SEQUENCE users_change_seq; \
         UPDATE metadata SET schema_version = 2",
    )
    .await
    .expect("downgrade");
    let provider = provider(&fixture.place.block(&json!({})));
    let backend = provider.open(&fixture.place.context(&fixture.clock)).await.expect("open");
    let users = backend.users().expect("users");
    let (mut found, page) = ids(&*users, &Position::default(), 10).await;
    found.sort();
    assert_eq!((found, page.more), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], false));
    let version = raw.query_one("SELECT schema_version FROM metadata", &[]).await.expect("version");
    assert_eq!(version.get::<_, i32>(0), 3);
    backend.close().await.expect("close");
}

/// An idle look reads nothing, and a page reads what it gives out, however many accounts there are.
#[tokio::test]
async fn a_look_into_the_feed_reads_the_index_alone() {
    let fixture = Fixture::open().await;
    let users = users_of(&fixture, &[]).await;
    let raw = fixture.raw().await;
    raw.batch_execute(
        "INSERT INTO users (id, username, username_key, key_rule_version, roles, db_admin, disabled, profile, token_epoch, \
         version, created_at, updated_at, failed_attempts, lockout_count, login_window, login_sequence) \
         SELECT 'u' || n, 'u' || n, 'u' || n, 1, '{}', '{}', false, '{}', 0, 1, 1, 1, 0, 0, 0, 0 FROM generate_series(1, 50000) AS n; \
         ANALYZE users",
    )
    .await
    .expect("fill");
    let end = users.changes_end().await.expect("end");
    raw.batch_execute(&update("u7")).await.expect("update");
    let started = std::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(ids(&*users, &end, 100).await.0, ["u7"]);
    }
    let once = started.elapsed() / 50;
    let (mut place, mut count, started) = (Position::default(), 0, std::time::Instant::now());
    loop {
        let (some, page) = ids(&*users, &place, 500).await;
        (count, place) = (count + some.len(), page.end);
        if !page.more {
            break;
        }
    }
    assert_eq!(count, 50_000);
    eprintln!("a look {once:?}, 50000 accounts in {:?}", started.elapsed());
    assert!(once < std::time::Duration::from_millis(50), "{once:?}: the table was walked");
}
