//! SQLite with a PostgreSQL shadow behind a network that fails.

use std::time::{Duration, Instant};

use syntrix_storage_fault_proxy::Fault;

use crate::cut::{Cut, SQLITE};
use crate::stores::Route;

#[tokio::test(flavor = "multi_thread")]
async fn creates_updates_and_deletes_reach_postgres() {
    let cut = Cut::to_postgres(SQLITE).await;
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
    let cut = Cut::to_postgres(SQLITE).await;
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
    Cut::to_postgres(SQLITE).await.torment(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_ten_thousand_documents_is_replicated_in_batches() {
    let cut = Cut::to_postgres(SQLITE).await;
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
