//! Verify and repair of accounts and revoked tokens: what was planted is found without a secret being told, and put right.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syntrix_storage::backend::{
    Backend, BackendFactory, CallContext, OpenContext, RevocationBackend, StoreKind, UserApplied,
    UserBackend, UserRecord, UserWrite,
};
use syntrix_storage::conformance::faults::{Fault, FaultRule, Faults, FaultyFactory, Method};
use syntrix_storage::routing::{
    Depth, RecordFinding, RecordKey, RecordRoute, RecordsSummary, Repaired, ReplicationOptions,
    RouteControl, Verdict, VerifyOptions,
};
use syntrix_storage::{
    Clock as _, ErrorKind, Location, LoginPolicy, NewUser, Operation, Revocation,
    RevocationOptions, Secret, SettingsNode, SettingsValue, Storage, StorageConfig, SystemClock,
    Timestamp, TokenId, UserId, UserPatch, UserStore, UsernameKey, Version,
};
use tempfile::TempDir;

const CALL: CallContext = CallContext::new(Operation::Migrate);
const PATIENCE: Duration = Duration::from_secs(30);

/// An open route with SQLite as primary, and its shadow from below.
pub struct Route {
    storage: Storage,
    store: StoreKind,
    control: Arc<dyn RouteControl>,
    records: Arc<dyn RecordRoute>,
    shadow: Arc<dyn Backend>,
    config: StorageConfig,
    _folder: TempDir,
}

/// What is behind the shadow.
pub enum Shadow {
    Sqlite,
    /// SQLite whose calls meet faults.
    Faulty(Faults),
    /// A connection URL and a namespace.
    #[cfg(feature = "pg")]
    Postgres(String, String),
}

impl Shadow {
    fn block(&self) -> String {
        match self {
            Self::Sqlite => "{kind: sqlite, path: shadow.db}".to_owned(),
            Self::Faulty(_) => "{kind: faulty, path: shadow.db}".to_owned(),
            #[cfg(feature = "pg")]
            Self::Postgres(dsn, _) => format!("{{kind: pg, dsn: \"{dsn}\"}}"),
        }
    }

    async fn open(&self, folder: &TempDir) -> Arc<dyn Backend> {
        let context = OpenContext::new(folder.path());
        match self {
            Self::Sqlite | Self::Faulty(_) => {
                let factory = syntrix_storage_sqlite::factory();
                open(factory, "path", "shadow.db", &context).await
            }
            #[cfg(feature = "pg")]
            Self::Postgres(dsn, namespace) => {
                let context = context.with_namespace(namespace).unwrap();
                open(syntrix_storage_postgres::factory(), "dsn", dsn, &context).await
            }
        }
    }

    fn config(&self, store: StoreKind, folder: &TempDir) -> StorageConfig {
        let (section, block) = (store.section(), self.block());
        let text = format!(
            "storage:\n  {section}:\n    backend: main\n    main: {{kind: sqlite, path: primary.db}}\n    \
             other: {block}\n  routing:\n    {section}: {{strategy: dual-write, shadow: other, mirror: wait}}\n"
        );
        let mut options = ReplicationOptions::default();
        (options.mirror_budget, options.sweep_interval) = (PATIENCE, Duration::from_secs(3600));
        let config = StorageConfig::from_yaml(text, "route.yaml").with_data_dir(folder.path());
        let config = config.with_replication(options);
        match self {
            Self::Sqlite => config,
            Self::Faulty(faults) => {
                let inner = syntrix_storage_sqlite::factory();
                let factory = FaultyFactory::new("faulty", inner, faults.clone());
                config.with_factory(Box::new(factory))
            }
            #[cfg(feature = "pg")]
            Self::Postgres(_, namespace) => config.with_namespace(namespace),
        }
    }
}

async fn open(
    factory: Box<dyn BackendFactory>,
    key: &str,
    value: &str,
    context: &OpenContext,
) -> Arc<dyn Backend> {
    let text = SettingsNode::new(SettingsValue::Text(value.to_owned()), Location::default());
    let map = SettingsValue::Map(vec![(key.to_owned(), Location::default(), text)]);
    let provider = factory.configure(&SettingsNode::new(map, Location::default())).unwrap();
    provider.open(context).await.unwrap()
}

impl Route {
    pub async fn open(store: StoreKind, shadow: Shadow) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = shadow.config(store, &folder);
        let storage = Storage::from_config(config.clone()).await.unwrap();
        let control = storage.routing(store).unwrap();
        control.drain(PATIENCE).await.unwrap();
        let records = storage.record_route(store).unwrap();
        let shadow = shadow.open(&folder).await;
        Self { storage, store, control, records, shadow, config, _folder: folder }
    }

    fn users(&self) -> Arc<dyn UserStore> {
        self.storage.users().unwrap()
    }

    async fn verify(&self, depth: Depth) -> (Vec<RecordFinding>, RecordsSummary) {
        let mut findings = Vec::new();
        let mut report = |finding| {
            findings.push(finding);
            Ok(())
        };
        let options = VerifyOptions::default().with_depth(depth).with_values(true);
        let summary = self.records.verify(options, PATIENCE, &mut report).await.unwrap();
        (findings, summary)
    }

    async fn expect_equal(&self) {
        for depth in [Depth::Quick, Depth::Deep] {
            let (findings, summary) = self.verify(depth).await;
            assert!(summary.equal && summary.extras_compared, "{summary:?} {findings:?}");
        }
    }

    async fn repair_all(&self, findings: &[RecordFinding], execute: bool) -> Vec<Repaired> {
        let mut done = Vec::new();
        for finding in findings {
            done.push(self.records.repair(&finding.record, execute).await.unwrap());
        }
        done
    }

    /// Closes everything, and removes what is on a server.
    pub async fn end(self) {
        self.storage.close().await.unwrap();
        match self.store {
            StoreKind::Users => self.shadow.users().unwrap().close().await.unwrap(),
            _ => self.shadow.revocations().unwrap().close().await.unwrap(),
        }
        self.config.remove_namespace().await.ok();
    }
}

async fn create(route: &Route, name: &str) -> UserId {
    let mut new = NewUser::new(name, Secret::new(format!("$hash-of-{name}")), "argon2id");
    new.id = Some(UserId::parse(&format!("id_{name}")).unwrap());
    route.users().create_user(new, Default::default()).await.unwrap().id
}

async fn stored(side: &Arc<dyn UserBackend>, id: &UserId) -> UserRecord {
    side.get(id, &CALL).await.unwrap().value.unwrap()
}

/// Puts what `change` makes of the shadow's account there.
async fn plant(route: &Route, id: &UserId, change: impl FnOnce(&mut UserRecord)) {
    let shadow = route.shadow.users().unwrap();
    let mut record = stored(&shadow, id).await;
    let expected = (record.user.version, record.login_sequence);
    change(&mut record);
    let write = UserWrite::Swap { expected, record: Box::new(record) };
    assert_eq!(shadow.write(write, &CALL).await.unwrap(), UserApplied::Yes);
}

/// An account that the primary never had, with the name of nobody.
async fn plant_phantom(route: &Route, like: &UserId) {
    let shadow = route.shadow.users().unwrap();
    let mut record = stored(&shadow, like).await;
    record.user.id = UserId::parse("id_phantom").unwrap();
    record.user.username = "phantom".to_owned();
    record.key = UsernameKey::fold("phantom").unwrap();
    let write = UserWrite::Insert(Box::new(record));
    assert_eq!(shadow.write(write, &CALL).await.unwrap(), UserApplied::Yes);
}

/// Account, verdict, field, and what is done about it.
type Planted = (&'static str, Verdict, Option<&'static str>, Repaired);

const PLANTED: [Planted; 6] = [
    ("id_ahead", Verdict::Extra, Some("roles.0"), Repaired::Replaced),
    ("id_hash", Verdict::Different, Some("passwordHash"), Repaired::Replaced),
    ("id_login", Verdict::Extra, Some("login.failedAttempts"), Repaired::Replaced),
    ("id_phantom", Verdict::Extra, None, Repaired::Removed),
    ("id_profile", Verdict::Different, Some("profile.city.zip"), Repaired::Replaced),
    ("id_roles", Verdict::Different, Some("roles.0"), Repaired::Replaced),
];

pub async fn planted_accounts(shadow: Shadow) -> Route {
    let route = Route::open(StoreKind::Users, shadow).await;
    for name in ["ahead", "equal", "hash", "login", "profile", "roles"] {
        let id = create(&route, name).await;
        let mut patch = UserPatch::default();
        patch.profile =
            json!({"city": {"zip": 1.5}, "n": 9007199254740993_i64}).as_object().cloned();
        route.users().update_user(&id, patch, Default::default()).await.unwrap();
    }
    route.expect_equal().await;
    // What the feed still had to tell would put right what is planted.
    route.control.drain(PATIENCE).await.unwrap();
    let id = |name: &str| UserId::parse(name).unwrap();
    plant(&route, &id("id_ahead"), |record| {
        record.user.version = Version::new(8);
        record.user.roles.insert("admin".to_owned());
    })
    .await;
    plant(&route, &id("id_hash"), |record| {
        record.user.password_hash = Some(Secret::new("$other-hash"));
    })
    .await;
    plant(&route, &id("id_login"), |record| {
        (record.login_sequence, record.user.login.failed_attempts) = (9, 3);
    })
    .await;
    plant(&route, &id("id_profile"), |record| {
        record.user.profile["city"]["zip"] = json!(1.25);
    })
    .await;
    plant(&route, &id("id_roles"), |record| {
        record.user.roles.insert("admin".to_owned());
    })
    .await;
    plant_phantom(&route, &id("id_equal")).await;
    route
}

/// Cases 47, 48 and 51 for accounts.
pub async fn what_was_planted_is_found_and_put_right(shadow: Shadow) {
    let route = planted_accounts(shadow).await;
    let (mut findings, summary) = route.verify(Depth::Deep).await;
    findings.sort_by_key(|finding| finding.record.to_string());
    let found = findings.iter().map(|finding| {
        let field = finding.difference.as_ref().map(|difference| difference.field.as_str());
        (finding.record.to_string(), finding.verdict, field)
    });
    let planted = PLANTED.map(|(id, verdict, field, _)| (id.to_owned(), verdict, field));
    assert_eq!(found.collect::<Vec<_>>(), planted, "{findings:#?}");
    assert_eq!((summary.counts.extra, summary.counts.different), (3, 3));
    assert_eq!(findings[4].difference.as_ref().unwrap().shadow_value, Some(json!(1.25)));
    let told = serde_json::to_string(&(&findings, &summary)).unwrap() + &format!("{findings:?}");
    assert!(!told.contains("$hash") && !told.contains("$other"), "a hash is told: {told}");

    let steps = PLANTED.map(|(.., repaired)| repaired);
    assert_eq!(route.repair_all(&findings, false).await, steps);
    assert_eq!(route.verify(Depth::Deep).await.0.len(), PLANTED.len(), "a dry run changes nothing");
    assert_eq!(route.repair_all(&findings, true).await, steps);
    route.expect_equal().await;
    assert_eq!(route.repair_all(&findings, true).await, [Repaired::Equal; 6]);
    route.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_differences_of_accounts_are_found_and_put_right() {
    what_was_planted_is_found_and_put_right(Shadow::Sqlite).await;
}

/// The id of an account that was removed from the shadow is not lost: the primary may give it out.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_removed_from_the_shadow_comes_back_when_the_primary_creates_it() {
    let route = planted_accounts(Shadow::Sqlite).await;
    let findings = route.verify(Depth::Quick).await.0;
    route.repair_all(&findings, true).await;
    let id = create(&route, "phantom").await;
    route.control.drain(PATIENCE).await.unwrap();
    let shadow = route.shadow.users().unwrap();
    assert_eq!(stored(&shadow, &id).await.user.version, Version::FIRST);
    let key = UsernameKey::fold("phantom").unwrap();
    assert!(shadow.get_by_name(&key, &CALL).await.unwrap().value.is_some());
    route.end().await;
}

/// The names of two accounts are exchanged on the shadow: nobody can be put right first.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_have_each_others_name_are_both_put_right() {
    let route = Route::open(StoreKind::Users, Shadow::Sqlite).await;
    let (ada, bob) = (create(&route, "ada").await, create(&route, "bob").await);
    route.control.drain(PATIENCE).await.unwrap();
    let shadow = route.shadow.users().unwrap();
    let [one, two] = [stored(&shadow, &ada).await, stored(&shadow, &bob).await];
    plant(&route, &ada, |record| *record = record.displaced()).await;
    for (id, other) in [(&bob, &one), (&ada, &two)] {
        plant(&route, id, |record| {
            (record.key, record.user.username) = (other.key.clone(), other.user.username.clone());
        })
        .await;
    }
    let (findings, _) = route.verify(Depth::Quick).await;
    assert_eq!(findings.len(), 2, "{findings:?}");
    let first = route.records.repair(&findings[0].record, true).await.unwrap();
    assert_eq!(first, Repaired::Replaced);
    route.expect_equal().await;
    route.end().await;
}

/// Case 51, second half: accounts change and log in while they are repaired, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_under_writes_never_takes_an_account_back() {
    let route = Arc::new(Route::open(StoreKind::Users, Shadow::Sqlite).await);
    let id = create(&route, "ada").await;
    let (writing, account) = (Arc::clone(&route), id.clone());
    let writer = tokio::spawn(async move {
        let users = writing.users();
        for number in 0..60 {
            let mut patch = UserPatch::default();
            patch.profile = json!({"n": number}).as_object().cloned();
            users.update_user(&account, patch, Default::default()).await.unwrap();
            let policy = LoginPolicy::default();
            users.record_login_failure(&account, policy, Default::default()).await.unwrap();
        }
    });
    let shadow = route.shadow.users().unwrap();
    let (mut last, mut repairs) = ((Version::FIRST, 0), 0);
    while !writer.is_finished() {
        // An account that changes each time is replicated, and says so.
        repairs +=
            u32::from(route.records.repair(&RecordKey::User(id.clone()), true).await.is_ok());
        let now = stored(&shadow, &id).await;
        let now = (now.user.version, now.login_sequence);
        assert!(now.0 >= last.0 && now.1 >= last.1, "{now:?} after {last:?}");
        last = now;
    }
    writer.await.unwrap();
    assert!(repairs > 0);
    route.expect_equal().await;
    assert_eq!(stored(&shadow, &id).await.user.version, Version::new(61));
}

fn token(text: &str) -> TokenId {
    TokenId::parse(text).unwrap()
}

fn later() -> Timestamp {
    SystemClock.now().saturating_add(Duration::from_secs(900))
}

async fn revoke(route: &Route, name: &str) {
    let revocations = route.storage.revocations().unwrap();
    let mut options = RevocationOptions::default();
    options.reason = Some("logout".to_owned());
    revocations.revoke_token(&token(name), later(), options).await.unwrap();
}

/// Whatever `change` makes of it, as a record of the shadow under another name: records of one name only grow stricter.
async fn record_of(side: &Arc<dyn RevocationBackend>, name: &str) -> Revocation {
    *side.get(&token(name), &CALL).await.unwrap().value.unwrap()
}

/// Case 45, and what is no difference: the shadow of revoked tokens has them all, and may have more.
pub async fn a_stricter_shadow_is_equal_and_nothing_is_loosened(shadow: Shadow) {
    let route = Route::open(StoreKind::Revocations, shadow).await;
    for name in ["secret-a", "secret-b"] {
        revoke(&route, name).await;
    }
    route.expect_equal().await;
    let below = route.shadow.revocations().unwrap();
    // Beyond the primary: revoked there alone, once for long and once for less than the margin.
    let mut phantom = record_of(&below, "secret-a").await;
    phantom.token = token("secret-phantom");
    below.merge(phantom.clone(), &CALL).await.unwrap();
    let soon = SystemClock.now().saturating_add(Duration::from_secs(20));
    let brief = Revocation {
        token: token("secret-brief"),
        expires_at: soon,
        keep_until: soon,
        ..phantom.clone()
    };
    below.merge(brief, &CALL).await.unwrap();
    let stricter = Revocation { token: token("secret-b"), immediate: true, ..phantom };
    below.merge(stricter, &CALL).await.unwrap();

    let (findings, summary) = route.verify(Depth::Deep).await;
    assert!(summary.equal, "a shadow may be stricter: {findings:?}");
    assert_eq!((summary.beyond, summary.expired, summary.compared), (1, 1, 4), "{summary:?}");
    let told = format!("{findings:?} {summary:?}");
    assert!(!told.contains("secret"), "{told}");
    for name in ["secret-a", "secret-b", "secret-phantom"] {
        let record = RecordKey::Token(token(name));
        assert_eq!(route.records.repair(&record, true).await.unwrap(), Repaired::Equal);
    }
    assert!(record_of(&below, "secret-b").await.immediate, "a repair never loosens");
    route.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_of_tokens_may_be_stricter_and_nothing_is_loosened() {
    a_stricter_shadow_is_equal_and_nothing_is_loosened(Shadow::Sqlite).await;
}

/// Case 48 for both stores: what the shadow refused is missing, and is brought once it takes it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_shadow_refused_is_missing_and_can_be_brought_by_a_repair() {
    for store in [StoreKind::Users, StoreKind::Revocations] {
        let faults = Faults::seeded(1);
        let route = Route::open(store, Shadow::Faulty(faults.clone())).await;
        let refusing = |key| FaultRule::new(Fault::FailBefore).about(key);
        let record = match store {
            StoreKind::Users => {
                let refusing = refusing("id_ada").at(Method::Write);
                faults.add(refusing.with_error(ErrorKind::InvalidArgument));
                create(&route, "bob").await;
                RecordKey::User(create(&route, "ada").await)
            }
            _ => {
                let refusing = refusing("secret-a").at(Method::Merge);
                faults.add(refusing.with_error(ErrorKind::InvalidArgument));
                revoke(&route, "secret-b").await;
                revoke(&route, "secret-a").await;
                RecordKey::Token(token("secret-a"))
            }
        };
        let (findings, summary) = route.verify(Depth::Quick).await;
        assert_eq!((summary.counts.missing, findings.len()), (1, 1), "{findings:?}");
        assert_eq!((&findings[0].record, findings[0].verdict), (&record, Verdict::Missing));
        assert!(!format!("{findings:?}").contains("secret"), "{findings:?}");
        let last = route.control.status().await.unwrap().last_verify.expect("it is noted");
        assert_eq!((last.equal, last.differences), (false, 1));
        faults.heal();
        assert_eq!(route.repair_all(&findings, true).await, [Repaired::Inserted]);
        route.expect_equal().await;
        route.end().await;
    }
}

#[cfg(feature = "pg")]
mod on_a_server_pg {
    use super::*;

    const VARIABLE: &str = "SYNTRIX_STORAGE_TEST_PG";

    fn postgres(name: &str) -> Shadow {
        let dsn = std::env::var(VARIABLE).unwrap_or_else(|_| {
            panic!("{VARIABLE} names no server; `cargo xtask servers up` starts one and says how to set it")
        });
        Shadow::Postgres(dsn, format!("records_{}_{name}", std::process::id()))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn planted_differences_of_accounts_are_found_and_put_right() {
        what_was_planted_is_found_and_put_right(postgres("users")).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_shadow_of_tokens_may_be_stricter_and_nothing_is_loosened() {
        a_stricter_shadow_is_equal_and_nothing_is_loosened(postgres("tokens")).await;
    }
}
