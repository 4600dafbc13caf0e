//! Accounts on both sides of a route.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage::backend::StoreKind;
use syntrix_storage::routing::{RouteControl, ShadowState};
use syntrix_storage::{
    ErrorKind, LoginPolicy, NewUser, Secret, Storage, User, UserFilter, UserId, UserPageRequest,
    UserPatch, UserStore,
};
use tempfile::TempDir;

use crate::stores::{PATIENCE, RARELY, alone, route};

const MEMORY: &str = "{kind: memory}";
const PRIMARY: &str = "{kind: sqlite, path: primary.db}";
const SHADOW: &str = "{kind: sqlite, path: shadow.db}";

struct Open {
    storage: Storage,
    users: Arc<dyn UserStore>,
    control: Arc<dyn RouteControl>,
    folder: TempDir,
}

impl Open {
    async fn on(primary: &str) -> Self {
        Self::in_folder(primary, tempfile::tempdir().unwrap()).await
    }

    async fn in_folder(primary: &str, folder: TempDir) -> Self {
        let config = route("user", primary, SHADOW, folder.path(), RARELY);
        let storage = Storage::from_config(config).await.unwrap();
        let users = storage.users().unwrap();
        let control = storage.routing(StoreKind::Users).unwrap();
        Self { storage, users, control, folder }
    }

    async fn drain(&self) {
        self.control.drain(PATIENCE).await.unwrap();
    }

    /// Both sides, without hashes, in the order of their ids.
    async fn expect_equal_sides(&self) -> Vec<User> {
        let shadow = alone("user", SHADOW, self.folder.path()).await;
        let (left, right) = (all(&*self.users).await, all(&*shadow.users().unwrap()).await);
        assert_eq!(format!("{left:#?}"), format!("{right:#?}"));
        shadow.close().await.unwrap();
        left
    }
}

async fn all(users: &dyn UserStore) -> Vec<User> {
    let page = UserPageRequest::default();
    users.list_users(UserFilter::default(), page, Default::default()).await.unwrap().users
}

async fn create(users: &dyn UserStore, name: &str) -> UserId {
    let new = NewUser::new(name, Secret::new(format!("$hash-of-{name}")), "argon2id");
    users.create_user(new, Default::default()).await.unwrap().id
}

async fn rename(users: &dyn UserStore, id: &UserId, name: &str) {
    let mut change = UserPatch::default();
    change.username = Some(name.to_owned());
    users.update_user(id, change, Default::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_changes_and_logins_are_on_the_shadow_with_their_hashes() {
    let open = Open::on(MEMORY).await;
    open.drain().await;
    let ada = create(&*open.users, "ada").await;
    create(&*open.users, "bob").await;
    rename(&*open.users, &ada, "Ada.Lovelace").await;
    for _ in 0..3 {
        let policy = LoginPolicy::default();
        open.users.begin_login_attempt(&ada, policy, Default::default()).await.unwrap();
    }
    open.storage.close().await.unwrap();
    let shadow = alone("user", SHADOW, open.folder.path()).await;
    let users = shadow.users().unwrap();
    let found = users.get_user_by_username("ada.lovelace", Default::default()).await.unwrap();
    assert_eq!((found.id, found.login.failed_attempts), (ada, 3));
    assert_eq!(found.password_hash.unwrap().expose(), "$hash-of-ada");
    let gone = users.get_user_by_username("ada", Default::default()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert_eq!(all(&*users).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_the_route_is_brought_by_a_pass() {
    let folder = tempfile::tempdir().unwrap();
    let before = alone("user", PRIMARY, folder.path()).await;
    for number in 0..700 {
        create(&*before.users().unwrap(), &format!("user{number}")).await;
    }
    before.close().await.unwrap();
    let open = Open::in_folder(PRIMARY, folder).await;
    open.drain().await;
    let status = open.control.status().await.unwrap();
    assert!(status.filled && status.dead_letters == Some(0), "{status:?}");
    let shadow = alone("user", SHADOW, open.folder.path()).await;
    let users = shadow.users().unwrap();
    for number in [0, 350, 699] {
        let name = format!("user{number}");
        let found = users.get_user_by_username(&name, Default::default()).await.unwrap();
        assert_eq!(found.password_hash.unwrap().expose(), format!("$hash-of-{name}"));
    }
}

/// Case 39 of the catalogue: the shadow meets the renames in the order of ids, in which nobody can be first.
#[tokio::test(flavor = "multi_thread")]
async fn case_39_names_that_were_exchanged_while_the_shadow_was_away_are_exchanged_there_too() {
    let open = Open::on(PRIMARY).await;
    open.drain().await;
    let (ada, bob) = (create(&*open.users, "ada").await, create(&*open.users, "bob").await);
    let (eve, dan) = (create(&*open.users, "eve").await, create(&*open.users, "dan").await);
    open.drain().await;
    let folder = open.folder;
    open.storage.close().await.unwrap();
    // Around the route, as if every mirror had failed.
    let primary = alone("user", PRIMARY, folder.path()).await;
    let users = primary.users().unwrap();
    for (id, name) in [(&ada, "swap"), (&bob, "ada"), (&ada, "bob")] {
        rename(&*users, id, name).await;
    }
    for (id, name) in [(&eve, "free"), (&dan, "eve")] {
        rename(&*users, id, name).await;
    }
    primary.close().await.unwrap();
    let open = Open::in_folder(PRIMARY, folder).await;
    open.drain().await;
    let sides = open.expect_equal_sides().await;
    let name = |id: &UserId| sides.iter().find(|user| user.id == *id).unwrap().username.clone();
    assert_eq!([name(&ada), name(&bob), name(&eve), name(&dan)], ["bob", "ada", "free", "eve"]);
}

/// Case 41 of the catalogue, as far as a route without a cutover goes.
#[tokio::test(flavor = "multi_thread")]
async fn case_41_logins_that_are_counted_side_by_side_come_to_the_same_on_both_sides() {
    let open = Open::on(PRIMARY).await;
    open.drain().await;
    let ada = create(&*open.users, "ada").await;
    let logins = (0..40).map(|_| {
        let (users, ada) = (Arc::clone(&open.users), ada.clone());
        tokio::spawn(async move {
            let policy = LoginPolicy::default();
            users.record_login_failure(&ada, policy, Default::default()).await.unwrap()
        })
    });
    for login in logins.collect::<Vec<_>>() {
        login.await.unwrap();
    }
    open.drain().await;
    let sides = open.expect_equal_sides().await;
    assert_eq!(sides[0].login.failed_attempts, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_with_accounts_of_its_own_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = alone("user", SHADOW, folder.path()).await;
    create(&*foreign.users().unwrap(), "mallory").await;
    foreign.close().await.unwrap();
    let open = Open::in_folder(MEMORY, folder).await;
    create(&*open.users, "ada").await;
    let error = open.control.drain(Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.fact("shadow").unwrap().contains("Refused"), "{error}");
    open.storage.close().await.unwrap();
    let shadow = alone("user", SHADOW, open.folder.path()).await;
    let names: Vec<_> = all(&*shadow.users().unwrap()).await;
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].username, "mallory");
}

/// Who gives the route up is not the one who brings the records: the holder hears of it at once, not at its next pass.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_was_given_up_stops_the_holder_in_another_process_too() {
    let holder = Open::on(PRIMARY).await;
    holder.drain().await;
    let config = route("user", PRIMARY, SHADOW, holder.folder.path(), RARELY);
    let other = Storage::from_config(config).await.unwrap();
    other.routing(StoreKind::Users).unwrap().drop_route().await.unwrap();

    let dropped = async {
        while holder.control.status().await.unwrap().shadow != ShadowState::Dropped {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.expect("the holder goes on");
    create(&*holder.users, "ada").await;
    other.close().await.unwrap();
    holder.storage.close().await.unwrap();
    let shadow = alone("user", SHADOW, holder.folder.path()).await;
    assert!(all(&*shadow.users().unwrap()).await.is_empty(), "it was mirrored all the same");
    shadow.close().await.unwrap();
}

/// A drain of a process that does not bring the records itself: the holder, which rests for an hour, hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_served_by_the_holder_of_another_process() {
    let holder = Open::on(PRIMARY).await;
    holder.drain().await;
    let primary = alone("user", PRIMARY, holder.folder.path()).await;
    create(&*primary.users().unwrap(), "ada").await;
    primary.close().await.unwrap();

    let config = route("user", PRIMARY, SHADOW, holder.folder.path(), RARELY);
    let other = Storage::from_config(config).await.unwrap();
    other.routing(StoreKind::Users).unwrap().drain(PATIENCE).await.unwrap();
    other.close().await.unwrap();
    assert_eq!(holder.expect_equal_sides().await.len(), 1);
    holder.storage.close().await.unwrap();
}
