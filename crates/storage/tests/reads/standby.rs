//! PostgreSQL standbys as native replicas, on servers of the tests' own: replay is paused and resumed by the server itself.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use syntrix_storage::backend::StoreKind;
use syntrix_storage::routing::ShadowState;
use syntrix_storage::{Consistency, ErrorKind, Retry, Storage};
use syntrix_storage_fault_proxy::{Fault, Proxy};

use crate::native::{
    PATIENCE, Route, config, expect_cases_hold, expect_no_stale_pairs, expect_tokens_kept,
    pairs_wanted,
};
use crate::server::Server;

/// A primary and its standbys.
pub struct Cluster {
    pub primary: Server,
    pub standbys: Vec<Server>,
}

impl Cluster {
    async fn start(standbys: usize) -> Self {
        Self::start_with(standbys, &[]).await
    }

    /// With settings of the standbys' own.
    pub async fn start_with(standbys: usize, settings: &'static [&'static str]) -> Self {
        tokio::task::spawn_blocking(move || {
            let primary = Server::start(&[]);
            let standbys = (0..standbys).map(|_| standby_of(&primary, settings)).collect();
            Self { primary, standbys }
        })
        .await
        .unwrap()
    }

    fn pause(&self, standby: usize) {
        ask(&self.standbys[standby], "SELECT pg_wal_replay_pause()");
        while ask(&self.standbys[standby], "SELECT pg_get_wal_replay_pause_state()") != "paused" {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn resume(&self, standby: usize) {
        ask(&self.standbys[standby], "SELECT pg_wal_replay_resume()");
    }

    /// Rows that a standby has read since it began.
    fn rows_read(&self, standby: usize) -> u64 {
        let text = "SELECT coalesce(sum(idx_tup_fetch), 0) FROM pg_stat_user_tables WHERE relname = 'documents'";
        ask(&self.standbys[standby], text).parse().unwrap()
    }
}

fn standby_of(primary: &Server, settings: &[&str]) -> Server {
    let standby = Server::prepare();
    let from = format!("host=127.0.0.1 port={} user=admin", primary.port);
    standby.run(
        "pg_basebackup",
        &["-d", &from, "-R", "-X", "stream", "--checkpoint=fast", "--no-sync"],
    );
    standby.configure(settings);
    standby.up();
    standby
}

/// What the server says to a statement.
fn ask(server: &Server, statement: &str) -> String {
    ask_all(server, &[statement])
}

/// What the server says to statements, each by itself.
pub fn ask_all(server: &Server, statements: &[&str]) -> String {
    let output = Command::new(crate::server::bin().join("psql"))
        .args(["-X", "-A", "-t", "-q", "-h", "127.0.0.1", "-U", "admin", "-d", "postgres"])
        .args(["-p", &server.port.to_string()])
        .args(statements.iter().flat_map(|statement| ["-c", statement]))
        .output()
        .unwrap();
    assert!(output.status.success(), "{statements:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub async fn open(primary: &Server, shadow: &str) -> Route {
    let limits = "acquireTimeout: 2s, connectTimeout: 2s";
    let main = format!("{{kind: pg, dsn: \"{}\"}}", primary.dsn());
    Route::open(&main, &format!("{{kind: pg, dsn: \"{shadow}\", {limits}}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suites_cases_of_routes_hold_on_a_standby() {
    let cluster = Cluster::start(1).await;
    let block = |server: &Server| format!("{{kind: pg, dsn: \"{}\"}}", server.dsn());
    expect_cases_hold(&block(&cluster.primary), &block(&cluster.standbys[0])).await;
    let left = ask(&cluster.primary, "SELECT count(*) FROM pg_namespace WHERE nspname ~ 'rte_'");
    assert_eq!(left, "0", "a namespace is removed on the primary, and with it on the standby");
}

/// What stays on a standby is told: it may follow somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_a_standby_keeps_is_not_said_to_be_removed() {
    let cluster = Cluster::start(1).await;
    let block = |server: &Server| format!("{{kind: pg, dsn: \"{}\"}}", server.dsn());
    let blocks = [block(&cluster.primary), block(&cluster.standbys[0])];
    let config = config(&blocks[0], &blocks[1]).with_namespace("kept");
    let storage = Storage::from_config(config.clone()).await.unwrap();
    storage.routing(StoreKind::Documents).unwrap().drain(PATIENCE).await.unwrap();
    storage.close().await.unwrap();
    cluster.pause(0);
    let kept = config.remove_namespace().await.unwrap_err();
    assert_eq!((kept.kind(), kept.retry()), (ErrorKind::Unavailable, Retry::Safe), "{kept}");
    cluster.resume(0);
    config.remove_namespace().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_answers_what_it_has_and_the_primary_the_rest() {
    let cluster = Cluster::start(1).await;
    let route = open(&cluster.primary, &cluster.standbys[0].dsn()).await;
    route.create("rooms/a", 1).await;
    route.create("rooms/b", 1).await;
    route.drain().await;
    assert_eq!(route.read("rooms/a", Consistency::Session).await, 1);
    cluster.pause(0);
    route.update("rooms/a", 2).await;
    assert_eq!(route.read("rooms/a", Consistency::Any).await, 1, "the standby answers");
    route.expect_newest("a", 2).await;
    cluster.resume(0);
    route.drain().await;
    route.expect_equal_sides(2).await;
    route.storage.close().await.unwrap();
    let again = open(&cluster.primary, &cluster.standbys[0].dsn()).await;
    again.expect_equal_sides(2).await;
    again.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_age_is_kept_while_replay_stands_still_and_costs_nothing_while_nobody_writes() {
    let cluster = Cluster::start(1).await;
    let route = open(&cluster.primary, &cluster.standbys[0].dsn()).await;
    route.create("rooms/a", 1).await;
    route.drain().await;
    let age = Consistency::Bounded(Duration::from_millis(700));
    // The first read asks for samples to be kept.
    route.read("rooms/a", age).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = cluster.rows_read(0);
    let end = Instant::now() + PATIENCE;
    // On a busy machine a sample may come late and the primary answer for it; the standby must go on answering all the same.
    while cluster.rows_read(0) < before + 50 {
        assert!(Instant::now() < end, "an idle primary makes no standby old");
        for _ in 0..25 {
            assert_eq!(route.read("rooms/a", age).await, 1);
        }
        // The server tells of its counts once a second, and with a read only.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        route.read("rooms/a", Consistency::Any).await;
    }
    cluster.pause(0);
    route.update("rooms/a", 2).await;
    let written = Instant::now();
    while written.elapsed() < Duration::from_secs(2) {
        let late = written.elapsed() > Duration::from_millis(700);
        let found = route.read("rooms/a", age).await;
        assert!(found == 2 || !late, "{found} {:?} after the write", written.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.resume(0);
    route.storage.close().await.unwrap();
}

/// Pauses and resumes the replay of standbys, each for itself, until told to stop.
fn torment(cluster: &Arc<Cluster>, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<()> {
    let (cluster, stop) = (Arc::clone(cluster), Arc::clone(stop));
    tokio::task::spawn_blocking(move || {
        let mut random = fastrand::Rng::with_seed(7);
        while !stop.load(Ordering::Relaxed) {
            let standby = random.usize(..cluster.standbys.len());
            cluster.pause(standby);
            std::thread::sleep(Duration::from_millis(random.u64(20..200)));
            cluster.resume(standby);
            std::thread::sleep(Duration::from_millis(random.u64(20..400)));
        }
    })
}

async fn expect_no_stale_pair(cluster: Cluster, shadow: &str) {
    let route = Arc::new(open(&cluster.primary, shadow).await);
    route.create("rooms/first", 1).await;
    route.drain().await;
    let (cluster, stop) = (Arc::new(cluster), Arc::new(AtomicBool::new(false)));
    let tormenting = torment(&cluster, &stop);
    expect_no_stale_pairs(&route, 8, pairs_wanted()).await;
    stop.store(true, Ordering::Relaxed);
    tormenting.await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    route.read("rooms/first", Consistency::Any).await;
    let read: Vec<u64> = (0..cluster.standbys.len()).map(|it| cluster.rows_read(it)).collect();
    eprintln!("rows read on standbys {read:?}");
    // Else the primary answered everything and nothing is proven.
    assert!(read.iter().all(|read| *read as usize > pairs_wanted() / 20), "{read:?}");
    route.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_77_and_79_no_pair_of_write_and_read_is_stale_while_replay_stops_and_goes_on() {
    let cluster = Cluster::start(1).await;
    let shadow = cluster.standbys[0].dsn();
    expect_no_stale_pair(cluster, &shadow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_78_no_pair_is_stale_behind_a_balancer_over_two_standbys_that_lag_differently() {
    let cluster = Cluster::start(2).await;
    let address = |server: &Server| SocketAddr::from(([127, 0, 0, 1], server.port));
    let balancer = Proxy::balance(cluster.standbys.iter().map(address).collect()).await.unwrap();
    let shadow = format!("postgres://admin@{}/postgres", balancer.address());
    expect_no_stale_pair(cluster, &shadow).await;
}

/// One of the two standbys has the write, the other one does not, and each read may meet either.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_handle_is_kept_behind_a_balancer() {
    let cluster = Cluster::start(2).await;
    let address = |server: &Server| SocketAddr::from(([127, 0, 0, 1], server.port));
    let balancer = Proxy::balance(cluster.standbys.iter().map(address).collect()).await.unwrap();
    let shadow = format!("postgres://admin@{}/postgres", balancer.address());
    let writer = open(&cluster.primary, &shadow).await;
    writer.create("rooms/a", 1).await;
    let reader = Arc::new(open(&cluster.primary, &shadow).await);
    reader.drain().await;
    cluster.pause(1);
    expect_tokens_kept(&writer, &reader).await;
    cluster.resume(1);
    writer.storage.close().await.unwrap();
    reader.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_80_a_standby_that_dies_under_load_changes_no_answer() {
    let cluster = Cluster::start(1).await;
    let proxy = Proxy::start(([127, 0, 0, 1], cluster.standbys[0].port).into()).await.unwrap();
    let shadow = format!("postgres://admin@{}/postgres", proxy.address());
    let route = Arc::new(open(&cluster.primary, &shadow).await);
    route.create("rooms/first", 1).await;
    route.drain().await;
    for fault in [Fault::None, Fault::Cut, Fault::None] {
        proxy.set(fault);
        expect_no_stale_pairs(&route, 8, 400).await;
    }
    cluster.standbys[0].kill();
    expect_no_stale_pairs(&route, 8, 400).await;
    route.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_was_promoted_is_read_no_more() {
    let cluster = Cluster::start(1).await;
    let route = open(&cluster.primary, &cluster.standbys[0].dsn()).await;
    route.create("rooms/a", 1).await;
    route.drain().await;
    assert_eq!(route.read("rooms/a", Consistency::Any).await, 1);
    ask(&cluster.standbys[0], "SELECT pg_promote(true, 30)");
    ask(
        &cluster.standbys[0],
        "UPDATE syntrix_storage.documents SET data = '{\"n\": 66}' WHERE fullpath = 'rooms/a'",
    );
    for consistency in [Consistency::Any, Consistency::Session] {
        assert_eq!(route.read("rooms/a", consistency).await, 1);
    }
    let state = route.until(|state| matches!(state, ShadowState::Refused(_))).await;
    assert!(format!("{state:?}").contains("was promoted"), "{state:?}");
    route.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_of_another_cluster_is_refused() {
    let (ours, others) = (Cluster::start(0).await, Cluster::start(1).await);
    let elsewhere = open(&others.primary, &others.standbys[0].dsn()).await;
    elsewhere.create("rooms/a", 66).await;
    elsewhere.drain().await;
    let route = open(&ours.primary, &others.standbys[0].dsn()).await;
    route.create("rooms/a", 1).await;
    let state = route.until(|state| matches!(state, ShadowState::Refused(_))).await;
    assert!(format!("{state:?}").contains("replica of another database"), "{state:?}");
    // One that pretends: the same data under the same name, in a cluster of its own.
    let id = ask(&ours.primary, "SELECT encode(store_id, 'hex') FROM syntrix_storage.metadata");
    let pretend = format!("UPDATE syntrix_storage.metadata SET store_id = decode('{id}', 'hex')");
    ask(&others.primary, &pretend);
    elsewhere.drain().await;
    elsewhere.storage.close().await.unwrap();
    let again = open(&ours.primary, &others.standbys[0].dsn()).await;
    let state = again.until(|state| matches!(state, ShadowState::Refused(_))).await;
    assert!(format!("{state:?}").contains("another cluster"), "{state:?}");
    for consistency in [Consistency::Any, Consistency::Session] {
        assert_eq!(again.read("rooms/a", consistency).await, 1);
    }
    again.storage.close().await.unwrap();
    route.storage.close().await.unwrap();
}
