//! SQLite with a PostgreSQL shadow behind a network that fails.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use syntrix_storage_fault_proxy::{Fault, Proxy};

use crate::crash::{Writers, expect_nothing_lost, torment_time, write_old};
use crate::stores::{Pair, Route};

const VARIABLE: &str = "SYNTRIX_STORAGE_TEST_PG";

/// The tests' server, and a way to it that can be cut.
struct Cut {
    proxy: Proxy,
    pair: Pair,
}

impl Cut {
    async fn new() -> Self {
        let dsn = std::env::var(VARIABLE).unwrap_or_else(|_| {
            panic!("{VARIABLE} names no server; `cargo xtask servers up` starts one and says how to set it")
        });
        let begin = dsn.find('@').or(dsn.find("//").map(|at| at + 1)).unwrap() + 1;
        let end = begin + dsn[begin..].find('/').unwrap();
        let proxy = Proxy::start(dsn[begin..end].parse().unwrap()).await.unwrap();
        let through = format!("{}{}{}", &dsn[..begin], proxy.address(), &dsn[end..]);
        let shadow =
            format!("{{kind: pg, dsn: \"{through}\", acquireTimeout: 2s, connectTimeout: 2s}}");
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("route_{}_{number}", std::process::id());
        let pair = Pair {
            primary: "{kind: sqlite, path: primary.db}",
            shadow: shadow.leak(),
            namespace: Some(namespace.leak()),
        };
        Self { proxy, pair }
    }

    async fn remove(&self) {
        let folder = tempfile::tempdir().unwrap();
        self.pair.shadow_alone(folder.path()).remove_namespace().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_updates_and_deletes_reach_postgres() {
    let cut = Cut::new().await;
    let route = Route::open(cut.pair).await;
    for n in 0..100 {
        let path = format!("rooms/r{n}");
        route.create(&path, n).await;
        route.update(&path, i64::MAX - n).await;
        if n % 3 == 0 {
            route.delete(&path).await;
        }
    }
    assert_eq!(route.expect_equal_sides().await, 100);
    route.storage.close().await.unwrap();
    cut.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_3_and_5_a_network_that_is_cut_or_dropping_delays_no_caller() {
    let cut = Cut::new().await;
    let route = Route::open(cut.pair).await;
    route.drain().await;
    let mut n = 0;
    for fault in [Fault::BlackHole, Fault::None, Fault::Cut, Fault::None] {
        cut.proxy.set(fault);
        let (end, mut slowest) = (Instant::now() + Duration::from_secs(3), Duration::ZERO);
        while Instant::now() < end {
            let started = Instant::now();
            route.create(&format!("rooms/r{n}"), n).await;
            slowest = slowest.max(started.elapsed());
            n += 1;
        }
        assert!(slowest < Duration::from_secs(1), "{slowest:?} under {}", fault.name());
    }
    let caught_up = Instant::now();
    assert_eq!(route.expect_equal_sides().await, usize::try_from(n).unwrap());
    eprintln!("{n} records, equal {:?} after the last cut", caught_up.elapsed());
    route.storage.close().await.unwrap();
    cut.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_nothing_is_lost_while_processes_die_and_the_network_is_cut() {
    let cut = Cut::new().await;
    let folder = tempfile::tempdir().unwrap();
    write_old(folder.path(), cut.pair).await;
    let mut writers = Writers::new(folder.path(), cut.pair, 2);
    let cuts = async {
        loop {
            for fault in [Fault::None, Fault::BlackHole, Fault::None, Fault::Cut] {
                cut.proxy.set(fault);
                tokio::time::sleep(Duration::from_millis(1700)).await;
            }
        }
    };
    tokio::select! {
        () = writers.torment(torment_time()) => {}
        () = cuts => {}
    }
    cut.proxy.set(Fault::None);
    expect_nothing_lost(folder, &writers).await;
    cut.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_ten_thousand_documents_is_replicated_in_batches() {
    let cut = Cut::new().await;
    let folder = tempfile::tempdir().unwrap();
    let config = cut.pair.config(folder.path(), "");
    let route = Route::open_config(cut.pair, folder, config).await;
    route.drain().await;
    cut.proxy.set(Fault::Cut);
    for part in 0..10 {
        let items = (0..1000).map(|n| crate::stores::creation(format!("many/d{part}-{n}"), n));
        route.documents.bulk(items.collect(), Default::default()).await.unwrap();
    }
    cut.proxy.set(Fault::None);
    let started = Instant::now();
    route.drain().await;
    let rate = 10_000.0 / started.elapsed().as_secs_f64();
    eprintln!("{rate:.0} documents a second, unoptimised, the reconnect included");
    assert_eq!(route.expect_equal_sides().await, 10_000);
    assert_eq!(route.control.status().await.unwrap().dead_letters, Some(0));
    route.storage.close().await.unwrap();
    cut.remove().await;
}
