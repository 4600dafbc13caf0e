//! Everything at once that makes numbers of the log visible late: long transactions, savepoints, a prepared transaction, an
//! open one in another database, and batches that want the same new documents.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage_core::backend::{Applied, Change, Feed, Write};
use syntrix_storage_core::{Operation, Position};
use tokio_postgres::Client;

use crate::common::{Fixture, brief, context, document};
use crate::watch::{bump, read_until, versions};

const WRITERS: usize = 16;
const DOCUMENTS: usize = 50;
const ROUNDS: usize = 25;

/// A transaction of one to four documents in the order of their keys, now and then with a savepoint that is undone, slow, or
/// undone as a whole. Returns how many changes stay.
async fn transact(raw: &Client, writer: usize, round: usize) -> usize {
    let number = |step: usize| (writer * 7 + round * 3 + step * 11) % DOCUMENTS;
    let mut paths: Vec<_> = (0..=round % 4).map(|step| format!("case/d{}", number(step))).collect();
    paths.sort_by_key(|path| *crate::common::parse(path).key());
    paths.dedup();
    raw.batch_execute("BEGIN").await.expect("begin");
    let mut kept = 0;
    for (place, path) in paths.iter().enumerate() {
        let undone = (round + place) % 3 == 0;
        raw.batch_execute("SAVEPOINT one").await.expect("savepoint");
        bump(raw, path).await;
        let end = if undone { "ROLLBACK TO one" } else { "RELEASE one" };
        raw.batch_execute(end).await.expect("savepoint");
        kept += usize::from(!undone);
    }
    if round % 6 == 0 {
        tokio::time::sleep(Duration::from_millis(40 * (writer as u64 % 5))).await;
    }
    let undone = (writer + round) % 20 == 0;
    raw.batch_execute(if undone { "ROLLBACK" } else { "COMMIT" }).await.expect("end");
    if undone { 0 } else { kept }
}

async fn writer(fixture: Arc<Fixture>, number: usize) -> usize {
    let raw = fixture.raw().await;
    let mut written = 0;
    for round in 0..ROUNDS {
        if number % 2 == 0 {
            written += transact(&raw, number, round).await;
        } else {
            let path = format!("case/d{}", (number * 5 + round) % DOCUMENTS);
            fixture.update(&path, json!({"by": number})).await;
            written += 1;
        }
    }
    written
}

/// What stays open for as long as the others write: a change of its own document in a prepared transaction, and a write in
/// another database of the cluster.
struct Open {
    raw: Client,
    elsewhere: Client,
    name: String,
}

impl Open {
    async fn begin(fixture: &Fixture) -> Self {
        let (raw, name) = (fixture.raw().await, format!("open_{}", fixture.place.namespace));
        raw.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("database");
        let mut config: tokio_postgres::Config = fixture.place.dsn.parse().expect("dsn");
        config.dbname(&name);
        let (elsewhere, connection) = config.connect(tokio_postgres::NoTls).await.expect("connect");
        tokio::spawn(connection);
        elsewhere.batch_execute("BEGIN; CREATE TABLE t (n int)").await.expect("begin");
        raw.batch_execute("BEGIN").await.expect("begin");
        bump(&raw, "case/prepared").await;
        let prepare = format!("PREPARE TRANSACTION '{name}'");
        raw.batch_execute(&prepare).await.expect("a server with max_prepared_transactions");
        Self { raw, elsewhere, name }
    }

    async fn end(self) {
        let commit = format!("COMMIT PREPARED '{}'", self.name);
        self.raw.batch_execute(&commit).await.expect("commit");
        self.elsewhere.batch_execute("ROLLBACK").await.expect("rollback");
        drop(self.elsewhere);
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        self.raw.batch_execute(&drop).await.expect("drop");
    }
}

fn assert_contiguous(changes: &[Change]) {
    for (path, versions) in versions(changes) {
        let expected: Vec<_> = (1..=versions.len() as i64).collect();
        assert_eq!(versions, expected, "{path}");
    }
}

/// Each prefix of a history that a watcher may have seen is continued without gap or repeat.
async fn assert_resumable(fixture: &Fixture, live: &[Change]) {
    let all: Vec<_> = live.iter().map(brief).collect();
    for seen in (0..live.len()).step_by(97) {
        let rest = read_until(&*fixture.documents, live[seen].position.clone(), |rest| {
            rest.len() >= live.len() - seen - 1
        });
        let mut resumed: Vec<_> = all[..=seen].to_vec();
        resumed.extend(rest.await.iter().map(brief));
        let (mut resumed, mut all) = (resumed, all.clone());
        resumed.sort();
        all.sort();
        assert_eq!(resumed, all, "behind {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_beside_transactions_that_stay_open_lose_double_and_reorder_nothing() {
    let fixture = Arc::new(Fixture::open().await);
    let start = fixture.end().await;
    for number in 0..DOCUMENTS {
        fixture.insert(&format!("case/d{number}"), json!({})).await;
    }
    fixture.insert("case/prepared", json!({})).await;
    let open = Open::begin(&fixture).await;
    let second = Arc::new(fixture.again().await);
    let writers = (0..WRITERS).map(|number| {
        tokio::spawn(writer(Arc::clone(if number % 3 == 0 { &second } else { &fixture }), number))
    });
    let writers: Vec<_> = writers.collect();
    let reader = {
        let (reader, start) = (fixture.again().await, start.clone());
        // The last event is the one that was held back until everything else was there.
        let done = |changes: &[Change]| {
            changes.last().is_some_and(|change| brief(change) == "update case/prepared@2")
        };
        tokio::spawn(async move { read_until(&*reader.documents, start, done).await })
    };
    let mut written = DOCUMENTS + 1;
    for writer in writers {
        written += writer.await.expect("writer");
    }
    let before = read_until(&*fixture.documents, start, |changes| changes.len() >= written).await;
    assert_eq!(before.len(), written, "held back by what stays open");
    open.end().await;
    let live = reader.await.expect("reader");
    assert_eq!(live.len(), written + 1);
    assert_contiguous(&before);
    assert_contiguous(&live);
    assert_resumable(&fixture, &live).await;
}

/// How long each of `count` new documents took from its acknowledgement to a reader that waits for it.
async fn slowest(fixture: &Fixture, mut place: Position, count: usize) -> (Position, Duration) {
    let mut slowest = Duration::ZERO;
    for number in 0..count {
        let path = format!("case/quick{number}");
        fixture.insert(&path, json!({})).await;
        let acknowledged = Instant::now();
        let page = fixture.feed(Feed::After(place)).await;
        assert_eq!(
            page.changes.iter().map(brief).collect::<Vec<_>>(),
            [format!("create {path}@1")]
        );
        slowest = slowest.max(acknowledged.elapsed());
        place = page.end;
    }
    (place, slowest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_commits_pass_a_transaction_that_holds_a_lower_number() {
    let fixture = Fixture::open().await;
    fixture.insert("case/slow", json!({})).await;
    let (start, raw) = (fixture.end().await, fixture.raw().await);
    raw.batch_execute("BEGIN").await.expect("begin");
    bump(&raw, "case/slow").await;
    let (place, slowest) = slowest(&fixture, start.clone(), 1000).await;
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    raw.batch_execute("COMMIT").await.expect("commit");
    let late = fixture.feed(Feed::After(place)).await.changes;
    assert_eq!(late.iter().map(brief).collect::<Vec<_>>(), ["update case/slow@2"]);
    let all = read_until(&*fixture.documents, start, |changes| changes.len() >= 1001).await;
    assert_eq!(all.len(), 1001);
}

/// Lists of the same new documents, each in an order of its own.
async fn insert_all(fixture: Arc<Fixture>, writer: usize, count: usize) -> Vec<(String, Applied)> {
    let path = |number: usize| format!("case/d{}", (number * 7 + writer * 31) % count);
    let write = |number| Write::Insert(document(&path(number), json!({"by": writer})));
    let writes = (0..count).map(write).collect();
    let outcomes = fixture.documents.write(writes, &context(Operation::Bulk)).await;
    let outcome = |(number, outcome): (usize, syntrix_storage_core::Result<Applied>)| {
        (path(number), outcome.expect("write"))
    };
    outcomes.into_iter().enumerate().map(outcome).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_the_same_new_documents_have_one_winner_for_each() {
    const COUNT: usize = 300;
    let fixture = Arc::new(Fixture::open().await);
    let other = Arc::new(fixture.again().await);
    let tasks = (0..8).map(|writer| {
        let fixture = Arc::clone(if writer % 2 == 0 { &fixture } else { &other });
        tokio::spawn(insert_all(fixture, writer, COUNT))
    });
    let tasks: Vec<_> = tasks.collect();
    let (mut winners, mut losers) = (HashMap::new(), Vec::new());
    for task in tasks {
        for (path, outcome) in task.await.expect("writer") {
            match outcome {
                Applied::Yes(document) => {
                    let won = winners.insert(path, crate::common::canonical(document));
                    assert_eq!(won, None, "two winners");
                }
                Applied::No(Some(there)) => losers.push((path, crate::common::canonical(there))),
                other => panic!("{path}: {other:?}"),
            }
        }
    }
    assert_eq!((winners.len(), losers.len()), (COUNT, 7 * COUNT));
    for (path, there) in losers {
        assert_eq!(there, winners[&path], "a loser is told of another document");
    }
    let mut log = fixture.log().await;
    log.sort();
    let mut expected: Vec<_> = winners.keys().map(|path| format!("create {path}@1")).collect();
    expected.sort();
    assert_eq!(log, expected);
}
