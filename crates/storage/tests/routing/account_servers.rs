//! Accounts with servers as primary and as shadow.

use std::sync::atomic::{AtomicU32, Ordering};

use syntrix_storage::StorageConfig;

use crate::journal::{
    Sides, expect_logins_at_a_thousand_a_second, expect_names_passed_on,
    expect_swaps_during_the_copy, expect_writes_around_the_route_soon,
};

const FILE: &str = "{kind: sqlite, path: file.db}";

/// A block for the tests' own server.
fn block(kind: &str, key: &str, variable: &str) -> String {
    let address = std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} names no server; `cargo xtask servers up` starts one and says how to set it"
        )
    });
    format!("{{kind: {kind}, {key}: \"{address}\"}}")
}

#[cfg(feature = "pg")]
fn postgres() -> String {
    block("pg", "dsn", "SYNTRIX_STORAGE_TEST_PG")
}

#[cfg(feature = "mongo")]
fn mongo() -> String {
    block("mongo", "uri", "SYNTRIX_STORAGE_TEST_MONGO")
}

fn sides(primary: &str, shadow: &str) -> Sides {
    Sides { primary: primary.into(), shadow: shadow.into(), namespace: Some(namespace()) }
}

fn namespace() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("accounts_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Everything that is expected of a pair, each on data of its own, which are gone afterwards.
async fn expect_all(primary: &str, shadow: &str) {
    let [first, second, third, fourth] = [(); 4].map(|()| sides(primary, shadow));
    expect_writes_around_the_route_soon(first.clone()).await;
    expect_swaps_during_the_copy(second.clone(), 120).await;
    expect_names_passed_on(third.clone()).await;
    expect_logins_at_a_thousand_a_second(fourth.clone()).await;
    for sides in [first, second, third, fourth] {
        remove(&sides).await;
    }
}

async fn remove(sides: &Sides) {
    let (folder, namespace) = (tempfile::tempdir().unwrap(), sides.namespace.clone().unwrap());
    for block in [&sides.primary, &sides.shadow] {
        let text = format!("storage:\n  user:\n    backend: main\n    main: {block}\n");
        let config = StorageConfig::from_yaml(text, "gone.yaml").with_data_dir(folder.path());
        config.with_namespace(&namespace).remove_namespace().await.unwrap();
    }
}

#[cfg(feature = "pg")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_server_pg_as_primary_accounts_reach_a_file() {
    expect_all(&postgres(), FILE).await;
}

#[cfg(feature = "pg")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_server_pg_as_shadow_accounts_come_from_a_file() {
    expect_all(FILE, &postgres()).await;
}

#[cfg(feature = "mongo")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_server_mongo_as_primary_accounts_reach_a_file() {
    expect_all(&mongo(), FILE).await;
}

#[cfg(feature = "mongo")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_server_mongo_as_shadow_accounts_come_from_a_file() {
    expect_all(FILE, &mongo()).await;
}

#[cfg(all(feature = "mongo", feature = "pg"))]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_server_pg_and_on_a_server_mongo_accounts_go_either_way() {
    expect_all(&mongo(), &postgres()).await;
    expect_all(&postgres(), &mongo()).await;
}

/// Processes that die while they write to a server's accounts.
#[cfg(feature = "pg")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_server_pg_no_account_is_lost_when_processes_die() {
    let keep = |text: String| -> &'static str { text.leak() };
    let pair = crate::stores::Pair {
        primary: keep(postgres()),
        shadow: FILE,
        namespace: Some(keep(namespace())),
    };
    crate::account_crash::expect_no_account_lost(pair, 11).await;
    remove(&crate::account_crash::sides(pair)).await;
}
