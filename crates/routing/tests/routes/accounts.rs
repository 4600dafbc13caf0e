//! Accounts on a route between two memory backends: random histories, tombstones, other histories, no feed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use syntrix_storage_conformance::faults::{Fault, FaultRule, Method};
use syntrix_storage_core::backend::{
    CallContext, Dated, StoreKind, UserApplied, UserBackend, UserRecord, UserWrite,
};
use syntrix_storage_core::{
    Capabilities, HealthReport, Operation, Result, Secret, Timestamp, User, UserId, UserListPlan,
    UsernameKey,
};
use syntrix_storage_routing::{Accounts, RouteControl, SweptReplication, UserRoute};

use crate::world::{PATIENCE, Ready, World, options};

const CALL: CallContext = CallContext::new(Operation::Write);

fn first(id: &str, name: &str) -> UserRecord {
    let mut user = User::first(UserId::parse(id).unwrap(), name, Timestamp::from_milliseconds(1));
    user.password_hash = Some(Secret::new(format!("$hash-{id}")));
    let (key, key_rule_version) = (UsernameKey::fold(name).unwrap(), UsernameKey::RULE_VERSION);
    UserRecord { user, key, key_rule_version, login_window: 0, login_sequence: 0 }
}

/// One side or the whole of a route.
struct Side(Arc<dyn UserBackend>);

impl Side {
    async fn get(&self, id: &str) -> Option<UserRecord> {
        self.0.get(&UserId::parse(id).unwrap(), &CALL).await.unwrap().value
    }

    async fn write(&self, write: UserWrite) -> UserApplied {
        self.0.write(write, &CALL).await.unwrap()
    }

    async fn create(&self, id: &str, name: &str) -> UserApplied {
        self.write(UserWrite::Insert(Box::new(first(id, name)))).await
    }

    async fn change(&self, id: &str, change: impl FnOnce(&mut UserRecord)) -> UserApplied {
        let Some(mut record) = self.get(id).await else { return UserApplied::Stale };
        let expected = record.user.version;
        change(&mut record);
        record.user.version = expected.next();
        self.write(UserWrite::Replace { expected, record: Box::new(record) }).await
    }

    async fn rename(&self, id: &str, name: &str) -> UserApplied {
        self.change(id, |record| {
            record.user.username = name.to_owned();
            record.key = UsernameKey::fold(name).unwrap();
        })
        .await
    }

    async fn delete(&self, id: &str) -> UserApplied {
        let at = Some(Timestamp::from_milliseconds(9));
        self.change(id, |record| record.user.deleted_at = at).await
    }

    async fn fail_login(&self, id: &str) {
        let Some(record) = self.get(id).await else { return };
        let (expected, mut state) = (record.login_sequence, record.login_state());
        state.sequence += 1;
        state.stats.failed_attempts += 1;
        self.write(UserWrite::Login { id: record.user.id, expected, state }).await;
    }

    async fn everything(&self) -> Vec<String> {
        let all = self.0.scan(None, 10_000, &CALL).await.unwrap();
        let hash =
            |record: &UserRecord| record.user.password_hash.clone().unwrap().expose().to_owned();
        all.iter().map(|record| format!("{record:?} {}", hash(record))).collect()
    }
}

struct Open {
    world: World,
    primary: Side,
    shadow: Side,
    route: Side,
    control: Arc<SweptReplication<Accounts>>,
}

async fn open() -> Open {
    let world = World::new().await;
    let users = world.primary.users().unwrap();
    open_on(world, users)
}

fn open_on(world: World, users: Arc<dyn UserBackend>) -> Open {
    let mut options = options();
    options.sweep_interval = Duration::from_millis(100);
    let control = SweptReplication::<Accounts>::start(
        "dual-write",
        Arc::clone(&users),
        world.primary.ledger().unwrap(),
        Arc::new(Ready(Arc::clone(&world.shadow))),
        options,
    );
    let route = UserRoute::dual_write(users, Arc::clone(&control));
    Open {
        primary: Side(world.primary.users().unwrap()),
        shadow: Side(world.shadow.users().unwrap()),
        route: Side(Arc::new(route)),
        control,
        world,
    }
}

impl Open {
    async fn expect_equal_sides(&self) -> usize {
        self.control.drain(PATIENCE).await.unwrap();
        let primary = self.primary.everything().await;
        assert_eq!(primary, self.shadow.everything().await);
        primary.len()
    }
}

/// Cases 39 and 40: names go round and round among accounts that are made, renamed and removed, by the route and around it, while
/// the shadow fails before the write, behind it, and late.
#[tokio::test(flavor = "multi_thread")]
async fn cases_39_and_40_random_histories_of_few_names_come_to_the_same_on_a_shadow_that_fails() {
    for seed in 0..4 {
        let open = open().await;
        open.control.drain(PATIENCE).await.unwrap();
        let late = FaultRule::new(Fault::Delay(Duration::from_millis(5))).of(StoreKind::Users);
        open.world.faults.add(late.at(Method::Write).with_chance(0.2));
        for fault in [Fault::FailBefore, Fault::FailAfter] {
            let rule = FaultRule::new(fault).of(StoreKind::Users).at(Method::Write);
            open.world.faults.add(rule.with_chance(0.1));
        }
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..400 {
            let side = if random.bool() { &open.route } else { &open.primary };
            let (id, name) =
                (format!("u{}", random.u32(..12)), format!("name{}", random.u32(..14)));
            match random.u32(..10) {
                0..3 => _ = side.create(&id, &name).await,
                3..7 => _ = side.rename(&id, &name).await,
                7 => _ = side.delete(&id).await,
                _ => side.fail_login(&id).await,
            }
            if random.u32(..20) == 0 {
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
        open.world.faults.heal();
        let count = open.expect_equal_sides().await;
        assert!(count > 5, "seed {seed}: {count} accounts");
        assert!(open.control.dead_letters().await.unwrap().is_empty());
    }
}

/// Case 40 by itself, in both orders of ids.
#[tokio::test(flavor = "multi_thread")]
async fn case_40_a_removed_accounts_name_goes_to_another_one() {
    let open = open().await;
    for (old, new) in [("a", "z"), ("y", "b")] {
        let name = format!("name-{old}");
        open.primary.create(old, &name).await;
        open.control.drain(PATIENCE).await.unwrap();
        assert_eq!(open.primary.delete(old).await, UserApplied::Yes);
        assert_eq!(open.primary.create(new, &name).await, UserApplied::Yes);
    }
    assert_eq!(open.expect_equal_sides().await, 4);
    assert!(open.shadow.get("a").await.unwrap().user.deleted_at.is_some());
}

/// The shadow has changes that the primary never told of, under a name that is wanted. Both counts are ahead.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_another_history_that_holds_a_name_gives_way() {
    let open = open().await;
    open.primary.create("ada", "ada").await;
    open.primary.create("bob", "bob").await;
    open.control.drain(PATIENCE).await.unwrap();
    for name in ["x", "y", "wanted"] {
        assert_eq!(open.shadow.rename("ada", name).await, UserApplied::Yes);
        open.shadow.fail_login("ada").await;
    }
    // Nothing of "ada" is written on the primary: it is met as the holder of the name alone.
    assert_eq!(open.primary.rename("bob", "wanted").await, UserApplied::Yes);
    assert_eq!(open.expect_equal_sides().await, 2);
    assert_eq!(open.shadow.get("ada").await.unwrap().user.username, "ada");
    assert_eq!(open.control.status().await.unwrap().replicated.lineage, 1);
}

/// Equal counts and other content: the primary is right, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_the_same_version_and_other_content_is_replaced() {
    let open = open().await;
    open.primary.create("ada", "ada").await;
    open.control.drain(PATIENCE).await.unwrap();
    assert_eq!(open.shadow.rename("ada", "lost").await, UserApplied::Yes);
    open.shadow.fail_login("ada").await;
    assert_eq!(open.primary.rename("ada", "kept").await, UserApplied::Yes);
    open.primary.fail_login("ada").await;
    assert_eq!(open.expect_equal_sides().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_hangs_delays_no_write_and_gets_everything_afterwards() {
    let open = open().await;
    open.control.drain(PATIENCE).await.unwrap();
    open.world.faults.add(FaultRule::new(Fault::Hang).of(StoreKind::Users).at(Method::Write));
    let started = std::time::Instant::now();
    for number in 0..50 {
        open.route.create(&format!("u{number}"), &format!("name{number}")).await;
    }
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    tokio::time::sleep(Duration::from_millis(600)).await;
    open.world.faults.heal();
    assert_eq!(open.expect_equal_sides().await, 50);
}

/// A backend of somebody else's, which does not tell what was written.
#[derive(Debug)]
struct NoFeed(Arc<dyn UserBackend>);

#[async_trait]
impl UserBackend for NoFeed {
    fn kind(&self) -> &'static str {
        "no-feed"
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn get(&self, id: &UserId, context: &CallContext) -> Result<Dated<Option<UserRecord>>> {
        self.0.get(id, context).await
    }

    async fn get_by_name(
        &self,
        key: &UsernameKey,
        context: &CallContext,
    ) -> Result<Dated<Option<UserRecord>>> {
        self.0.get_by_name(key, context).await
    }

    async fn write(&self, write: UserWrite, context: &CallContext) -> Result<UserApplied> {
        self.0.write(write, context).await
    }

    async fn list(&self, plan: &UserListPlan, context: &CallContext) -> Result<Vec<UserRecord>> {
        self.0.list(plan, context).await
    }

    async fn scan(
        &self,
        after: Option<&UserId>,
        limit: usize,
        context: &CallContext,
    ) -> Result<Vec<UserRecord>> {
        self.0.scan(after, limit, context).await
    }

    async fn ensure_indexes(&self) -> Result<()> {
        self.0.ensure_indexes().await
    }

    async fn health(&self) -> Result<HealthReport> {
        self.0.health().await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_does_not_tell_what_was_written_is_followed_by_passes() {
    let world = World::new().await;
    let users = Arc::new(NoFeed(world.primary.users().unwrap()));
    let open = open_on(world, users);
    open.control.drain(PATIENCE).await.unwrap();
    open.primary.create("ada", "ada").await;
    let there = async {
        while open.shadow.get("ada").await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.expect("no pass brings it");
    open.primary.rename("ada", "ada2").await;
    assert_eq!(open.expect_equal_sides().await, 1);
    assert!(open.control.status().await.unwrap().lag.is_none());
}
