//! Opening, sharing, closing; queries, scans, purge, indexes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{READ, at, block, body, delete, insert, open, open_in, path, provider};
use syntrix_storage_core::backend::{Applied, DocumentBackend, OpenContext, StoreKind, Write};
use syntrix_storage_core::{
    CollectionPath, Direction, Document, ErrorKind, INDEXES_MAX, IndexDefinition, Operator,
    OrderBy, Query, QueryPlan, Reason, ScanRequest,
};

async fn count(store: &dyn DocumentBackend) -> usize {
    let request = ScanRequest::of(None, true);
    store.scan(&request, &READ).await.unwrap().len()
}

#[tokio::test]
async fn handles_share_data_until_the_last_one_is_closed() {
    let provider = provider();
    let first = open_in(&*provider, None).await;
    let second = open_in(&*provider, None).await;
    let elsewhere = open_in(&*provider, Some("elsewhere")).await;
    insert(&*first.documents, "c/a", "{}").await;
    assert_eq!((count(&*second.documents).await, count(&*elsewhere.documents).await), (1, 0));
    first.documents.close().await.unwrap();
    first.backend.close().await.unwrap();
    let third = open_in(&*provider, None).await;
    assert_eq!(count(&*third.documents).await, 1);
    for opened in [&second, &third] {
        opened.documents.close().await.unwrap();
        opened.backend.close().await.unwrap();
    }
    assert_eq!(count(&*open_in(&*provider, None).await.documents).await, 0);
}

#[tokio::test]
async fn two_blocks_share_nothing() {
    let (left, right) = (provider(), provider());
    assert_ne!(left.connection_key(), right.connection_key());
    let opened = open_in(&*left, None).await;
    insert(&*opened.documents, "c/a", "{}").await;
    assert_eq!(count(&*open_in(&*right, None).await.documents).await, 0);
}

#[tokio::test]
async fn after_close_every_call_says_so() {
    let opened = open().await;
    let store = opened.documents;
    store.close().await.unwrap();
    assert_eq!(store.get(&path("c/a"), &READ).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(store.feed_end().await.unwrap_err().kind(), ErrorKind::Closed);
    let write = || Write::Insert(common::document("c/a", "{}"));
    let outcomes = store.write(vec![write(), write()], &common::WRITE).await;
    let closed = |outcome: &syntrix_storage_core::Result<Applied>| {
        outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Closed)
    };
    assert!(outcomes.len() == 2 && outcomes.iter().all(closed));
    opened.backend.close().await.unwrap();
    assert_eq!(opened.backend.documents().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn only_a_closed_namespace_can_be_removed() {
    let provider = provider();
    let context = OpenContext::new("unused");
    let refused = provider.remove_namespace(&context).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    let opened = open_in(&*provider, Some("n")).await;
    let context = context.with_namespace("n").unwrap();
    let refused = provider.remove_namespace(&context).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    opened.documents.close().await.unwrap();
    opened.backend.close().await.unwrap();
    provider.remove_namespace(&context).await.unwrap();
}

#[test]
fn a_block_is_checked() {
    let factory = syntrix_storage_memory::factory();
    assert!(factory.stores().contains(StoreKind::Documents));
    assert_eq!(factory.settings_schema()["additionalProperties"], false);
    for (key, value) in
        [("retention", "1d"), ("watchRetention", "31d"), ("softDeleteRetention", "soon")]
    {
        let error = factory.configure(&block(&[(key, value)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{key}");
        assert_eq!(error.fact("key"), Some(key));
    }
}

#[tokio::test]
async fn retention_comes_from_the_block() {
    let entries = [("softDeleteRetention", "2h"), ("watchRetention", "90m")];
    let provider = syntrix_storage_memory::factory().configure(&block(&entries)).unwrap();
    let retention = open_in(&*provider, None).await.documents.retention();
    assert_eq!(retention.soft_delete(), Duration::from_secs(7200));
    assert_eq!(retention.watch(), Duration::from_secs(5400));
}

#[tokio::test]
async fn a_query_returns_one_row_more_than_the_page_in_plan_order() {
    let store = open().await.documents;
    for number in 0..9 {
        let data = format!(r#"{{"group":{},"n":{number}}}"#, number % 2);
        insert(&*store, &format!("c/{number}"), &data).await;
    }
    insert(&*store, "c/0/sub/x", r#"{"group":1,"n":100}"#).await;
    insert(&*store, "c/odd", r#"{"group":1,"n":[7]}"#).await;
    let query = Query::new("c")
        .unwrap()
        .filter("group", Operator::NotEqual, 0)
        .unwrap()
        .order_by("n", Direction::Descending)
        .unwrap()
        .limit(2);
    let plan = QueryPlan::new(query.clone(), &[]).unwrap();
    let rows = store.query(&plan, &READ).await.unwrap();
    let ids: Vec<_> = rows.iter().map(Document::id).collect();
    assert_eq!(ids, ["7", "5", "3"]);
    let next = QueryPlan::new(query.after(plan.cursor_after(&rows[1]).unwrap()), &[]).unwrap();
    let rows = store.query(&next, &READ).await.unwrap();
    let ids: Vec<_> = rows.iter().map(Document::id).collect();
    assert_eq!(ids, ["3", "1"]);
}

#[tokio::test]
async fn many_are_read_in_the_asked_order_with_repeats() {
    let store = open().await.documents;
    insert(&*store, "c/a", "{}").await;
    insert(&*store, "c/b", "{}").await;
    let paths = ["c/b", "c/none", "c/a", "c/b"].map(path);
    let found = store.get_many(&paths, &READ).await.unwrap();
    let ids: Vec<_> = found.iter().map(|found| found.as_ref().map(Document::id)).collect();
    assert_eq!(ids, [Some("b"), None, Some("a"), Some("b")]);
}

#[tokio::test]
async fn a_scan_goes_by_path_and_cuts_collections_at_whole_segments() {
    let store = open().await.documents;
    for text in ["a/x", "a/x/b/y", "ab/x", "a!/x", "a/x/b/y/c/z", "a/w"] {
        insert(&*store, text, "{}").await;
    }
    let gone = insert(&*store, "a/gone", "{}").await;
    delete(&*store, &gone, 1001).await;
    let scan = async |request: ScanRequest| -> Vec<String> {
        let found = store.scan(&request, &READ).await.unwrap();
        found.iter().map(|document| document.path().to_string()).collect()
    };
    let a = CollectionPath::parse("a").unwrap();
    let everything = scan(ScanRequest::of(None, true)).await;
    assert_eq!(everything, ["a!/x", "a/w", "a/x", "a/x/b/y", "a/x/b/y/c/z", "ab/x"]);
    assert_eq!(scan(ScanRequest::of(None, false)).await, everything);
    assert_eq!(scan(ScanRequest::of(Some(a.clone()), false)).await, ["a/w", "a/x"]);
    let below = scan(ScanRequest::of(Some(a.clone()), true)).await;
    assert_eq!(below, ["a/w", "a/x", "a/x/b/y", "a/x/b/y/c/z"]);
    let mut request = ScanRequest::of(Some(a), true);
    (request.show_deleted, request.limit, request.after) = (true, 2, None);
    let (mut pages, mut all) = (0, Vec::new());
    loop {
        let page = scan(request.clone()).await;
        request.after = page.last().cloned();
        all.extend(page.clone());
        pages += 1;
        if page.len() < 2 {
            break;
        }
    }
    assert_eq!((pages, all.len(), all[0].as_str()), (3, 5, "a/gone"));
    request.after = Some("Z".to_owned());
    assert_eq!(scan(request).await, ["a/gone", "a/w"]);
}

#[tokio::test]
async fn purge_takes_the_oldest_tombstones_only_and_says_whether_there_are_more() {
    let store = open().await.documents;
    for number in 0..5 {
        let live = insert(&*store, &format!("c/{number}"), "{}").await;
        delete(&*store, &live, 1000 + number).await;
    }
    insert(&*store, "c/live", "{}").await;
    let tombstone = store.get(&path("c/0"), &READ).await.unwrap().unwrap();
    let revived = tombstone.revived(at(2000), body("{}"));
    common::applied(&*store, Write::Replace { expected: tombstone.version(), document: revived })
        .await;
    let report = store.purge(at(1004), 2).await.unwrap();
    assert_eq!((report.purged, report.more), (2, true));
    let report = store.purge(at(1004), 2).await.unwrap();
    assert_eq!((report.purged, report.more), (1, false));
    let mut request = ScanRequest::of(None, true);
    request.show_deleted = true;
    let left = store.scan(&request, &READ).await.unwrap();
    let left: Vec<_> = left.iter().map(Document::id).collect();
    assert_eq!(left, ["0", "4", "live"]);
}

#[tokio::test]
async fn indexes_are_ready_at_once_and_at_most_32() {
    let store = open().await.documents;
    let index = |name: String| {
        let fields = vec![OrderBy::new(&name, Direction::Ascending).unwrap()];
        IndexDefinition::new("c", fields).unwrap()
    };
    for number in 0..INDEXES_MAX {
        store.create_index(&index(format!("f{number}"))).await.unwrap();
    }
    store.create_index(&index("f0".into())).await.unwrap();
    let error = store.create_index(&index("one_more".into())).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::TooManyIndexes));
    let list = store.list_indexes().await.unwrap();
    assert!(list.len() == INDEXES_MAX && list.iter().all(|status| status.ready));
    assert!(store.drop_index(index("f0".into()).name()).await.unwrap());
    assert!(!store.drop_index(index("f0".into()).name()).await.unwrap());
    store.create_index(&index("one_more".into())).await.unwrap();
}

#[tokio::test]
async fn health_counts_live_documents_and_tombstones() {
    let store = open().await.documents;
    let first = insert(&*store, "c/a", "{}").await;
    insert(&*store, "c/b", "{}").await;
    delete(&*store, &first, 1001).await;
    let report = store.health().await.unwrap();
    let fact = |key: &str| report.facts.iter().find(|(name, _)| name == key).unwrap().1.as_str();
    assert_eq!(
        (report.ready, fact("documents"), fact("tombstones"), fact("changes")),
        (true, "1", "1", "3")
    );
}
