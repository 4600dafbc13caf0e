//! Accounts and revoked tokens where the server alone decides: races, the server's time, and lost data.

use std::sync::Arc;

use futures_util::TryStreamExt;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document as Record, doc};
use serde_json::json;
use syntrix_storage_core::backend::{
    Insertion, RevocationRequest, UserApplied, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    Consistency, ErrorKind, Operation, RevokeOutcome, Timestamp, TokenId, User, UserId, UsernameKey,
};

use crate::common::{Fixture, context};

fn account(id: &str, name: &str) -> UserRecord {
    let user =
        User::first(UserId::parse(id).expect("valid"), name, Timestamp::from_milliseconds(1));
    let key = UsernameKey::from_stored(name);
    UserRecord { user, key, key_rule_version: 1, login_window: 0, login_sequence: 0 }
}

fn request(token: &str, keep_until: Timestamp) -> RevocationRequest {
    RevocationRequest {
        token: TokenId::parse(token).expect("valid"),
        immediate: false,
        expires_at: keep_until,
        keep_until,
        reason: None,
        subject: None,
        family: None,
        successor: None,
    }
}

#[tokio::test]
async fn of_sixteen_accounts_with_one_name_one_is_made() {
    let fixture = Arc::new(Fixture::open().await);
    let users = fixture.backend.users().expect("users");
    users.ensure_indexes().await.expect("indexes");
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let users = Arc::clone(&users);
            let record = Box::new(account(&format!("u{number}"), "ada"));
            tokio::spawn(async move {
                users
                    .write(UserWrite::Insert(record), &context(Operation::Write))
                    .await
                    .expect("write")
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.expect("task") {
            UserApplied::Yes => made += 1,
            outcome => assert_eq!(outcome, UserApplied::NameTaken),
        }
    }
    assert_eq!(made, 1);
    for expected in [UserApplied::Yes, UserApplied::IdTaken] {
        let eve = UserWrite::Insert(Box::new(account("eve", "eve")));
        let outcome = users.write(eve, &context(Operation::Write)).await.expect("write");
        assert_eq!(outcome, expected);
    }
    users.close().await.expect("close");
    Arc::into_inner(fixture).expect("last").finish().await;
}

#[tokio::test]
async fn an_index_that_is_not_unique_is_found_and_repeated_names_are_counted() {
    let fixture = Fixture::open().await;
    let users = fixture.backend.users().expect("users");
    let raw = fixture.raw().await.collection::<Record>("users");
    let rows = ["a", "b"].map(|id| doc! { "_id": id, "usernameKey": "ada", "deleted": false });
    raw.insert_many(rows).await.expect("insert");
    let error = users.ensure_indexes().await.expect_err("repeated names");
    assert_eq!(error.fact("names"), Some("1"));
    assert!(!format!("{error:?}").contains("ada"), "names stay out of errors");
    raw.delete_many(doc! { "usernameKey": "ada" }).await.expect("delete");
    let wrong = doc! {
        "createIndexes": "users",
        "indexes": [{ "key": { "usernameKey": 1 }, "name": "users_username_key" }],
    };
    fixture.raw().await.run_command(wrong).await.expect("index");
    let error = users.ensure_indexes().await.expect_err("not unique");
    assert_eq!(error.kind(), ErrorKind::Internal);
    raw.drop_index("users_username_key").await.expect("drop");
    users.ensure_indexes().await.expect("made");
    users.ensure_indexes().await.expect("verified");
    users.close().await.expect("close");
    fixture.finish().await;
}

#[tokio::test]
async fn of_thirty_two_rotations_one_wins_and_time_is_the_servers() {
    let fixture = Arc::new(Fixture::open().await);
    let revocations = fixture.backend.revocations().expect("revocations");
    revocations.ensure_indexes().await.expect("indexes");
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let revocations = Arc::clone(&revocations);
            let request = request("token", Timestamp::LATEST);
            let operation = context(Operation::Write);
            tokio::spawn(
                async move { revocations.insert(request, &operation).await.expect("insert") },
            )
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        let answer = task.await.expect("task");
        // The injected clock stands in 2023; the server's does not.
        assert!(answer.now.as_milliseconds() > 1_750_000_000_000);
        won += usize::from(answer.value == Insertion::Inserted);
    }
    assert_eq!(won, 1);
    revocations.close().await.expect("close");
    Arc::into_inner(fixture).expect("last").finish().await;
}

#[tokio::test]
async fn concurrent_joins_keep_the_strictest_of_all() {
    let fixture = Arc::new(Fixture::open().await);
    let revocations = fixture.backend.revocations().expect("revocations");
    let until =
        |number: i64| Timestamp::from_milliseconds(Timestamp::LATEST.as_milliseconds() - number);
    let tasks: Vec<_> = (0..24)
        .map(|number| {
            let revocations = Arc::clone(&revocations);
            let mut request = request("token", until(number));
            request.immediate = number == 13;
            tokio::spawn(async move {
                revocations.join(request, &context(Operation::Write)).await.expect("join").value
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.expect("task"));
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == RevokeOutcome::Inserted).count(), 1);
    let token = TokenId::parse("token").expect("valid");
    let read = revocations.get(&token, &context(Operation::Read)).await.expect("get");
    let record = read.value.expect("record");
    assert!(record.immediate && record.keep_until == until(0));
    revocations.close().await.expect("close");
    Arc::into_inner(fixture).expect("last").finish().await;
}

#[tokio::test]
async fn lost_revocations_show_by_the_mark_that_lay_beside_them() {
    let fixture = Fixture::open().await;
    let revocations = fixture.backend.revocations().expect("revocations");
    let token = TokenId::parse("token").expect("valid");
    let read = revocations.get(&token, &context(Operation::Read)).await.expect("get");
    assert_eq!(read.canary, Some(revocations.canary()));
    fixture.raw().await.collection::<Record>("revocations").drop().await.expect("drop");
    let read = revocations.get(&token, &context(Operation::Read)).await.expect("get");
    assert_eq!(read.canary, None);
    revocations.close().await.expect("close");
    fixture.finish().await;
}

/// Opens again as a new process would: the stores that lost their data say so, the documents are there.
async fn only_revocations_are_lost(fixture: &Fixture) {
    let again = fixture.again().await;
    let error = again.backend.revocations().expect_err("the revoked tokens are gone");
    assert_eq!(error.kind(), ErrorKind::StateLost);
    assert!(error.message().expect("remedy").contains("treat every token as revoked"));
    again.backend.users().expect("accounts are there").close().await.expect("close");
    assert!(again.get("c/a").await.is_some());
    again.documents.close().await.expect("close");
}

#[tokio::test]
async fn revocations_that_were_lost_before_a_process_started_are_lost_for_good() {
    let fixture = Fixture::open().await;
    fixture.insert("c/a", json!({})).await;
    let revocations = fixture.backend.revocations().expect("revocations");
    let revoked = request("token", Timestamp::LATEST);
    revocations.join(revoked, &context(Operation::Write)).await.expect("revoke");
    revocations.close().await.expect("close");
    let raw = fixture.raw().await.collection::<Record>("revocations");
    let witness = raw.find_one(doc! { "_id": "\u{1}witness" }).await.expect("find").expect("mark");
    raw.delete_many(doc! {}).await.expect("empty");
    only_revocations_are_lost(&fixture).await;
    raw.drop().await.expect("drop");
    only_revocations_are_lost(&fixture).await;
    only_revocations_are_lost(&fixture).await;
    let mut foreign = witness.clone();
    foreign.insert("canary", binary(&[7; 16]));
    raw.insert_one(foreign).await.expect("insert");
    only_revocations_are_lost(&fixture).await;
    // A backup brings the mark back with the data.
    raw.delete_many(doc! {}).await.expect("empty");
    raw.insert_one(witness).await.expect("restore");
    let again = fixture.again().await;
    again.backend.revocations().expect("restored").close().await.expect("close");
    again.documents.close().await.expect("close");
    fixture.finish().await;
}

fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

#[tokio::test]
async fn lost_accounts_are_told_and_the_way_to_start_anew_works() {
    let fixture = Fixture::open().await;
    let users = fixture.backend.users().expect("users");
    let raw = fixture.raw().await;
    raw.collection::<Record>("users").drop().await.expect("drop");
    let id = UserId::parse("u").expect("valid");
    let error = users.get(&id, &context(Operation::Read)).await.expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::StateLost);
    let again = fixture.again().await;
    let error = again.backend.users().expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::StateLost);
    again.backend.revocations().expect("those are there").close().await.expect("close");
    again.documents.close().await.expect("close");
    let metadata = raw.collection::<Record>("syntrix_metadata");
    let removed = metadata.delete_one(doc! { "_id": "mark:users" }).await.expect("delete");
    assert_eq!(removed.deleted_count, 1);
    let again = fixture.again().await;
    let anew = again.backend.users().expect("anew");
    assert!(anew.get(&id, &context(Operation::Read)).await.expect("get").value.is_none());
    let error = users.get(&id, &context(Operation::Read)).await.expect_err("another mark");
    assert_eq!(error.kind(), ErrorKind::StateLost);
    for store in [users, anew] {
        store.close().await.expect("close");
    }
    again.documents.close().await.expect("close");
    fixture.finish().await;
}

/// A process that dies after any step of the first opening leaves a store that opens, with one mark.
#[tokio::test]
async fn a_first_opening_that_was_cut_off_is_finished_by_the_next() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw().await;
    let metadata = raw.collection::<Record>("syntrix_metadata");
    let revocations = raw.collection::<Record>("revocations");
    let entry = doc! { "_id": "mark:revocations" };
    let incomplete = doc! { "$set": { "complete": false } };
    let mut marks = Vec::new();
    for (entry_is_there, witness_is_there) in [(true, true), (true, false), (false, true)] {
        metadata.update_one(entry.clone(), incomplete.clone()).await.expect("update");
        if !witness_is_there {
            revocations.delete_many(doc! {}).await.expect("empty");
        }
        if !entry_is_there {
            metadata.delete_one(entry.clone()).await.expect("delete");
        }
        let again = fixture.again().await;
        let store = again.backend.revocations().expect("finished");
        marks.push(store.canary());
        store.close().await.expect("close");
        again.documents.close().await.expect("close");
        let found = metadata.find_one(entry.clone()).await.expect("find").expect("entry");
        assert!(found.get_bool("complete").expect("flag"));
    }
    assert!(marks.iter().all(|mark| *mark == marks[0]), "{marks:?}");
    fixture.finish().await;
}

#[tokio::test]
async fn a_purge_removes_what_is_over_and_leaves_the_mark() {
    let fixture = Fixture::open().await;
    let revocations = fixture.backend.revocations().expect("revocations");
    let raw = fixture.raw().await.collection::<Record>("revocations");
    let row = |id: &str, until: i64| {
        doc! { "_id": id, "keepUntil": until, "immediate": false, "writes": 1_i64 }
    };
    raw.insert_many([row("over", 5), row("kept", Timestamp::LATEST.as_milliseconds())])
        .await
        .expect("insert");
    let report = revocations.purge(10).await.expect("purge");
    assert_eq!((report.purged, report.more), (1, false));
    assert_eq!(raw.count_documents(doc! {}).await.expect("count"), 2, "the kept one and the mark");
    revocations.close().await.expect("close");
    fixture.finish().await;
}

/// What a new primary has may be older than what was acknowledged or told before, so it is asked to make sure. As the server notes it.
#[tokio::test]
async fn the_feed_reads_not_before_its_events_and_a_strong_read_asks_a_majority() {
    let fixture = Fixture::open().await;
    let users = fixture.backend.users().expect("users");
    let raw = fixture.raw().await;
    let start = users.changes_end().await.expect("end");
    let ada = account("ada", "ada");
    let write = UserWrite::Insert(Box::new(ada.clone()));
    users.write(write, &context(Operation::Write)).await.expect("write");
    users.wait_for_change(&start, std::time::Duration::from_secs(10)).await.expect("wait");
    raw.run_command(doc! { "profile": 2 }).await.expect("profile");
    let changes = users.changes_since(&start, 10).await.expect("changes");
    let strong = context(Operation::ReadStrong).with_consistency(Consistency::Strong);
    let found = users.get(&ada.user.id, &strong).await.expect("get").value;
    raw.run_command(doc! { "profile": 0 }).await.expect("profile");
    assert_eq!((changes.records.len(), found.is_some()), (1, true));
    let notes = raw.collection::<Record>("system.profile");
    let notes = notes.find(doc! { "ns": format!("{}.users", raw.name()) }).await.expect("notes");
    let notes: Vec<Record> = notes.try_collect().await.expect("notes");
    let concerns = notes.iter().filter_map(|note| note.get_document("command").ok());
    let concerns = concerns.filter_map(|command| command.get_document("readConcern").ok());
    let (after, linear): (Vec<_>, Vec<_>) =
        concerns.partition(|concern| concern.contains_key("afterClusterTime"));
    let is = |concern: &&Record, level: &str| concern.get_str("level").is_ok_and(|is| is == level);
    assert!(after.iter().any(|concern| is(concern, "majority")), "{notes:?}");
    assert!(linear.iter().any(|concern| is(concern, "linearizable")), "{notes:?}");
    users.close().await.expect("close");
    fixture.finish().await;
}
