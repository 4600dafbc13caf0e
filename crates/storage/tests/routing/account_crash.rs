//! Processes that write accounts and die: at random, between the two writes, or only for a while.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use syntrix_storage::UserStore;
use syntrix_storage::routing::MirrorFault;

use crate::crash::{
    Writers, expect_noted, journal_of, note_lines, open_at_last, orders, torment_time,
};
use crate::journal::{Sides, write_once};
use crate::stores::{Pair, SQLITE_TO_SQLITE};

/// About one mirrored write in so many is the process's last.
const DEATHS: u64 = 60;

/// Where writers begin; without orders there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn entry_of_the_writers() {
    let Some((folder, seed, pair)) = orders() else { return };
    let fault = MirrorFault::seeded(seed, DEATHS);
    let storage = open_at_last(&sides(pair).route(&folder, Some(fault))).await;
    let journal = Arc::new(journal_of(&folder, seed));
    let users = storage.users().unwrap();
    let tasks = (0..4).map(|task| {
        let (users, journal) = (Arc::clone(&users), Arc::clone(&journal));
        tokio::spawn(async move { write_on(&*users, &journal, seed * 10 + task).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

async fn write_on(users: &dyn UserStore, journal: &Mutex<std::fs::File>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        match write_once(users, &mut random).await {
            Ok(Some(line)) => note_lines(journal, &format!("{line}\n")),
            Ok(None) => {}
            // A stopped process may hold the file.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

pub fn sides(pair: Pair) -> Sides {
    let Pair { primary, shadow, namespace } = pair;
    let namespace = namespace.map(str::to_owned);
    Sides { primary: primary.into(), shadow: shadow.into(), namespace }
}

/// Opens the route once more, lets it catch up, and compares.
pub async fn expect_no_account_lost(pair: Pair, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut writers =
        Writers::new(folder.path(), pair, seed).begin_in("account_crash::entry_of_the_writers");
    writers.torment(torment_time()).await;
    let open = sides(pair).open_in(folder).await;
    open.drain().await;
    let accounts = open.expect_equal_sides().await;
    let versions = accounts.iter().map(|(id, user)| (id.clone(), user.version.get())).collect();
    let acknowledged = expect_noted(open.folder.path(), &versions);
    let status = open.status().await;
    eprintln!(
        "{acknowledged} acknowledged, {} accounts, {} killed, {} ended in all, {status:?}",
        accounts.len(),
        writers.killed,
        writers.died
    );
    assert!(writers.killed > 5 && writers.died > writers.killed, "nobody died between the writes");
    assert!(acknowledged > 200 && status.dead_letters == Some(0) && status.history_lost == 0);
    open.close().await;
}

/// Case 42 is among it: no intent is needed, as the account's own number tells of the write that its process did not live to mirror.
#[tokio::test(flavor = "multi_thread")]
async fn case_42_no_account_is_lost_when_processes_die_between_the_writes_or_stop_and_go_on() {
    expect_no_account_lost(SQLITE_TO_SQLITE, 7).await;
}
