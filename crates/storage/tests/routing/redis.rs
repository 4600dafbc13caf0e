//! Revoked tokens of routes with a real Redis on one side, and every other kind of database on the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use syntrix_storage::backend::StoreKind;
use syntrix_storage::routing::RouteControl;
use syntrix_storage::{
    Clock as _, ManualClock, RevocationOptions, RevocationStatus, RotationOutcome, Storage,
    StorageConfig, SystemClock, Timestamp, TokenId, TokenRevocationStore,
};
use syntrix_storage_fault_proxy::{Fault, Proxy};
use tempfile::TempDir;

use crate::stores::{PATIENCE, RARELY, quick};

const SQLITE: &str = "{kind: sqlite, path: PLACE.db}";
const GRACE: Duration = Duration::from_secs(600);

/// Two blocks and the folder of those that are files. On servers, the data lie in a namespace of their own.
struct Sides {
    folder: TempDir,
    primary: String,
    shadow: String,
    namespace: String,
    clock: Option<ManualClock>,
}

/// The address of a server that the tests share.
fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} names no server; `cargo xtask servers up` starts one and says how to set it"
        )
    })
}

/// A block of this kind, at `address` if it is a server's.
fn block(kind: &str, address: &str, place: &str) -> String {
    match kind {
        "sqlite" => SQLITE.replace("PLACE", place),
        "redis" => format!("{{kind: redis, addr: \"{address}\", prefix: {place}}}"),
        "pg" => format!("{{kind: pg, dsn: \"{address}\", connectTimeout: 2s, acquireTimeout: 2s}}"),
        "mongo" => format!("{{kind: mongo, uri: \"{address}\", db: {place}}}"),
        other => panic!("no block of kind {other}"),
    }
}

fn address(kind: &str) -> String {
    match kind {
        "redis" => server("SYNTRIX_STORAGE_TEST_REDIS"),
        "pg" => server("SYNTRIX_STORAGE_TEST_PG"),
        "mongo" => server("SYNTRIX_STORAGE_TEST_MONGO"),
        _ => String::new(),
    }
}

/// A way to a server that can be cut, and the address that leads through it.
async fn cut(kind: &str) -> (Proxy, String) {
    let whole = address(kind);
    let begin = whole.find('@').or(whole.find("//").map(|at| at + 1)).unwrap() + 1;
    let end = whole[begin..].find('/').map_or(whole.len(), |at| begin + at);
    let proxy = Proxy::start(whole[begin..end].parse().unwrap()).await.unwrap();
    let through = format!("{}{}{}", &whole[..begin], proxy.address(), &whole[end..]);
    (proxy, through)
}

impl Sides {
    fn new(primary: &str, shadow: &str) -> Self {
        Self::at((primary, &address(primary)), (shadow, &address(shadow)))
    }

    fn at(primary: (&str, &str), shadow: (&str, &str)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            folder: tempfile::tempdir().unwrap(),
            primary: block(primary.0, primary.1, "primary"),
            shadow: block(shadow.0, shadow.1, "shadow"),
            namespace: format!("tokens_{}_{number}", std::process::id()),
            clock: None,
        }
    }

    fn config(&self, text: String) -> StorageConfig {
        let mut options = quick();
        (options.sweep_interval, options.mirror_budget) = (RARELY, Duration::from_secs(1));
        let config =
            StorageConfig::from_yaml(text, "tokens.yaml").with_data_dir(self.folder.path());
        let config = config.with_replication(options).with_namespace(&self.namespace);
        match &self.clock {
            Some(clock) => config.with_clock(Arc::new(clock.clone())),
            None => config,
        }
    }

    fn route(&self) -> StorageConfig {
        let Self { primary, shadow, .. } = self;
        self.config(format!(
            "storage:\n  revocation:\n    backend: main\n    main: {primary}\n    other: {shadow}\n  \
             routing:\n    revocation: {{strategy: dual-write, shadow: other, mirror: wait}}\n"
        ))
    }

    fn alone(&self, block: &str) -> StorageConfig {
        self.config(format!("storage:\n  revocation:\n    backend: main\n    main: {block}\n"))
    }

    async fn remove(&self) {
        for block in [&self.primary, &self.shadow] {
            self.alone(block).remove_namespace().await.unwrap();
        }
    }

    async fn expect_on_shadow(&self, names: &[String]) {
        let shadow = Storage::from_config(self.alone(&self.shadow)).await.unwrap();
        let store = shadow.revocations().unwrap();
        for some in names.chunks(500) {
            let tokens: Vec<_> = some.iter().map(|name| token(name)).collect();
            let answers = store.is_revoked_many(&tokens, Duration::ZERO, Default::default());
            let answers = answers.await.unwrap();
            let missing = some.iter().zip(answers).find(|(_, revoked)| !revoked);
            assert!(missing.is_none(), "{missing:?} is not on the shadow");
        }
        shadow.close().await.unwrap();
    }
}

struct Open {
    storage: Storage,
    store: Arc<dyn TokenRevocationStore>,
    control: Arc<dyn RouteControl>,
}

impl Open {
    async fn new(sides: &Sides) -> Self {
        let storage = Storage::from_config(sides.route()).await.unwrap();
        let store = storage.revocations().unwrap();
        let control = storage.routing(StoreKind::Revocations).unwrap();
        Self { storage, store, control }
    }

    async fn drain(&self) {
        self.control.drain(PATIENCE).await.unwrap();
    }
}

fn token(text: &str) -> TokenId {
    TokenId::parse(text).unwrap()
}

fn later() -> Timestamp {
    SystemClock.now().saturating_add(Duration::from_secs(900))
}

async fn revoke(store: &dyn TokenRevocationStore, name: &str) {
    store.revoke_token(&token(name), later(), Default::default()).await.unwrap();
}

async fn is_revoked(store: &dyn TokenRevocationStore, name: &str) -> bool {
    store.is_revoked(&token(name), Duration::ZERO, Default::default()).await.unwrap()
}

/// What was there before the route comes with its own time, what is revoked meanwhile at once.
async fn fills_and_mirrors(primary: &str, shadow: &str) {
    let sides = Sides::new(primary, shadow);
    let mut names: Vec<_> = (0..700).map(|number| format!("before {number}")).collect();
    let before = Storage::from_config(sides.alone(&sides.primary)).await.unwrap();
    let store = before.revocations().unwrap();
    for name in &names {
        revoke(&*store, name).await;
    }
    before.close().await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let opened = SystemClock.now();

    let open = Open::new(&sides).await;
    for number in 0..50 {
        names.push(format!("meanwhile {number}"));
        revoke(&*open.store, &names[700 + number]).await;
    }
    open.drain().await;
    let status = open.control.status().await.unwrap();
    assert!(status.filled && status.dead_letters == Some(0), "{status:?}");
    sides.expect_on_shadow(&names).await;

    let alone = Storage::from_config(sides.alone(&sides.shadow)).await.unwrap();
    let store = alone.revocations().unwrap();
    for name in ["before 0", "before 699"] {
        let status =
            store.revocation_status(&token(name), GRACE, Default::default()).await.unwrap();
        let RevocationStatus::Grace { until, .. } = status else { panic!("{name}: {status:?}") };
        // The clocks are this machine's.
        assert!(until < opened.saturating_add(GRACE), "{name} was revoked when it was brought");
    }
    alone.close().await.unwrap();
    open.storage.close().await.unwrap();
    sides.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_follows_redis() {
    fills_and_mirrors("redis", "sqlite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_follows_sqlite() {
    fills_and_mirrors("sqlite", "redis").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_follows_redis() {
    fills_and_mirrors("redis", "redis").await;
}

#[cfg(feature = "pg")]
#[tokio::test(flavor = "multi_thread")]
async fn postgres_follows_redis() {
    fills_and_mirrors("redis", "pg").await;
}

#[cfg(feature = "pg")]
#[tokio::test(flavor = "multi_thread")]
async fn redis_follows_postgres() {
    fills_and_mirrors("pg", "redis").await;
}

#[cfg(feature = "mongo")]
#[tokio::test(flavor = "multi_thread")]
async fn mongodb_follows_redis() {
    fills_and_mirrors("redis", "mongo").await;
}

#[cfg(feature = "mongo")]
#[tokio::test(flavor = "multi_thread")]
async fn redis_follows_mongodb() {
    fills_and_mirrors("mongo", "redis").await;
}

/// A shadow of which nothing is known and that holds tokens is somebody else's, also if it is a Redis.
#[tokio::test(flavor = "multi_thread")]
async fn case_37_a_redis_with_tokens_of_somebody_else_is_no_shadow() {
    let sides = Sides::new("sqlite", "redis");
    let other = Storage::from_config(sides.alone(&sides.shadow)).await.unwrap();
    revoke(&*other.revocations().unwrap(), "foreign").await;
    other.close().await.unwrap();
    let open = Open::new(&sides).await;
    let refused = open.control.drain(Duration::from_secs(3)).await.unwrap_err();
    assert!(refused.to_string().contains("empty database"), "{refused}");
    open.storage.close().await.unwrap();
    sides.remove().await;
}

/// Case 43 of the catalogue: what is revoked while the shadow is cut off is revoked all the while, and there afterwards.
async fn serves_while_the_shadow_is_cut_off(primary: &str, shadow: &str) {
    let (proxy, through) = cut(shadow).await;
    let sides = Sides::at((primary, &address(primary)), (shadow, &through));
    let open = Open::new(&sides).await;
    revoke(&*open.store, "a").await;
    open.drain().await;
    let mut names = vec!["a".to_owned()];
    for fault in [Fault::BlackHole, Fault::Cut] {
        proxy.set(fault);
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            let name = format!("{} {}", fault.name(), names.len());
            revoke(&*open.store, &name).await;
            let hurried = RevocationOptions::default().with_timeout(Duration::from_secs(1));
            for name in [&name, "a"] {
                let asked = token(name);
                let check = open.store.is_revoked(&asked, Duration::ZERO, hurried.clone());
                assert!(check.await.unwrap(), "{name}");
            }
            assert!(!is_revoked(&*open.store, "never").await);
            names.push(name);
        }
        proxy.set(Fault::None);
    }
    open.drain().await;
    sides.expect_on_shadow(&names).await;
    open.storage.close().await.unwrap();
    sides.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_43_a_redis_that_is_cut_off_fails_no_check_and_misses_nothing() {
    serves_while_the_shadow_is_cut_off("sqlite", "redis").await;
}

#[cfg(feature = "pg")]
#[tokio::test(flavor = "multi_thread")]
async fn case_43_a_postgres_behind_a_redis_that_is_cut_off_fails_no_check_and_misses_nothing() {
    serves_while_the_shadow_is_cut_off("redis", "pg").await;
}

/// Case 44 of the catalogue, as far as a route without a cutover goes.
#[tokio::test(flavor = "multi_thread")]
async fn case_44_every_token_on_redis_has_one_winner_whoever_rotates_it() {
    const TOKENS: usize = 500;
    let sides = Sides::new("redis", "sqlite");
    let opened = [Open::new(&sides).await, Open::new(&sides).await, Open::new(&sides).await];
    let names: Arc<Vec<_>> =
        Arc::new((0..TOKENS).map(|number| format!("refresh {number}")).collect());
    let rotating = opened.iter().map(|open| {
        let (store, names) = (Arc::clone(&open.store), Arc::clone(&names));
        tokio::spawn(async move {
            let mut won = Vec::new();
            for name in names.iter() {
                let (token, options) = (token(name), Default::default());
                let rotated = store.revoke_if_not_revoked(&token, later(), GRACE, None, options);
                won.push(matches!(rotated.await.unwrap(), RotationOutcome::Won));
            }
            won
        })
    });
    let mut winners = vec![0; TOKENS];
    for won in rotating.collect::<Vec<_>>() {
        won.await
            .unwrap()
            .iter()
            .zip(&mut winners)
            .for_each(|(won, count)| *count += usize::from(*won));
    }
    assert_eq!(winners, vec![1; TOKENS]);
    opened[0].drain().await;
    sides.expect_on_shadow(&names).await;
    for open in opened {
        open.storage.close().await.unwrap();
    }
    sides.remove().await;
}

/// Cases 24 and 45 of the catalogue: SQLite's clock, ours, is ten minutes ahead of Redis's, or behind it. A token stays revoked as
/// long as either side keeps it, and a pass takes no record for missing that one side has dropped.
async fn holds_under_skew(primary: &str, shadow: &str) {
    const TEN_MINUTES: i64 = 600_000;
    let mut sides = Sides::new(primary, shadow);
    let clock = ManualClock::starting_at(SystemClock.now().as_milliseconds());
    sides.clock = Some(clock.clone());
    let open = Open::new(&sides).await;
    let at = |milliseconds: i64| {
        Timestamp::from_milliseconds(SystemClock.now().as_milliseconds() + milliseconds)
    };
    // Kept for five minutes more than it is valid.
    let (soon, long) = (token("soon"), token("long"));
    open.store.revoke_token_immediate(&soon, at(-298_000), Default::default()).await.unwrap();
    open.store.revoke_token_immediate(&long, at(120_000), Default::default()).await.unwrap();
    open.drain().await;

    // SQLite has dropped the one that is valid still; Redis has not.
    clock.set(SystemClock.now().as_milliseconds() + TEN_MINUTES);
    open.storage.purge_expired(1000).await.unwrap();
    assert!(is_revoked(&*open.store, "long").await, "dropped ten minutes too early");
    let many = [long.clone(), token("never")];
    let answers = open.store.is_revoked_many(&many, Duration::ZERO, Default::default()).await;
    assert_eq!(answers.unwrap(), [true, false]);
    open.drain().await;

    // Redis has dropped what SQLite keeps.
    clock.set(SystemClock.now().as_milliseconds() - TEN_MINUTES);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    open.store
        .revoke_token_immediate(&token("other"), at(120_000), Default::default())
        .await
        .unwrap();
    open.drain().await;
    assert!(is_revoked(&*open.store, "other").await);
    let status = open.control.status().await.unwrap();
    assert_eq!((status.filled, status.dead_letters), (true, Some(0)), "{status:?}");
    open.storage.close().await.unwrap();
    sides.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_24_and_45_clocks_that_differ_by_ten_minutes_make_no_token_valid_before_redis() {
    holds_under_skew("sqlite", "redis").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_24_and_45_clocks_that_differ_by_ten_minutes_make_no_token_valid_behind_redis() {
    holds_under_skew("redis", "sqlite").await;
}
