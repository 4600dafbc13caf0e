//! Accounts that reach the shadow by the primary's own record of what was written, whoever wrote it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use syntrix_storage::backend::StoreKind;
use syntrix_storage::routing::{MirrorFault, ReplicationOptions, RouteControl, StatusReport};
use syntrix_storage::{
    ErrorKind, LoginPolicy, NewUser, Result, Secret, Storage, StorageConfig, User, UserFilter,
    UserId, UserPageRequest, UserPatch, UserStore,
};
use tempfile::TempDir;

use crate::stores::{PATIENCE, RARELY, quick};

const PRIMARY: &str = "{kind: sqlite, path: primary.db}";
const SHADOW: &str = "{kind: sqlite, path: shadow.db}";
/// Well under a second.
const SOON: Duration = Duration::from_millis(400);
/// On a machine that does other things beside; passes are an hour apart.
const SLOWEST: Duration = Duration::from_secs(5);

/// Two blocks of one configuration of accounts.
#[derive(Clone, Debug)]
pub struct Sides {
    pub primary: String,
    pub shadow: String,
    /// On servers, data are kept apart from everybody else's by it.
    pub namespace: Option<String>,
}

impl Sides {
    pub fn sqlite() -> Self {
        Self { primary: PRIMARY.into(), shadow: SHADOW.into(), namespace: None }
    }

    fn config(&self, folder: &Path, text: String, options: ReplicationOptions) -> StorageConfig {
        let config = StorageConfig::from_yaml(text, "accounts.yaml").with_data_dir(folder);
        let config = config.with_replication(options);
        match &self.namespace {
            Some(namespace) => config.with_namespace(namespace),
            None => config,
        }
    }

    /// The route, whose passes are far apart.
    pub fn route(&self, folder: &Path, fault: Option<MirrorFault>) -> StorageConfig {
        let Self { primary, shadow, .. } = self;
        let text = format!(
            "storage:\n  user:\n    backend: main\n    main: {primary}\n    other: {shadow}\n  \
             routing:\n    user: {{strategy: dual-write, shadow: other}}\n"
        );
        let mut options = quick();
        (options.sweep_interval, options.fault) = (RARELY, fault);
        self.config(folder, text, options)
    }

    pub async fn alone(&self, block: &str, folder: &Path) -> Storage {
        let text = format!("storage:\n  user:\n    backend: main\n    main: {block}\n");
        Storage::from_config(self.config(folder, text, quick())).await.unwrap()
    }

    pub async fn open(self) -> Open {
        self.open_in(tempfile::tempdir().unwrap()).await
    }

    pub async fn open_in(self, folder: TempDir) -> Open {
        let storage = Storage::from_config(self.route(folder.path(), None)).await.unwrap();
        let users = storage.users().unwrap();
        let control = storage.routing(StoreKind::Users).unwrap();
        Open { sides: self, storage, users, control, folder }
    }
}

/// An open route of accounts.
pub struct Open {
    pub sides: Sides,
    pub storage: Storage,
    pub users: Arc<dyn UserStore>,
    pub control: Arc<dyn RouteControl>,
    pub folder: TempDir,
}

impl Open {
    pub async fn drain(&self) {
        self.control.drain(PATIENCE).await.unwrap();
    }

    pub async fn status(&self) -> StatusReport {
        self.control.status().await.unwrap()
    }

    /// The primary, as a process sees it that knows of no shadow.
    pub async fn primary_alone(&self) -> Storage {
        self.sides.alone(&self.sides.primary, self.folder.path()).await
    }

    pub async fn shadow_alone(&self) -> Storage {
        self.sides.alone(&self.sides.shadow, self.folder.path()).await
    }

    /// Both sides, hashes too.
    pub async fn expect_equal_sides(&self) -> BTreeMap<String, User> {
        let shadow = self.shadow_alone().await;
        let sides = (all(&*self.users).await, all(&*shadow.users().unwrap()).await);
        shadow.close().await.unwrap();
        assert_eq!(shown(&sides.0), shown(&sides.1));
        sides.0
    }

    pub async fn close(self) -> (Sides, TempDir) {
        self.storage.close().await.unwrap();
        (self.sides, self.folder)
    }
}

/// Every account with its hash, by id.
pub async fn all(users: &dyn UserStore) -> BTreeMap<String, User> {
    let (mut found, mut page) = (BTreeMap::new(), UserPageRequest::default());
    page.limit = Some(200);
    loop {
        let listed = users.list_users(UserFilter::default(), page.clone(), Default::default());
        let listed = listed.await.unwrap();
        for user in listed.users {
            let whole = users.get_user_by_id(&user.id, Default::default()).await.unwrap();
            found.insert(user.id.as_str().to_owned(), whole);
        }
        page.after = listed.next;
        if page.after.is_none() {
            return found;
        }
    }
}

fn shown(users: &BTreeMap<String, User>) -> Vec<String> {
    let hash = |user: &User| user.password_hash.as_ref().map(|hash| hash.expose().to_owned());
    users.values().map(|user| format!("{user:?} {:?}", hash(user))).collect()
}

fn new_user(id: &str, name: &str) -> NewUser {
    let mut new = NewUser::new(name, Secret::new(format!("$hash-of-{name}")), "argon2id");
    new.id = Some(UserId::parse(id).unwrap());
    new
}

async fn create(users: &dyn UserStore, id: &str, name: &str) -> UserId {
    users.create_user(new_user(id, name), Default::default()).await.unwrap().id
}

async fn rename(users: &dyn UserStore, id: &UserId, name: &str) {
    let mut change = UserPatch::default();
    change.username = Some(name.to_owned());
    users.update_user(id, change, Default::default()).await.unwrap();
}

async fn fail_login(users: &dyn UserStore, id: &UserId) {
    users.record_login_failure(id, LoginPolicy::default(), Default::default()).await.unwrap();
}

/// How long it takes until the shadow says what the primary says.
async fn time_until_equal(
    primary: &dyn UserStore,
    shadow: &dyn UserStore,
    id: &UserId,
) -> Duration {
    let started = Instant::now();
    let wanted = primary.get_user_by_id(id, Default::default()).await.unwrap();
    loop {
        let found = shadow.get_user_by_id(id, Default::default()).await;
        if found.is_ok_and(|found| format!("{found:?}") == format!("{wanted:?}")) {
            return started.elapsed();
        }
        assert!(started.elapsed() < PATIENCE, "it never comes");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Each kind of write, by a process that knows of no shadow.
pub async fn expect_writes_around_the_route_soon(sides: Sides) {
    let open = sides.open().await;
    open.drain().await;
    let (primary, shadow) = (open.primary_alone().await, open.shadow_alone().await);
    let (users, there) = (primary.users().unwrap(), shadow.users().unwrap());
    let mut times = Vec::new();
    let ada = create(&*users, "ada", "ada").await;
    times.push(time_until_equal(&*users, &*there, &ada).await);
    for round in 0..10 {
        rename(&*users, &ada, &format!("ada{round}")).await;
        times.push(time_until_equal(&*users, &*there, &ada).await);
        fail_login(&*users, &ada).await;
        times.push(time_until_equal(&*users, &*there, &ada).await);
        let hash = Secret::new(format!("$hash-{round}"));
        users.set_password(&ada, hash, "argon2id", true, Default::default()).await.unwrap();
        times.push(time_until_equal(&*users, &*there, &ada).await);
    }
    times.sort();
    let (middle, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    eprintln!("{} writes around the route: {middle:?}, at most {slowest:?}", times.len());
    assert!(middle < SOON && slowest < SLOWEST, "{middle:?}, at most {slowest:?}");
    open.drain().await;
    let lag = open.status().await.lag.unwrap();
    assert_eq!((lag.seconds, lag.events), (0.0, Some(0)));
    open.expect_equal_sides().await;
    primary.close().await.unwrap();
    shadow.close().await.unwrap();
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_a_process_that_knows_no_shadow_is_there_in_well_under_a_second() {
    expect_writes_around_the_route_soon(Sides::sqlite()).await;
}

/// Case 39: names go round among accounts that are copied at the same time, towards lower ids and towards higher ones.
pub async fn expect_swaps_during_the_copy(sides: Sides, accounts: usize) {
    let folder = tempfile::tempdir().unwrap();
    let primary = sides.alone(&sides.primary, folder.path()).await;
    let users = primary.users().unwrap();
    let mut ids = Vec::new();
    for number in 0..accounts {
        ids.push(create(&*users, &format!("u{number:05}"), &format!("name{number}")).await);
    }
    let open = sides.open_in(folder).await;
    for round in 0..20 {
        let (low, high) = (round % (accounts / 2), accounts - 1 - round % (accounts / 2));
        let (first, second) = if round % 2 == 0 { (low, high) } else { (high, low) };
        let names = [first, second].map(|at| ids[at].clone());
        let name = async |id: &UserId| {
            users.get_user_by_id(id, Default::default()).await.unwrap().username
        };
        let (left, right) = (name(&names[0]).await, name(&names[1]).await);
        rename(&*users, &names[0], &format!("free{round}")).await;
        rename(&*users, &names[1], &left).await;
        rename(&*users, &names[0], &right).await;
    }
    open.drain().await;
    assert_eq!(open.expect_equal_sides().await.len(), accounts);
    primary.close().await.unwrap();
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_39_names_are_exchanged_during_the_copy_in_both_orders() {
    expect_swaps_during_the_copy(Sides::sqlite(), 300).await;
}

/// Case 40, as far as accounts can go: one gives its name up and is disabled, another one gets the name.
pub async fn expect_names_passed_on(sides: Sides) {
    let open = sides.open().await;
    open.drain().await;
    let primary = open.primary_alone().await;
    let users = primary.users().unwrap();
    for (old, new) in [("z", "a"), ("b", "y")] {
        let name = format!("name-of-{old}");
        let old = create(&*users, old, &name).await;
        open.drain().await;
        let mut gone = UserPatch::default();
        (gone.username, gone.disabled) = (Some(format!("gone-{old}")), Some(true));
        users.update_user(&old, gone, Default::default()).await.unwrap();
        create(&*users, new, &name).await;
    }
    open.drain().await;
    assert_eq!(open.expect_equal_sides().await.len(), 4);
    primary.close().await.unwrap();
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_40_a_name_that_was_given_up_goes_to_another_account() {
    expect_names_passed_on(Sides::sqlite()).await;
}

/// Case 41: a thousand logins in a second, through the mirror, while somebody changes the accounts.
pub async fn expect_logins_at_a_thousand_a_second(sides: Sides) {
    const ACCOUNTS: usize = 50;
    const LOGINS: usize = 1000;
    let open = sides.open().await;
    open.drain().await;
    let mut ids = Vec::new();
    for number in 0..ACCOUNTS {
        ids.push(create(&*open.users, &format!("u{number}"), &format!("name{number}")).await);
    }
    let (started, mut running) = (Instant::now(), Vec::new());
    for number in 0..LOGINS {
        let due = started + Duration::from_millis(number as u64);
        tokio::time::sleep_until(due.into()).await;
        let (users, id) = (Arc::clone(&open.users), ids[number % ACCOUNTS].clone());
        running.push(tokio::spawn(async move {
            if number % 40 == 0 {
                rename(&*users, &id, &format!("other{number}")).await;
            }
            fail_login(&*users, &id).await;
        }));
    }
    for login in running {
        login.await.unwrap();
    }
    eprintln!("{LOGINS} logins in {:?}", started.elapsed());
    open.drain().await;
    let sides = open.expect_equal_sides().await;
    let counted: u32 = sides.values().map(|user| user.login.failed_attempts).sum();
    assert_eq!(counted as usize, LOGINS, "logins were lost on the way");
    open.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_41_logins_at_a_thousand_a_second_come_to_the_same_on_both_sides() {
    expect_logins_at_a_thousand_a_second(Sides::sqlite()).await;
}

/// The primary comes back from a backup. The shadow has accounts, changes and names that never were.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_went_back_is_right_also_about_names_that_newer_accounts_hold() {
    let open = Sides::sqlite().open().await;
    let ada = create(&*open.users, "ada", "ada").await;
    create(&*open.users, "bob", "bob").await;
    open.drain().await;
    let (sides, folder) = open.close().await;
    let (file, backup) = (folder.path().join("primary.db"), folder.path().join("backup.db"));
    std::fs::copy(&file, &backup).unwrap();

    let open = sides.open_in(folder).await;
    for round in 0..5 {
        rename(&*open.users, &ada, &format!("ada{round}")).await;
        fail_login(&*open.users, &ada).await;
    }
    rename(&*open.users, &ada, "carl").await;
    open.drain().await;
    let (sides, folder) = open.close().await;
    std::fs::copy(&backup, &file).unwrap();

    // As many writes as were lost, so that no number tells that it is another history.
    let primary = sides.alone(PRIMARY, folder.path()).await;
    let users = primary.users().unwrap();
    create(&*users, "carl", "carl").await;
    for _ in 0..30 {
        fail_login(&*users, &UserId::parse("bob").unwrap()).await;
    }
    primary.close().await.unwrap();

    let open = sides.open_in(folder).await;
    open.drain().await;
    let sides = open.expect_equal_sides().await;
    assert_eq!(sides["ada"].username, "ada");
    assert_eq!(sides["carl"].username, "carl");
    let status = open.status().await;
    assert_eq!((status.history_lost, status.dead_letters), (1, Some(0)), "{status:?}");
    open.close().await;
}

/// An account of the shadow that the primary does not know has a name that is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_had_is_a_dead_letter_that_names_the_account_and_holds_up_nobody() {
    let open = Sides::sqlite().open().await;
    open.drain().await;
    let shadow = open.shadow_alone().await;
    let extra = create(&*shadow.users().unwrap(), "extra", "eve").await;
    create(&*open.users, "eve", "eve").await;
    create(&*open.users, "fred", "fred").await;
    let error = open.control.drain(PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let letters = open.control.dead_letters().await.unwrap();
    assert_eq!((letters.len(), letters[0].path.as_str()), (1, "eve"));
    assert!(letters[0].reason.contains("extra"), "{letters:?}");
    assert_eq!(open.status().await.dead_letters, Some(1));
    let there = all(&*shadow.users().unwrap()).await;
    assert_eq!(there.keys().collect::<Vec<_>>(), ["extra", "fred"], "no row is removed");

    assert!(!open.control.retry_dead_letter("eve").await.unwrap(), "nothing has changed");
    rename(&*shadow.users().unwrap(), &extra, "someone").await;
    assert!(open.control.retry_dead_letter("eve").await.unwrap());
    open.drain().await;
    assert_eq!(all(&*shadow.users().unwrap()).await["eve"].username, "eve");
    let missing = open.control.retry_dead_letter("eve").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    shadow.close().await.unwrap();
    open.close().await;
}

/// What a writer process does: it creates accounts, renames, counts logins and notes what was acknowledged.
pub async fn write_once(
    users: &dyn UserStore,
    random: &mut fastrand::Rng,
) -> Result<Option<String>> {
    let id = UserId::parse(&format!("u{}", random.u32(..60)))?;
    let name = format!("name{}", random.u32(..80));
    let written = match random.u32(..10) {
        0..3 => users.create_user(new_user(id.as_str(), &name), Default::default()).await.map(Some),
        3..6 => {
            let mut change = UserPatch::default();
            change.username = Some(name);
            users.update_user(&id, change, Default::default()).await.map(Some)
        }
        6..9 => {
            let counted =
                users.record_login_failure(&id, LoginPolicy::default(), Default::default());
            counted.await.map(|_| None)
        }
        _ => {
            let hash = Secret::new(format!("$hash-{}", random.u64(..)));
            users.set_password(&id, hash, "argon2id", false, Default::default()).await.map(Some)
        }
    };
    match written {
        Ok(user) => Ok(user.map(|user| format!("{} {}", user.id, user.version))),
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
