//! PostgreSQL as primary, or as a shadow that cannot be written: what only a real server does.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use syntrix_storage::{ErrorKind, Storage, WriteOptions};
use syntrix_storage_fault_proxy::{Fault, Proxy};

use crate::stores::{PATIENCE, Pair, Route, at, everything};

const VARIABLE: &str = "SYNTRIX_STORAGE_TEST_PG";
const SQLITE: &str = "{kind: sqlite, path: shadow.db}";

/// The tests' server: its URL, whose parts stay apart from each other, and what `psql` needs.
struct Server {
    user: String,
    password: String,
    address: String,
    database: String,
}

impl Server {
    fn new() -> Self {
        let dsn = std::env::var(VARIABLE).unwrap_or_else(|_| {
            panic!("{VARIABLE} names no server; `cargo xtask servers up` starts one and says how to set it")
        });
        let (_, rest) = dsn.split_once("//").unwrap();
        let (login, place) = rest.split_once('@').unwrap();
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (address, database) = place.split_once('/').unwrap();
        let [user, password, address, database] =
            [user, password, address, database].map(str::to_owned);
        Self { user, password, address, database }
    }

    /// A block of the server, or of what stands before it.
    fn block(&self, address: &str, database: &str) -> &'static str {
        let Self { user, password, .. } = self;
        let dsn = format!("postgres://{user}:{password}@{address}/{database}");
        let limits = "acquireTimeout: 2s, connectTimeout: 2s";
        format!("{{kind: pg, dsn: \"{dsn}\", {limits}}}").leak()
    }

    /// Runs statements, each by itself, and answers what they print.
    fn sql(&self, database: &str, statements: &[&str]) -> String {
        let (host, port) = self.address.split_once(':').unwrap();
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        for statement in statements {
            psql.args(["--command", statement]);
        }
        psql.env("PGHOST", host).env("PGPORT", port).env("PGDATABASE", database);
        psql.env("PGUSER", &self.user).env("PGPASSWORD", &self.password);
        let output = psql.output().expect("psql, of the package postgresql-client");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn fresh(what: &str) -> &'static str {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{what}_{}_{number}", std::process::id()).leak()
}

async fn remove(pair: Pair) {
    let folder = tempfile::tempdir().unwrap();
    pair.primary_alone(folder.path()).remove_namespace().await.unwrap();
}

/// Case 4: the way to the primary is cut, the shadow is well. Nothing is written to the shadow alone.
#[tokio::test(flavor = "multi_thread")]
async fn case_4_while_the_primary_is_cut_off_nothing_is_written_to_the_shadow_alone() {
    let server = Server::new();
    let proxy = Proxy::start(server.address.parse().unwrap()).await.unwrap();
    let primary = server.block(&proxy.address().to_string(), &server.database);
    let pair = Pair { primary, shadow: SQLITE, namespace: Some(fresh("cut")) };
    let route = Route::open(pair).await;
    route.drain().await;
    let mut acknowledged = Vec::new();
    let mut failed = 0;
    for (round, fault) in [Fault::None, Fault::Cut, Fault::None, Fault::BlackHole, Fault::None]
        .into_iter()
        .enumerate()
    {
        proxy.set(fault);
        let end = Instant::now() + Duration::from_secs(2);
        for n in 0..60 {
            let path = format!("rooms/r{round}-{n}");
            let mut options = WriteOptions::default();
            options.timeout = Some(Duration::from_millis(500));
            match route.documents.create(&at(&path), json!({"n": n}), options).await {
                Ok(_) => acknowledged.push(path),
                Err(error) => {
                    let kind = error.kind();
                    assert!(
                        matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout),
                        "as without a route: {error}"
                    );
                    failed += 1;
                    // Between attempts to connect a call fails at once: all 60 would be over before the next attempt.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            if Instant::now() > end {
                break;
            }
        }
    }
    proxy.set(Fault::None);
    assert!(failed > 3 && acknowledged.len() > 60, "{failed} failed, {acknowledged:?}");
    let records = route.expect_equal_sides().await;
    assert!(records >= acknowledged.len());
    for path in &acknowledged {
        route.documents.get(&at(path), Default::default()).await.unwrap();
    }
    route.storage.close().await.unwrap();
    remove(pair).await;
}

/// A transaction that writes below `slow/` stays open for so long behind its last write.
const SLOW: Duration = Duration::from_millis(2500);

/// Makes transactions slow: their place in the log is given out early, and what they wrote is seen late.
fn slow_down(server: &Server, namespace: &str) {
    let schemas = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'changes'";
    let schema =
        server.sql(&server.database, &[&format!("{schemas} AND table_schema LIKE '%{namespace}'")]);
    let seconds = SLOW.as_secs_f64();
    let function = format!(
        "CREATE FUNCTION \"{schema}\".slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.fullpath LIKE 'slow/%' THEN PERFORM pg_sleep({seconds}); END IF; RETURN NULL; END $$"
    );
    let trigger = format!(
        "CREATE TRIGGER slow AFTER INSERT ON \"{schema}\".changes FOR EACH ROW EXECUTE FUNCTION \"{schema}\".slow()"
    );
    server.sql(&server.database, &[&function, &trigger]);
}

async fn paths(storage: &Storage) -> Vec<String> {
    let records = everything(&*storage.document_admin().unwrap()).await;
    records.iter().map(|record| record.path().as_str().to_owned()).collect()
}

/// Case 16: the log's numbers are given out in another order than transactions commit in.
#[tokio::test(flavor = "multi_thread")]
async fn case_16_a_long_transaction_is_delivered_though_higher_numbers_were_read_before() {
    let server = Server::new();
    let namespace = fresh("long");
    let primary = server.block(&server.address, &server.database);
    let pair = Pair { primary, shadow: SQLITE, namespace: Some(namespace) };
    let route = Route::open(pair).await;
    route.drain().await;
    slow_down(&server, namespace);
    let other = Storage::from_config(pair.primary_alone(route.folder.path())).await.unwrap();
    let documents = other.documents().unwrap();
    let slow = tokio::spawn(async move {
        documents.create(&at("slow/one"), json!({}), Default::default()).await.unwrap();
    });
    tokio::time::sleep(SLOW / 4).await;
    for n in 0..20 {
        route.create(&format!("fast/d{n}"), n).await;
    }
    route.drain().await;
    let shadow = Storage::from_config(pair.shadow_alone(route.folder.path())).await.unwrap();
    let early = paths(&shadow).await;
    assert!(!slow.is_finished(), "the transaction was not long enough to prove anything");
    assert_eq!(early.len(), 20, "what has committed does not wait for what has not: {early:?}");
    slow.await.unwrap();
    assert_eq!(route.expect_equal_sides().await, 21);
    shadow.close().await.unwrap();
    other.close().await.unwrap();
    route.storage.close().await.unwrap();
    remove(pair).await;
}

/// Case 17: what committed late is neither in the copy, which did not see it, nor behind the place that the copy began at.
#[tokio::test(flavor = "multi_thread")]
async fn case_17_what_becomes_visible_while_the_shadow_is_filled_is_there() {
    let server = Server::new();
    let namespace = fresh("late");
    let primary = server.block(&server.address, &server.database);
    let pair = Pair { primary, shadow: SQLITE, namespace: Some(namespace) };
    let folder = tempfile::tempdir().unwrap();
    let before = Storage::from_config(pair.primary_alone(folder.path())).await.unwrap();
    let documents = before.documents().unwrap();
    for n in 0..50 {
        let data = json!({"n": n});
        documents.create(&at(&format!("old/d{n}")), data, Default::default()).await.unwrap();
    }
    slow_down(&server, namespace);
    let mut slow = Vec::new();
    for part in 0..4 {
        // Each commits at another moment of the fill: before the copy, during it, behind it.
        let documents = std::sync::Arc::clone(&documents);
        slow.push(tokio::spawn(async move {
            let path = at(&format!("slow/d{part}"));
            documents.create(&path, json!({}), Default::default()).await.unwrap();
        }));
        tokio::time::sleep(SLOW / 8).await;
    }
    let config = pair.config(folder.path(), "");
    let route = Route::open_config(pair, folder, config).await;
    route.drain().await;
    for slow in slow {
        slow.await.unwrap();
    }
    assert_eq!(route.expect_equal_sides().await, 54);
    before.close().await.unwrap();
    route.storage.close().await.unwrap();
    remove(pair).await;
}

/// Case 36: a shadow that takes no more. A server whose disk is full is made read-only by those who run such services.
#[tokio::test(flavor = "multi_thread")]
async fn case_36_a_shadow_that_takes_no_more_is_waited_for_and_says_why() {
    let server = Server::new();
    let database = fresh("limited");
    server.sql(&server.database, &[&format!("CREATE DATABASE {database}")]);
    let limit = |is_on: &str| {
        let set = format!("ALTER DATABASE {database} SET default_transaction_read_only = {is_on}");
        let end = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}'"
        );
        server.sql(&server.database, &[&set, &end]);
    };
    let shadow = server.block(&server.address, database);
    let pair = Pair { primary: "{kind: sqlite, path: primary.db}", shadow, namespace: None };
    let route = Route::open(pair).await;
    route.create("rooms/before", 0).await;
    route.drain().await;
    limit("on");
    for n in 0..300 {
        // Nothing of it is a caller's business.
        route.create(&format!("rooms/r{n}"), n).await;
    }
    let error = route.control.drain(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // The sessions that were ended fail in other words first.
    let told = async || {
        let failure = route.control.status().await.unwrap().last_failure;
        failure.is_some_and(|failure| failure.reason.contains("read-only"))
    };
    let end = Instant::now() + PATIENCE;
    while !told().await {
        assert!(Instant::now() < end, "{:?}", route.control.status().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    limit("off");
    assert_eq!(route.expect_equal_sides().await, 301);
    route.storage.close().await.unwrap();
    server.sql(&server.database, &[&format!("DROP DATABASE {database} WITH (FORCE)")]);
}
