//! The stores of one file: each closes for itself, the file with the last of them.

use serde_json::json;
use syntrix_storage_core::backend::Write;
use syntrix_storage_core::{Error, ErrorKind, Operation, Result};

use crate::common::{Fixture, context, document, parse};
use crate::revocations::{request, token};
use crate::users::{id, insert, record};

fn is_closed<T: std::fmt::Debug>(outcome: Result<T>) -> bool {
    outcome.as_ref().err().map(Error::kind) == Some(ErrorKind::Closed)
}

/// SQLite removes it when the last connection closes.
fn is_open(fixture: &Fixture) -> bool {
    fixture.folder.path().join("storage.db-wal").exists()
}

#[tokio::test]
async fn a_closed_store_leaves_the_others_open_and_the_last_one_closes_the_file() {
    let fixture = Fixture::open().await;
    let users = fixture.backend.users().expect("users");
    let revocations = fixture.backend.revocations().expect("revocations");
    let call = context(Operation::Write);
    for _ in 0..3 {
        // However often, it is one store that is closed.
        fixture.documents.close().await.expect("close");
    }
    assert!(is_closed(fixture.documents.get(&parse("rooms/lobby"), &call).await));
    let write = Write::Insert(document("rooms/lobby", json!({})));
    assert!(is_closed(fixture.write(write).await));
    users.write(insert(record("u1", "ada")), &call).await.expect("users are open");
    users.close().await.expect("close");
    assert!(is_closed(users.get(&id("u1"), &call).await));
    assert!(is_closed(users.write(insert(record("u2", "eve")), &call).await));
    assert!(is_closed(users.ensure_indexes().await));
    revocations.join(request("t", 10), &call).await.expect("revocations are open");
    assert!(is_open(&fixture));
    revocations.close().await.expect("close");
    assert!(is_closed(revocations.get(&token("t"), &call).await));
    assert!(is_closed(revocations.join(request("t", 10), &call).await));
    assert!(is_closed(revocations.purge(1).await));
    assert!(!is_open(&fixture));
}

#[tokio::test]
async fn closing_the_backend_closes_every_store() {
    let fixture = Fixture::open().await;
    let users = fixture.backend.users().expect("users");
    let revocations = fixture.backend.revocations().expect("revocations");
    fixture.backend.close().await.expect("close");
    let call = context(Operation::Read);
    assert!(is_closed(fixture.documents.get(&parse("rooms/lobby"), &call).await));
    assert!(is_closed(users.get(&id("u1"), &call).await));
    assert!(is_closed(revocations.get(&token("t"), &call).await));
    assert!(is_closed(revocations.get_many(&[token("t")], &call).await));
    assert!(!is_open(&fixture));
    users.close().await.expect("close what is closed");
}

#[tokio::test]
async fn a_store_that_was_dropped_keeps_nobody_from_closing_the_file() {
    let fixture = Fixture::open().await;
    drop(fixture.backend.users().expect("users"));
    fixture.documents.close().await.expect("close");
    assert!(!is_open(&fixture));
}
