//! The routes' own records: compare-and-set, and what another process sees of it.

use std::sync::Arc;

use syntrix_storage_core::ErrorKind;
use syntrix_storage_core::backend::{Ledger, LedgerKey};

use crate::common::Fixture;

fn key(name: &str) -> LedgerKey {
    LedgerKey::parse(name).expect("key")
}

fn ledger(fixture: &Fixture) -> Arc<dyn Ledger> {
    fixture.backend.ledger().expect("ledger")
}

#[tokio::test]
async fn a_record_is_changed_only_by_who_knows_its_revision() {
    let fixture = Fixture::open().await;
    let (ledger, lease) = (ledger(&fixture), key("documents/lease"));
    assert_eq!(ledger.write(&lease, Some(1), b"x".to_vec()).await.expect("write"), None);
    assert_eq!(ledger.write(&lease, None, b"one".to_vec()).await.expect("write"), Some(1));
    assert_eq!(ledger.write(&lease, None, b"again".to_vec()).await.expect("write"), None);
    assert_eq!(ledger.write(&lease, Some(1), b"two".to_vec()).await.expect("write"), Some(2));
    let found = ledger.read(&lease).await.expect("read").expect("record");
    assert_eq!((found.revision, found.body.as_slice()), (2, &b"two"[..]));
    assert!(!ledger.remove(&lease, 1).await.expect("remove"));
    assert!(ledger.remove(&lease, 2).await.expect("remove"));
    assert_eq!(ledger.read(&lease).await.expect("read"), None);
}

#[tokio::test]
async fn another_handle_of_the_file_sees_a_write_at_once_and_one_of_two_wins() {
    let fixture = Fixture::open().await;
    let other = fixture.again().await;
    let (ours, theirs, name) = (ledger(&fixture), ledger(&other), key("documents/checkpoint"));
    assert_eq!(ours.store_id(), theirs.store_id());
    for round in 0..20 {
        let expected = (round > 0).then_some(round);
        let outcomes = tokio::join!(
            ours.write(&name, expected, b"ours".to_vec()),
            theirs.write(&name, expected, b"theirs".to_vec())
        );
        let won = |outcome: Result<Option<u64>, _>| usize::from(outcome.expect("write").is_some());
        assert_eq!(won(outcomes.0) + won(outcomes.1), 1);
        let seen = (ours.read(&name).await.expect("read"), theirs.read(&name).await.expect("read"));
        assert_eq!(seen.0, seen.1);
        assert_eq!(seen.0.expect("record").revision, round + 1);
    }
}

#[tokio::test]
async fn records_are_listed_by_prefix_in_pages_and_survive_reopening() {
    let fixture = Fixture::open().await;
    let open = ledger(&fixture);
    for name in
        ["documents/dead/b", "documents/dead/a", "documents/dead.", "documents/dead0", "users/a"]
    {
        assert_eq!(open.write(&key(name), None, name.into()).await.expect("write"), Some(1));
    }
    fixture.backend.close().await.expect("close");
    let again = fixture.again().await;
    let (again, prefix) = (ledger(&again), key("documents/dead/"));
    let first = again.list(&prefix, None, 1).await.expect("list");
    assert_eq!(first[0].0, key("documents/dead/a"));
    let rest = again.list(&prefix, Some(&first[0].0), 10).await.expect("list");
    assert_eq!((rest.len(), rest[0].1.body.as_slice()), (1, &b"documents/dead/b"[..]));
    let closed = open.read(&prefix).await.expect_err("read when closed");
    assert_eq!(closed.kind(), ErrorKind::Closed);
}
