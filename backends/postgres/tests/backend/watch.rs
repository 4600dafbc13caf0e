//! The change log under writers that overlap: nothing lost, doubled or out of order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::{Change, DocumentBackend, Feed};
use syntrix_storage_core::{DocumentPath, Position, Timestamp};
use tokio_postgres::Client;

use crate::common::{Fixture, START, brief, canonical, connect, document, replace_live};

/// Reads the log like the engine does: pages, then a wait.
pub async fn read_until(
    documents: &dyn DocumentBackend,
    mut place: Position,
    done: impl Fn(&[Change]) -> bool,
) -> Vec<Change> {
    let (mut changes, end) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    while !done(&changes) {
        assert!(Instant::now() < end, "still waiting behind {} changes", changes.len());
        let page = documents.feed(&Feed::After(place), None, 7).await.expect("feed");
        changes.extend(page.changes);
        place = page.end;
        if !page.more && !done(&changes) {
            documents.wait_for_change(&place, Duration::from_millis(200)).await.expect("wait");
        }
    }
    changes
}

/// Each document's versions, in the order they came.
pub fn versions(changes: &[Change]) -> HashMap<String, Vec<i64>> {
    let mut versions: HashMap<String, Vec<i64>> = HashMap::new();
    for change in changes {
        let path = change.document.path().to_string();
        versions.entry(path).or_default().push(change.document.version().get());
    }
    versions
}

/// A statement that writes a document and its log entry by hand, as the backend does: version + 1.
pub async fn bump(client: &Client, path: &str) {
    let key = DocumentPath::parse(path).expect("path");
    let key = &key.key().as_bytes()[..];
    let sql = "WITH u AS (UPDATE documents SET version = version + 1 WHERE id = $1 RETURNING *) \
        INSERT INTO changes (event,id,fullpath,created_at,updated_at,version,deleted,data,committed_at) \
        SELECT 2,id,fullpath,created_at,updated_at,version,deleted,data,updated_at FROM u";
    client.execute(sql, &[&key]).await.expect("bump");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_with_long_and_rolled_back_transactions_lose_double_and_reorder_nothing() {
    const WRITERS: usize = 16;
    const ROUNDS: usize = 20;
    const DOCUMENTS: usize = 12;
    let fixture = Arc::new(Fixture::open().await);
    let start = fixture.end().await;
    for number in 0..DOCUMENTS {
        fixture.insert(&format!("case/d{number}"), json!({})).await;
    }
    let writers = (0..WRITERS).map(|writer| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            let raw = if writer % 2 == 0 { Some(fixture.raw().await) } else { None };
            let mut written = 0;
            for round in 0..ROUNDS {
                let path = |step: usize| format!("case/d{}", (writer + round * step) % DOCUMENTS);
                let Some(raw) = &raw else {
                    fixture.update(&path(7), json!({"by": writer})).await;
                    written += 1;
                    continue;
                };
                // By hand: one to three documents in key order, now and then slow, now and then undone.
                raw.batch_execute("BEGIN").await.expect("begin");
                let mut paths: Vec<_> = (1..=1 + round % 3).map(path).collect();
                paths.sort_by_key(|path| *DocumentPath::parse(path).expect("path").key());
                paths.dedup();
                for path in &paths {
                    bump(raw, path).await;
                }
                if round % 5 == 0 {
                    tokio::time::sleep(Duration::from_millis(30 * (writer as u64 % 4))).await;
                }
                let undone = (writer + round) % 7 == 0;
                raw.batch_execute(if undone { "ROLLBACK" } else { "COMMIT" }).await.expect("end");
                written += if undone { 0 } else { paths.len() };
            }
            written
        })
    });
    let writers: Vec<_> = writers.collect();
    let finished = Arc::new(AtomicBool::new(false));
    let reader = {
        let (fixture, finished, start) = (fixture.again().await, finished.clone(), start.clone());
        tokio::spawn(async move {
            let done = |_: &[Change]| finished.load(Ordering::SeqCst);
            let mut changes = read_until(&*fixture.documents, start, done).await;
            let rest = changes.last().map(|change| change.position.clone()).expect("changes");
            let mut page =
                fixture.documents.feed(&Feed::After(rest), None, 1000).await.expect("feed");
            while !page.changes.is_empty() {
                let place = Feed::After(page.end.clone());
                changes.append(&mut page.changes);
                page = fixture.documents.feed(&place, None, 1000).await.expect("feed");
            }
            changes
        })
    };
    let mut written = DOCUMENTS;
    for writer in writers {
        written += writer.await.expect("writer");
    }
    finished.store(true, Ordering::SeqCst);
    let live = reader.await.expect("reader");
    let history = read_until(&*fixture.documents, start, |changes| changes.len() >= written).await;
    for changes in [live, history] {
        assert_eq!(changes.len(), written);
        for (path, versions) in versions(&changes) {
            let expected: Vec<_> = (1..=versions.len() as i64).collect();
            assert_eq!(versions, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn a_slow_transaction_holds_up_nobody_and_comes_after_its_commit() {
    let fixture = Fixture::open().await;
    fixture.insert("case/slow", json!({})).await;
    let place = fixture.end().await;
    let raw = fixture.raw().await;
    raw.batch_execute("BEGIN").await.expect("begin");
    bump(&raw, "case/slow").await;
    for number in 0..20 {
        fixture.insert(&format!("case/d{number}"), json!({})).await;
    }
    let started = Instant::now();
    let page = fixture.feed(Feed::After(place)).await;
    assert!(started.elapsed() < Duration::from_secs(5), "held up");
    assert_eq!((page.changes.len(), page.more), (20, false));
    // In the middle of the window, too, the slow one is still to come.
    let middle = page.changes[9].position.clone();
    raw.batch_execute("COMMIT").await.expect("commit");
    let after = fixture.feed(Feed::After(page.end)).await.changes;
    assert_eq!(after.iter().map(brief).collect::<Vec<_>>(), ["update case/slow@2"]);
    let mut resumed = fixture.feed(Feed::After(middle)).await;
    assert_eq!((resumed.changes.len(), resumed.more), (10, true));
    resumed = fixture.feed(Feed::After(resumed.end)).await;
    assert_eq!(resumed.changes.iter().map(brief).collect::<Vec<_>>(), ["update case/slow@2"]);
}

/// A later transaction may be the first to end: its number is no bound for the earlier one's.
#[tokio::test]
async fn a_transaction_that_no_snapshot_lists_yet_is_not_passed_over() {
    let fixture = Fixture::open().await;
    fixture.insert("case/slow", json!({})).await;
    let (slow, fast) = (fixture.raw().await, fixture.raw().await);
    fast.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.expect("begin");
    slow.batch_execute("BEGIN").await.expect("begin");
    bump(&slow, "case/slow").await;
    let path = DocumentPath::parse("case/fast").expect("path");
    let insert = "INSERT INTO changes (event,id,fullpath,created_at,updated_at,version,deleted,data,committed_at) \
        VALUES (1,$1,'case/fast',1,1,1,false,'{}',1)";
    fast.execute(insert, &[&&path.key().as_bytes()[..]]).await.expect("insert");
    fast.batch_execute("COMMIT").await.expect("commit");
    let page = fixture.feed(Feed::Oldest).await;
    assert_eq!(page.changes.last().map(brief).as_deref(), Some("create case/fast@1"));
    slow.batch_execute("COMMIT").await.expect("commit");
    let late = fixture.feed(Feed::After(page.end)).await.changes;
    assert_eq!(late.iter().map(brief).collect::<Vec<_>>(), ["update case/slow@2"]);
}

#[tokio::test]
async fn savepoints_that_are_undone_leave_no_event() {
    let fixture = Fixture::open().await;
    fixture.insert("case/a", json!({})).await;
    fixture.insert("case/b", json!({})).await;
    let place = fixture.end().await;
    let raw = fixture.raw().await;
    raw.batch_execute("BEGIN").await.expect("begin");
    bump(&raw, "case/a").await;
    raw.batch_execute("SAVEPOINT one").await.expect("savepoint");
    bump(&raw, "case/b").await;
    raw.batch_execute("ROLLBACK TO one; SAVEPOINT two").await.expect("rollback");
    bump(&raw, "case/a").await;
    raw.batch_execute("RELEASE two; COMMIT").await.expect("commit");
    let changes = fixture.feed(Feed::After(place)).await.changes;
    let events: Vec<_> = changes.iter().map(brief).collect();
    assert_eq!(events, ["update case/a@2", "update case/a@3"]);
}

#[tokio::test]
async fn an_open_write_transaction_in_another_database_delays_nothing() {
    let fixture = Fixture::open().await;
    let raw = fixture.raw().await;
    let other = format!("other_{}", fixture.place.namespace);
    raw.batch_execute(&format!("CREATE DATABASE {other}")).await.expect("database");
    let mut config: tokio_postgres::Config = fixture.place.dsn.parse().expect("dsn");
    config.dbname(&other);
    let (elsewhere, connection) = config.connect(tokio_postgres::NoTls).await.expect("connect");
    tokio::spawn(connection);
    elsewhere.batch_execute("BEGIN; CREATE TABLE t (n int)").await.expect("begin");
    let place = fixture.end().await;
    fixture.insert("case/a", json!({})).await;
    let page = fixture.feed(Feed::After(place)).await;
    assert_eq!((page.changes.len(), page.more), (1, false));
    let later = fixture.end().await;
    elsewhere.batch_execute("ROLLBACK").await.expect("rollback");
    fixture.insert("case/b", json!({})).await;
    assert_eq!(fixture.feed(Feed::After(later)).await.changes.len(), 1);
    drop(elsewhere);
    let drop = format!("DROP DATABASE {other} WITH (FORCE)");
    raw.batch_execute(&drop).await.expect("drop");
}

#[tokio::test]
async fn a_prepared_transaction_delays_nothing_and_comes_when_it_is_committed() {
    let fixture = Fixture::open().await;
    fixture.insert("case/a", json!({})).await;
    let place = fixture.end().await;
    let raw = fixture.raw().await;
    let allowed = raw.query_one("SHOW max_prepared_transactions", &[]).await.expect("show");
    let name = fixture.place.namespace.clone();
    raw.batch_execute("BEGIN").await.expect("begin");
    bump(&raw, "case/a").await;
    if allowed.get::<_, &str>(0) == "0" {
        // A server that allows none cannot have one left open: an open transaction stands for it.
        fixture.insert("case/b", json!({})).await;
        assert_eq!(fixture.feed(Feed::After(place.clone())).await.changes.len(), 1);
        raw.batch_execute("COMMIT").await.expect("commit");
        return;
    }
    raw.batch_execute(&format!("PREPARE TRANSACTION '{name}'")).await.expect("prepare");
    fixture.insert("case/b", json!({})).await;
    let page = fixture.feed(Feed::After(place)).await;
    assert_eq!(page.changes.iter().map(brief).collect::<Vec<_>>(), ["create case/b@1"]);
    // Trimmed to the last change, the place that knows of the open transaction is still good.
    fixture.documents.trim_feed(Timestamp::from_milliseconds(START + 1), 100).await.expect("trim");
    raw.batch_execute(&format!("COMMIT PREPARED '{name}'")).await.expect("commit");
    let late = fixture.feed(Feed::After(page.end)).await.changes;
    assert_eq!(late.iter().map(brief).collect::<Vec<_>>(), ["update case/a@2"]);
}

#[tokio::test]
async fn another_process_is_woken_by_a_notification() {
    let (one, other) = {
        let one = Fixture::open().await;
        let other = one.again().await;
        (one, other)
    };
    let place = other.end().await;
    // The first wait opens the side connection.
    other.documents.wait_for_change(&place, Duration::from_millis(300)).await.expect("wait");
    one.insert("case/a", json!({})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let place = other.feed(Feed::After(place)).await.end;
    let started = Instant::now();
    let (waited, _) = tokio::join!(other.wait(&place), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        one.insert("case/b", json!({})).await
    });
    let () = waited;
    assert!(started.elapsed() < Duration::from_secs(20), "woken by the time limit only");
    assert_eq!(other.feed(Feed::After(place)).await.changes.len(), 1);
}

#[tokio::test]
async fn a_killed_side_connection_is_opened_again() {
    let one = Fixture::open().await;
    let other = one.again().await;
    let place = other.end().await;
    other.documents.wait_for_change(&place, Duration::from_millis(300)).await.expect("wait");
    let raw = one.raw().await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE pid <> pg_backend_pid() AND (query LIKE '%LISTEN syntrix_storage_%' OR query LIKE 'NOTIFY syntrix_storage_%')";
    raw.batch_execute(kill).await.expect("kill");
    one.insert("case/a", json!({})).await;
    // The engine looks twice a second whether it was woken or not.
    other.documents.wait_for_change(&place, Duration::from_millis(500)).await.expect("wait");
    assert_eq!(other.feed(Feed::After(place)).await.changes.len(), 1);
}

#[tokio::test]
async fn the_place_of_a_list_continues_where_its_snapshot_ended() {
    let fixture = Arc::new(Fixture::open().await);
    let writing = Arc::clone(&fixture);
    let writer = tokio::spawn(async move {
        for number in 0..60 {
            writing.insert(&format!("case/d{number}"), json!({})).await;
        }
    });
    let query = syntrix_storage_core::Query::new("case").expect("query").limit(1000);
    let plan = syntrix_storage_core::QueryPlan::check(query).expect("plan");
    let context = crate::common::context(syntrix_storage_core::Operation::Query);
    let mut lists = Vec::new();
    while !writer.is_finished() {
        lists.push(fixture.documents.query_with_position(&plan, &context).await.expect("list"));
    }
    writer.await.expect("writer");
    for (listed, place, _) in lists {
        let rest = fixture.feed(Feed::After(place)).await.changes;
        assert_eq!(listed.len() + rest.len(), 60, "gap or repeat behind {}", listed.len());
    }
}

#[tokio::test]
async fn a_history_that_was_put_back_is_told_from_the_one_that_made_the_token() {
    let fixture = Fixture::open().await;
    fixture.insert("case/a", json!({})).await;
    let place = fixture.end().await;
    let raw = connect(&fixture.place.dsn).await;
    let schema = fixture.place.schema();
    raw.batch_execute(&format!("UPDATE {schema}.changes SET nonce = nonce + 1"))
        .await
        .expect("sql");
    let error = fixture.documents.feed(&Feed::After(place), None, 10).await.expect_err("read");
    assert_eq!(error.expired_reason(), Some(syntrix_storage_core::ExpiredReason::Diverged));
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_of_one_document_are_logged_version_by_version() {
    let fixture = Arc::new(Fixture::open().await);
    let other = Arc::new(fixture.again().await);
    let start = fixture.end().await;
    fixture.insert("case/one", json!({})).await;
    let writers = (0..16).map(|writer| {
        let fixture = Arc::clone(if writer % 2 == 0 { &fixture } else { &other });
        tokio::spawn(async move {
            for _ in 0..25 {
                let write = replace_live("case/one", Some(json!({"by": writer})));
                crate::common::applied(fixture.write(write).await);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let changes = read_until(&*fixture.documents, start, |changes| changes.len() >= 401).await;
    for writer in writers {
        writer.await.expect("writer");
    }
    assert_eq!(versions(&changes)["case/one"], (1..=401).collect::<Vec<i64>>());
    let before = changes.iter().skip(1).map(|change| change.before.as_ref().expect("before"));
    let previous = changes.iter().map(|change| &change.document);
    assert!(before.zip(previous).all(|(before, previous)| before == previous));
    assert_eq!(document("case/one", json!({})), canonical(changes[0].document.clone()));
}
