//! Closing a store whose backend does not answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage::conformance::faults::{Fault, FaultRule, Method};
use syntrix_storage::{
    DocumentPath, DocumentStore, ErrorKind, Retry, TokenId, TokenRevocationStore, UserId, UserStore,
};

use crate::stores::{CLOSE_TIMEOUT, everywhere, in_time};

/// Time for a spawned call to be inside.
const INSIDE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_hang_end_as_closed_when_close_has_waited_long_enough() {
    everywhere(async |stores| {
        for fault in [Fault::Hang, Fault::HangAfter] {
            stores.fail(FaultRule::new(fault).at(Method::Get).nth(1));
            stores.fail(FaultRule::new(fault).at(Method::Write));
        }
        stores.fail(FaultRule::new(Fault::Hang).at(Method::Get));
        let path = DocumentPath::parse("rooms/lobby").unwrap();
        let documents = Arc::clone(&stores.documents);
        let write = tokio::spawn(async move {
            documents.create(&path, json!({}), Default::default()).await.map(|_| ())
        });
        let revocations = Arc::clone(&stores.revocations);
        let check = tokio::spawn(async move {
            let token = TokenId::parse("stolen").unwrap();
            revocations.is_revoked(&token, Duration::ZERO, Default::default()).await.map(|_| ())
        });
        let users = Arc::clone(&stores.users);
        let read = tokio::spawn(async move {
            let nobody = UserId::parse("nobody").unwrap();
            users.get_user_by_id(&nobody, Default::default()).await.map(|_| ())
        });
        tokio::time::sleep(INSIDE).await;
        let started = Instant::now();
        in_time(stores.documents.close()).await.unwrap();
        in_time(stores.users.close()).await.unwrap();
        in_time(stores.revocations.close()).await.unwrap();
        assert!(started.elapsed() >= CLOSE_TIMEOUT, "close did not wait for the calls");
        for call in [write, check, read] {
            let error = in_time(call).await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Closed, Retry::IfIdempotent));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_that_hangs_ends_and_is_done_by_the_next_one() {
    everywhere(async |stores| {
        stores.fail(FaultRule::new(Fault::Hang).at(Method::Close));
        let error = in_time(stores.documents.close()).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, "close"));
        stores.faults.heal();
        in_time(stores.documents.close()).await.unwrap();
        let path = DocumentPath::parse("rooms/lobby").unwrap();
        let error = stores.documents.get(&path, Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    })
    .await;
}
