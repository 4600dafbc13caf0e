//! Secondaries as a native replica: reads of them see what they must, also while a member applies nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::{Access, CallContext, DocumentBackend, Watermark};
use syntrix_storage_core::{Consistency, Document, ErrorKind, Operation, Query, QueryPlan};

use crate::common::{Fixture, open_context, provider};
use crate::set::Set;

const NAMESPACE: &str = "t_secondaries";
const TASKS: usize = 4;

async fn replica(set: &Set) -> Arc<dyn DocumentBackend> {
    let uri = set.uri("&readPreference=secondary");
    let context = open_context(NAMESPACE).with_access(Access::Replica);
    let backend = provider(&uri, &json!({})).open(&context).await.expect("open");
    assert!(backend.is_native_replica());
    assert_eq!(backend.users().expect_err("not there").kind(), ErrorKind::Unsupported);
    backend.documents().expect("documents")
}

async fn not_before(primary: &dyn DocumentBackend, operation: Operation) -> CallContext {
    let watermark = primary.watermark().await.expect("watermark");
    CallContext::new(operation)
        .with_consistency(Consistency::Session)
        .with_not_before(Some(watermark.expect("a replica set")))
}

/// How many pairs: a slice in the gate, 100,000 when asked for.
fn pairs_wanted() -> usize {
    let wanted = std::env::var("SYNTRIX_STORAGE_TEST_PAIRS").ok();
    wanted.map_or(2000, |wanted| wanted.parse().expect("a number"))
}

#[derive(Debug, Default)]
struct Tally {
    fresh: usize,
    behind: usize,
    stale: usize,
}

/// Pairs of a write to the primary and a read of secondaries that must see it.
async fn pairs(primary: &Fixture, replica: &dyn DocumentBackend, task: usize) -> Tally {
    let mut tally = Tally::default();
    for pair in 0..pairs_wanted() / TASKS {
        // A page holds all of a collection.
        let collection = format!("pairs{task}x{}", pair / 900);
        let path = format!("{collection}/d{}", pair / 3);
        let written = match pair % 3 {
            0 => primary.insert(&path, json!({ "n": pair })).await,
            1 => primary.update(&path, json!({ "n": pair })).await,
            _ => primary.delete(&path).await,
        };
        let context = not_before(&*primary.documents, Operation::Read).await;
        let read = match pair % 5 {
            0 => listed(replica, &written, &collection, &context).await,
            _ => replica.get(written.path(), &context).await,
        };
        match read {
            Ok(found) if found.as_ref().is_some_and(|it| it.version() == written.version()) => {
                tally.fresh += 1;
            }
            Ok(_) => tally.stale += 1,
            // Then the route asks the primary.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error:?}");
                tally.behind += 1;
            }
        }
    }
    tally
}

async fn listed(
    replica: &dyn DocumentBackend,
    written: &Document,
    collection: &str,
    context: &CallContext,
) -> syntrix_storage_core::Result<Option<Document>> {
    let query = Query::new(collection).expect("valid").show_deleted(true);
    let plan = QueryPlan::check(query.limit(1000)).expect("valid");
    let found = replica.query(&plan, context).await?;
    Ok(found.into_iter().find(|it| it.path() == written.path()))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pair_is_stale_while_secondaries_stop_applying_and_go_on() {
    let set = Arc::new(Set::start(3).await);
    let primary = Arc::new(Fixture::at(&set.uri(""), NAMESPACE, &json!({})).await);
    primary.insert("rooms/first", json!({})).await;
    set.until_all_applied();
    let replica = replica(&set).await;
    let before = [set.queries(1), set.queries(2)];
    let stop = Arc::new(AtomicBool::new(false));
    let tormenting = set.torment(&stop);
    let started = Instant::now();
    let running = (0..TASKS).map(|task| {
        let (primary, replica) = (Arc::clone(&primary), Arc::clone(&replica));
        tokio::spawn(async move { pairs(&primary, &*replica, task).await })
    });
    let mut sum = Tally::default();
    for task in running.collect::<Vec<_>>() {
        let tally = task.await.expect("task");
        sum.fresh += tally.fresh;
        sum.behind += tally.behind;
        sum.stale += tally.stale;
    }
    stop.store(true, Ordering::Relaxed);
    tormenting.await.expect("torment");
    let read = [set.queries(1) - before[0], set.queries(2) - before[1]];
    eprintln!("{sum:?} in {:?}, reads of the secondaries {read:?}", started.elapsed());
    assert_eq!(sum.stale, 0);
    assert!(sum.fresh > pairs_wanted() / 2 && read.iter().all(|read| *read > 100), "{read:?}");
    replica.close().await.expect("close");
    primary.documents.close().await.expect("close");
}

/// What a replica is asked without a path decides whether it is taken for one of the primary's.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_behind_refuses_quickly_whatever_is_read() {
    let set = Set::start(3).await;
    let primary = Fixture::at(&set.uri(""), NAMESPACE, &json!({})).await;
    let first = primary.insert("rooms/first", json!({})).await;
    set.until_all_applied();
    let replica = replica(&set).await;
    let plan = QueryPlan::check(Query::new("rooms").expect("valid").limit(10)).expect("valid");
    let many = vec![first.path().clone(); 100];

    let level = not_before(&*primary.documents, Operation::Read).await;
    assert!(replica.get_many(&[], &level).await.expect("level").is_empty());
    assert_eq!(replica.get_many(&many, &level).await.expect("level").len(), 100);
    let mut foreign = level;
    foreign.not_before = level.not_before.map(|mark| Watermark { cluster: 1, ..mark });
    let refused = replica.get_many(&[], &foreign).await.expect_err("another set");
    assert_eq!(refused.kind(), ErrorKind::ConfigInvalid);

    set.stop_applying(1, true);
    // The other one confirms it with the primary.
    primary.insert("rooms/second", json!({})).await;
    let behind = not_before(&*primary.documents, Operation::Read).await;
    let (mut refused, mut fresh) = (0, 0);
    for round in 0..60 {
        let asked = Instant::now();
        let answer = match round % 3 {
            0 => replica.query(&plan, &behind).await.map(|found| found.len()),
            1 => replica.get_many(&many, &behind).await.map(|_| 2),
            _ => replica.get_many(&[], &behind).await.map(|_| 2),
        };
        assert!(asked.elapsed() < Duration::from_millis(500), "{round}: {:?}", asked.elapsed());
        match answer {
            Ok(found) => {
                assert_eq!(found, 2);
                fresh += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error:?}");
                refused += 1;
            }
        }
    }
    set.stop_applying(1, false);
    assert!(refused > 5 && fresh > 5, "{refused} refused, {fresh} fresh");
    replica.close().await.expect("close");
    primary.documents.close().await.expect("close");
}
