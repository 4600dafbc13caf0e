//! Routes between servers of the tests, with a way to the shadow that can be cut.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use syntrix_storage_fault_proxy::{Fault, Proxy};

use crate::crash::{OLD, Writers, expect_nothing_lost, torment_time, write_old_records};
use crate::stores::Pair;

pub const SQLITE: &str = "{kind: sqlite, path: primary.db}";
const POSTGRES: &str = "SYNTRIX_STORAGE_TEST_PG";
#[cfg(feature = "mongo")]
const MONGODB: &str = "SYNTRIX_STORAGE_TEST_MONGO";
/// Between two faults: some writes pass, and a breaker opens.
const CALM: Duration = Duration::from_millis(1700);

/// A route whose shadow is behind a network that fails.
pub struct Cut {
    pub proxy: Proxy,
    pub pair: Pair,
    /// Records from before the route.
    old: i64,
}

impl Cut {
    pub async fn to_postgres(primary: &'static str) -> Self {
        let dsn = named(POSTGRES);
        let (proxy, through) = proxied(&dsn).await;
        let shadow =
            format!("{{kind: pg, dsn: \"{through}\", acquireTimeout: 2s, connectTimeout: 2s}}");
        Self::new(proxy, primary, shadow, OLD)
    }

    /// A driver finds the members of a set under their own addresses, so this one is told not to look for them.
    #[cfg(feature = "mongo")]
    pub async fn to_mongodb(primary: &'static str) -> Self {
        let (proxy, through) = proxied(&named(MONGODB)).await;
        let server = through.split('?').next().unwrap_or_default();
        let uri = format!("{server}?directConnection=true");
        let shadow = format!("{{kind: mongo, uri: \"{uri}\", serverSelectionTimeout: 2s}}");
        // Each record waits for the journal of a majority, so that there must be fewer.
        Self::new(proxy, primary, shadow, OLD / 12)
    }

    fn new(proxy: Proxy, primary: &'static str, shadow: String, old: i64) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("route_{}_{number}", std::process::id()).leak();
        let pair = Pair { primary, shadow: shadow.leak(), namespace: Some(namespace) };
        Self { proxy, pair, old }
    }

    /// Removes what is on the servers.
    pub async fn remove(&self) {
        let folder = tempfile::tempdir().unwrap();
        self.pair.shadow_alone(folder.path()).remove_namespace().await.unwrap();
        if self.pair.primary != SQLITE {
            self.pair.primary_alone(folder.path()).remove_namespace().await.unwrap();
        }
    }

    /// Processes write, die and are stopped while the shadow is frozen and cut off; afterwards nothing is lost.
    pub async fn torment(self, seed: u64) {
        let folder = tempfile::tempdir().unwrap();
        write_old_records(folder.path(), self.pair, self.old).await;
        let mut writers = Writers::new(folder.path(), self.pair, seed);
        let cuts = async {
            loop {
                for fault in [Fault::None, Fault::BlackHole, Fault::None, Fault::Cut] {
                    self.proxy.set(fault);
                    tokio::time::sleep(CALM).await;
                }
            }
        };
        tokio::select! {
            () = writers.torment(torment_time()) => {}
            () = cuts => {}
        }
        self.proxy.set(Fault::None);
        expect_nothing_lost(folder, &writers).await;
        self.remove().await;
    }
}

/// The blocks of servers as primaries.
#[cfg(feature = "mongo")]
pub fn mongodb() -> &'static str {
    format!("{{kind: mongo, uri: \"{}\"}}", named(MONGODB)).leak()
}

#[cfg(feature = "mongo")]
pub fn postgres() -> &'static str {
    format!("{{kind: pg, dsn: \"{}\"}}", named(POSTGRES)).leak()
}

fn named(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} names no server; `cargo xtask servers up` starts one and says how to set it"
        )
    })
}

/// A way to the server of `url`, and the url of that way.
async fn proxied(url: &str) -> (Proxy, String) {
    let begin = url.find('@').or(url.find("//").map(|at| at + 1)).unwrap() + 1;
    let end = begin + url[begin..].find('/').unwrap();
    let proxy = Proxy::start(url[begin..end].parse().unwrap()).await.unwrap();
    let through = format!("{}{}{}", &url[..begin], proxy.address(), &url[end..]);
    (proxy, through)
}
