//! Documents: a lost answer leaves no doubt behind, and an item of a bulk has its own fate.

use std::time::Duration;

use serde_json::{Value, json};
use syntrix_storage::conformance::faults::{Fault, FaultRule, Method};
use syntrix_storage::{
    BulkItem, DocumentPath, DocumentStore, Error, ErrorKind, Filter, Operator, ReadOptions, Result,
    Retry, Version, WriteOptions, WriteResult,
};

use crate::stores::{Stores, everywhere, in_time};

fn path(name: &str) -> DocumentPath {
    DocumentPath::parse(&format!("rooms/{name}")).unwrap()
}

async fn create(stores: &Stores, name: &str, data: Value) -> Result<WriteResult> {
    stores.documents.create(&path(name), data, Default::default()).await
}

async fn stored(stores: &Stores, name: &str) -> (i64, Value) {
    let document = stores.documents.get(&path(name), Default::default()).await.unwrap();
    (document.version().get(), document.value().unwrap())
}

/// Sets `n` if the version is still `version`.
async fn set(stores: &Stores, name: &str, version: i64, n: i64) -> Result<WriteResult> {
    let unchanged = Filter::version_is(Version::new(version));
    let options = WriteOptions::default().with_precondition(unchanged);
    stores.documents.update(&path(name), json!({"n": n}), options).await
}

fn expect_lost(result: Result<WriteResult>) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::IfIdempotent));
}

/// Guards against a retry inside the store that applies a write twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_whose_answer_is_lost_is_told_by_its_version_and_applied_once() {
    everywhere(async |stores| {
        create(&stores, "lobby", json!({"n": 0})).await.unwrap();
        stores.fail(FaultRule::new(Fault::FailAfter).at(Method::Write).times(1));
        expect_lost(set(&stores, "lobby", 1, 5).await);
        let again = set(&stores, "lobby", 1, 5).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::PreconditionFailed);
        assert_eq!(again.fact("version"), Some("2"));
        assert_eq!(stored(&stores, "lobby").await, (2, json!({"n": 5})));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_answer_is_lost_exists_once() {
    everywhere(async |stores| {
        stores.fail(FaultRule::new(Fault::FailAfter).at(Method::Write).about("rooms/lobby").nth(1));
        expect_lost(create(&stores, "lobby", json!({"n": 1})).await);
        let again = create(&stores, "lobby", json!({"n": 1})).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert_eq!(stored(&stores, "lobby").await, (1, json!({"n": 1})));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_not_begun_says_so_and_changes_nothing() {
    everywhere(async |stores| {
        create(&stores, "lobby", json!({"n": 0})).await.unwrap();
        stores.fail(FaultRule::new(Fault::FailBefore).at(Method::Write).times(1));
        let error = set(&stores, "lobby", 1, 5).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Safe));
        assert_eq!(error.operation(), "update");
        assert_eq!(stored(&stores, "lobby").await, (1, json!({"n": 0})));
        assert_eq!(set(&stores, "lobby", 1, 5).await.unwrap().version().get(), 2);
    })
    .await;
}

/// One writer that reads again after each doubtful answer: every increment happens exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn a_counter_under_random_faults_is_exact() {
    const INCREMENTS: i64 = 100;
    everywhere(async |stores| {
        create(&stores, "counter", json!({"n": 0})).await.unwrap();
        for fault in [Fault::FailBefore, Fault::FailAfter] {
            stores.fail(FaultRule::new(fault).at(Method::Write).with_chance(0.2));
            stores.fail(FaultRule::new(fault).at(Method::Get).with_chance(0.1));
        }
        for n in 1..=INCREMENTS {
            increment(&stores, n).await;
        }
        assert!(stores.faults.injected() > 20, "hardly any fault: {}", stores.faults.injected());
        stores.faults.heal();
        let expected = (INCREMENTS + 1, json!({"n": INCREMENTS}));
        assert_eq!(stored(&stores, "counter").await, expected);
    })
    .await;
}

/// Tries until the version says that `n` was written.
async fn increment(stores: &Stores, n: i64) {
    loop {
        match set(stores, "counter", n, n).await {
            Ok(_) => return,
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_ends_at_its_deadline() {
    everywhere(async |stores| {
        create(&stores, "lobby", json!({"n": 0})).await.unwrap();
        stores.fail(FaultRule::new(Fault::Hang).at(Method::Get));
        stores.fail(FaultRule::new(Fault::HangAfter).at(Method::Write));
        let soon = Duration::from_millis(50);
        let lobby = path("lobby");
        let read = stores.documents.get(&lobby, ReadOptions::default().with_timeout(soon));
        assert_eq!(in_time(read).await.unwrap_err().kind(), ErrorKind::Timeout);
        let options = WriteOptions::default().with_timeout(soon);
        let write = in_time(stores.documents.create(&path("hall"), json!({}), options)).await;
        let error = write.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::IfIdempotent));
        stores.faults.heal();
        assert_eq!(stored(&stores, "hall").await, (1, json!({})));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_an_answer() {
    everywhere(async |stores| {
        stores.fail(FaultRule::new(Fault::Delay(Duration::from_millis(20))));
        create(&stores, "lobby", json!({"n": 1})).await.unwrap();
        assert_eq!(stored(&stores, "lobby").await, (1, json!({"n": 1})));
        assert!(stores.faults.injected() >= 2);
    })
    .await;
}

fn kinds(results: &[Result<WriteResult>]) -> Vec<Option<ErrorKind>> {
    results.iter().map(|result| result.as_ref().err().map(Error::kind)).collect()
}

/// A change that depends on what is stored, so that it is read first.
fn guarded(name: &str) -> BulkItem {
    let condition = Filter::new("n", Operator::Equal, 0).unwrap();
    BulkItem::Update { path: path(name), data: json!({"n": 1}), preconditions: vec![condition] }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_a_bulk_has_no_error_but_its_own() {
    everywhere(async |stores| {
        for (number, fault) in [Fault::FailBefore, Fault::FailAfter].into_iter().enumerate() {
            let names = ["a", "b", "c"].map(|name| format!("{name}{number}"));
            stores.fail(FaultRule::new(fault).at(Method::Write).about(format!("rooms/b{number}")));
            let create = |name| BulkItem::Create { path: path(name), data: json!({"n": 0}) };
            let items = names.iter().map(|name| create(name)).collect();
            let results = stores.documents.bulk(items, Default::default()).await.unwrap();
            assert_eq!(kinds(&results), [None, Some(ErrorKind::Unavailable), None]);
            let there = stores.documents.get(&path(&names[1]), Default::default()).await;
            assert_eq!(there.is_ok(), fault == Fault::FailAfter);
        }
    })
    .await;
}

/// Guards against one damaged record that fails the read of a whole bulk.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_fails_its_own_item_of_a_bulk_alone() {
    everywhere(async |stores| {
        for name in ["a", "b", "c"] {
            create(&stores, name, json!({"n": 0})).await.unwrap();
        }
        for method in [Method::GetMany, Method::Get] {
            let damaged = FaultRule::new(Fault::FailBefore).at(method).about("rooms/b");
            stores.fail(damaged.with_error(ErrorKind::Internal));
        }
        let items = ["a", "b", "c"].map(guarded).to_vec();
        let results = stores.documents.bulk(items, Default::default()).await.unwrap();
        assert_eq!(kinds(&results), [None, Some(ErrorKind::Internal), None]);
        stores.faults.heal();
        assert_eq!(stored(&stores, "b").await, (1, json!({"n": 0})));
        assert_eq!(stored(&stores, "c").await, (2, json!({"n": 1})));
    })
    .await;
}
