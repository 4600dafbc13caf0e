//! Revoked tokens on both sides of a route.

use std::sync::Arc;
use std::time::Duration;

use syntrix_storage::backend::StoreKind;
use syntrix_storage::conformance::faults::{Fault, FaultRule, Faults, FaultyFactory};
use syntrix_storage::routing::RouteControl;
use syntrix_storage::{
    Clock as _, RevocationOptions, RevocationStatus, RotationOutcome, Storage, StorageConfig,
    SystemClock, Timestamp, TokenId, TokenRevocationStore,
};
use tempfile::TempDir;

use crate::stores::{PATIENCE, RARELY, alone, route};

const PRIMARY: &str = "{kind: sqlite, path: primary.db}";
const SHADOW: &str = "{kind: sqlite, path: shadow.db}";

fn token(text: &str) -> TokenId {
    TokenId::parse(text).unwrap()
}

fn later() -> Timestamp {
    SystemClock.now().saturating_add(Duration::from_secs(900))
}

struct Open {
    storage: Storage,
    revocations: Arc<dyn TokenRevocationStore>,
    control: Arc<dyn RouteControl>,
    folder: TempDir,
}

impl Open {
    async fn in_folder(folder: TempDir) -> Self {
        let config = route("revocation", PRIMARY, SHADOW, folder.path(), RARELY);
        Self::open(config, folder).await
    }

    /// With faults of the primary and of the shadow.
    async fn with_faults() -> (Self, Faults, Faults) {
        let folder = tempfile::tempdir().unwrap();
        let (primary, shadow) = (Faults::seeded(1), Faults::seeded(2));
        let blocks = ("{kind: first, path: primary.db}", "{kind: second, path: shadow.db}");
        let config = route("revocation", blocks.0, blocks.1, folder.path(), RARELY);
        let faulty = |kind, faults: &Faults| {
            let inner = syntrix_storage_sqlite::factory();
            Box::new(FaultyFactory::new(kind, inner, faults.clone()))
        };
        let config = config.with_factory(faulty("first", &primary));
        let config = config.with_factory(faulty("second", &shadow));
        (Self::open(config, folder).await, primary, shadow)
    }

    async fn open(config: StorageConfig, folder: TempDir) -> Self {
        let storage = Storage::from_config(config).await.unwrap();
        let revocations = storage.revocations().unwrap();
        let control = storage.routing(StoreKind::Revocations).unwrap();
        Self { storage, revocations, control, folder }
    }

    async fn drain(&self) {
        self.control.drain(PATIENCE).await.unwrap();
    }

    async fn rotate(&self, name: &str) -> RotationOutcome {
        let (token, grace) = (token(name), Duration::ZERO);
        let options = Default::default();
        let rotated = self.revocations.revoke_if_not_revoked(&token, later(), grace, None, options);
        rotated.await.unwrap()
    }

    async fn revoke(&self, name: &str) {
        revoke(&*self.revocations, name).await;
    }
}

async fn revoke(store: &dyn TokenRevocationStore, name: &str) {
    store.revoke_token_immediate(&token(name), later(), Default::default()).await.unwrap();
}

async fn is_revoked(store: &dyn TokenRevocationStore, name: &str) -> bool {
    store.is_revoked(&token(name), Duration::ZERO, Default::default()).await.unwrap()
}

async fn on_shadow(folder: &TempDir, names: &[&str]) -> Vec<bool> {
    let shadow = alone("revocation", SHADOW, folder.path()).await;
    let store = shadow.revocations().unwrap();
    let mut revoked = Vec::new();
    for name in names {
        revoked.push(is_revoked(&*store, name).await);
    }
    shadow.close().await.unwrap();
    revoked
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_is_on_the_shadow_at_once_and_a_rotation_has_one_winner() {
    let open = Open::in_folder(tempfile::tempdir().unwrap()).await;
    open.drain().await;
    open.revoke("a").await;
    assert!(matches!(open.rotate("b").await, RotationOutcome::Won));
    assert_eq!(on_shadow(&open.folder, &["a", "b", "c"]).await, [true, true, false]);
    assert!(!matches!(open.rotate("b").await, RotationOutcome::Won));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_before_the_route_is_brought_by_a_pass_with_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let before = alone("revocation", PRIMARY, folder.path()).await;
    let store = before.revocations().unwrap();
    for number in 0..600 {
        store.revoke_token(&token(&number.to_string()), later(), Default::default()).await.unwrap();
    }
    before.close().await.unwrap();
    let open = Open::in_folder(folder).await;
    open.drain().await;
    let status = open.control.status().await.unwrap();
    assert!(status.filled && status.replicated.applied >= 600, "{status:?}");
    let shadow = alone("revocation", SHADOW, open.folder.path()).await;
    let backend = shadow.revocations().unwrap();
    for number in [0, 599] {
        let status = backend
            .revocation_status(
                &token(&number.to_string()),
                Duration::from_secs(60),
                Default::default(),
            )
            .await
            .unwrap();
        // A grace that began when the token was revoked, and not only now.
        assert!(matches!(status, RevocationStatus::Grace { .. }), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_if_the_shadow_alone_says_so() {
    let open = Open::in_folder(tempfile::tempdir().unwrap()).await;
    open.drain().await;
    let shadow = alone("revocation", SHADOW, open.folder.path()).await;
    revoke(&*shadow.revocations().unwrap(), "only-there").await;
    assert!(is_revoked(&*open.revocations, "only-there").await);
    assert!(!is_revoked(&*open.revocations, "nowhere").await);
    let many = [token("nowhere"), token("only-there")];
    let grace = Duration::ZERO;
    let answers = open.revocations.is_revoked_many(&many, grace, Default::default()).await.unwrap();
    assert_eq!(answers, [false, true]);
}

/// Case 43 of the catalogue: what was revoked while the shadow was away is revoked all the while.
#[tokio::test(flavor = "multi_thread")]
async fn case_43_a_shadow_that_fails_fails_no_check_and_a_primary_that_fails_does() {
    let (open, primary, shadow) = Open::with_faults().await;
    open.drain().await;
    open.revoke("a").await;
    shadow.add(FaultRule::new(Fault::FailBefore));
    for _ in 0..20 {
        assert!(is_revoked(&*open.revocations, "a").await);
        assert!(!is_revoked(&*open.revocations, "b").await);
    }
    open.revoke("b").await;
    primary.add(FaultRule::new(Fault::FailBefore));
    let a = token("a");
    let check = open.revocations.is_revoked(&a, Duration::ZERO, Default::default());
    check.await.expect_err("a check without the primary");
    primary.heal();
    shadow.heal();
    // What the shadow missed meanwhile the next pass brings.
    open.drain().await;
    assert_eq!(on_shadow(&open.folder, &["a", "b"]).await, [true, true]);
    open.storage.close().await.unwrap();
}

/// The shadow is frozen and the callers are in a hurry: they lose a moment to it, and soon nothing.
#[tokio::test(flavor = "multi_thread")]
async fn case_43_a_shadow_that_hangs_fails_no_check_that_has_a_timeout() {
    let (open, _, shadow) = Open::with_faults().await;
    open.drain().await;
    open.revoke("a").await;
    shadow.add(FaultRule::new(Fault::Hang));
    let a = token("a");
    for _ in 0..40 {
        let hurried = RevocationOptions::default().with_timeout(Duration::from_millis(300));
        assert!(open.revocations.is_revoked(&a, Duration::ZERO, hurried).await.unwrap());
    }
    let status = open.control.status().await.unwrap();
    assert!(status.mirror.opened > 0, "the breaker never opened");
    shadow.heal();
    open.storage.close().await.unwrap();
}

/// Case 44 of the catalogue, as far as a route without a cutover goes: three openers of one route.
#[tokio::test(flavor = "multi_thread")]
async fn case_44_every_token_has_one_winner_whoever_rotates_it() {
    let first = Open::in_folder(tempfile::tempdir().unwrap()).await;
    first.drain().await;
    let mut storages = Vec::new();
    for _ in 0..2 {
        let config = route("revocation", PRIMARY, SHADOW, first.folder.path(), RARELY);
        storages.push(Storage::from_config(config).await.unwrap());
    }
    let mut openers: Vec<_> =
        storages.iter().map(|storage| storage.revocations().unwrap()).collect();
    openers.push(Arc::clone(&first.revocations));
    for number in 0..50 {
        let rotations = openers.iter().map(|opener| {
            let opener = Arc::clone(opener);
            tokio::spawn(async move {
                let (token, grace) = (token(&number.to_string()), Duration::ZERO);
                let options = Default::default();
                opener.revoke_if_not_revoked(&token, later(), grace, None, options).await.unwrap()
            })
        });
        let mut winners = 0;
        for rotation in rotations.collect::<Vec<_>>() {
            winners += usize::from(matches!(rotation.await.unwrap(), RotationOutcome::Won));
        }
        assert_eq!(winners, 1, "token {number}");
    }
    first.drain().await;
    assert_eq!(on_shadow(&first.folder, &["0", "49"]).await, [true, true]);
    for storage in storages {
        storage.close().await.unwrap();
    }
}
