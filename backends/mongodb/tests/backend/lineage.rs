//! A copy in another replica set is told from the set's own secondaries, though it has its name and all of its data.

use futures_util::TryStreamExt as _;
use mongodb::Client;
use mongodb::bson::{Document as Record, doc};
use serde_json::json;
use syntrix_storage_core::backend::{Access, Backend, CallContext};
use syntrix_storage_core::{ErrorKind, Operation, Result};

use crate::common::{Fixture, open_context, provider};
use crate::servers::Server;

const NAMESPACE: &str = "t_lineage";
const SET: [&str; 2] = ["--replSet", "own"];

async fn replica_of(server: &Server) -> Result<std::sync::Arc<dyn Backend>> {
    let uri = server.uri() + "&readPreference=secondaryPreferred";
    let context = open_context(NAMESPACE).with_access(Access::Replica);
    provider(&uri, &json!({})).open(&context).await
}

/// As a dump that is restored elsewhere.
async fn copy(from: &Fixture, to: &Server) {
    let target = Client::with_uri_str(to.uri()).await.expect("client");
    let source = from.raw().await;
    for name in source.list_collection_names().await.expect("names") {
        let found = source.collection::<Record>(&name).find(doc! {}).await.expect("find");
        let records: Vec<_> = found.try_collect().await.expect("records");
        if !records.is_empty() {
            let copied = target.database(source.name()).collection(&name);
            copied.insert_many(records).await.expect("copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_copy_in_another_set_of_the_same_name_is_no_replica() {
    let (ours, other) = (Server::start(&SET).await, Server::start(&SET).await);
    let primary = Fixture::at(&ours.uri(), NAMESPACE, &json!({})).await;
    primary.insert("rooms/a", json!({ "n": 1 })).await;
    let mark = primary.documents.watermark().await.expect("watermark");
    let context = CallContext::new(Operation::Read).with_not_before(mark);
    copy(&primary, &other).await;

    let own = replica_of(&ours).await.expect("open");
    assert!(own.documents().expect("documents").get_many(&[], &context).await.is_ok());
    let refused = replica_of(&other).await.expect_err("a copy that nobody opened");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("name the primary's set"), "{refused}");

    // Who works on the copy makes it one of its own.
    let copied = Fixture::at(&other.uri(), NAMESPACE, &json!({})).await;
    let foreign = replica_of(&other).await.expect("open");
    let asked = foreign.documents().expect("documents").get_many(&[], &context).await;
    assert_eq!(asked.expect_err("another set").kind(), ErrorKind::ConfigInvalid);
    // Opening the original again leaves it what it was.
    let again = primary.again().await;
    let mark = again.documents.watermark().await.expect("watermark");
    let context = CallContext::new(Operation::Read).with_not_before(mark);
    assert!(own.documents().expect("documents").get_many(&[], &context).await.is_ok());
    for backend in [own, foreign, again.backend, copied.backend, primary.backend] {
        backend.close().await.expect("close");
    }
}
