//! Routes that read from their shadow: nobody reads what is older than what they saw.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::conformance::faults::{Fault, FaultRule, Faults, FaultyFactory, Method};
use syntrix_storage::routing::{ReadRules, VerifyOptions};
use syntrix_storage::{
    Consistency, DocumentPath, DocumentStore, ErrorKind, Query, QueryOptions, ReadOptions, Storage,
    StorageConfig,
};
use tempfile::TempDir;

use crate::pair::path;

const PATIENCE: Duration = Duration::from_secs(30);

/// A route with SQLite behind both blocks; the shadow's calls go through `faults`.
pub struct Route {
    pub storage: Storage,
    pub faults: Faults,
    pub folder: TempDir,
}

impl Route {
    pub async fn open(route: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::seeded(1);
        let config = config(folder.path(), route, &faults);
        Self { storage: Storage::from_config(config).await.unwrap(), faults, folder }
    }

    /// With short pauses between two looks at what differed.
    pub async fn open_quick(route: &str) -> Self {
        let mut rules = ReadRules::default();
        rules.recheck_pauses = [100, 200, 400].map(Duration::from_millis);
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::seeded(1);
        let config = config(folder.path(), route, &faults).with_read_rules(rules);
        Self { storage: Storage::from_config(config).await.unwrap(), faults, folder }
    }

    pub fn documents(&self) -> std::sync::Arc<dyn DocumentStore> {
        self.storage.documents().unwrap()
    }

    pub async fn drain(&self) {
        self.storage.routing(StoreKind::Documents).unwrap().drain(PATIENCE).await.unwrap();
    }

    /// The shadow gets nothing more: neither mirror nor feed arrive.
    pub fn stop_replication(&self) {
        self.faults.add(FaultRule::new(Fault::FailBefore).at(Method::Write));
    }

    pub async fn create(&self, text: &str, n: i64) {
        self.documents().create(&path(text), json!({"n": n}), Default::default()).await.unwrap();
    }

    pub async fn update(&self, text: &str, n: i64) {
        self.documents().update(&path(text), json!({"n": n}), Default::default()).await.unwrap();
    }

    pub async fn read(&self, text: &str, consistency: Consistency) -> i64 {
        read(&*self.documents(), &path(text), consistency).await
    }
}

async fn read(documents: &dyn DocumentStore, path: &DocumentPath, consistency: Consistency) -> i64 {
    let options = ReadOptions::default().with_consistency(consistency);
    documents.get(path, options).await.unwrap().value().unwrap()["n"].as_i64().unwrap()
}

fn config(folder: &Path, route: &str, faults: &Faults) -> StorageConfig {
    config_with_shadow(folder, route, "shadow.db", faults)
}

fn config_with_shadow(folder: &Path, route: &str, shadow: &str, faults: &Faults) -> StorageConfig {
    let text = format!(
        "storage:\n  document:\n    backend: main\n    main: {{kind: sqlite, path: primary.db}}\n    \
         other: {{kind: faulty, path: {shadow}}}\n  routing:\n    document: {{shadow: other, {route}}}\n"
    );
    let faulty = FaultyFactory::new("faulty", syntrix_storage_sqlite::factory(), faults.clone());
    StorageConfig::from_yaml(text, "route.yaml")
        .with_data_dir(folder)
        .with_factory(Box::new(faulty))
}

const REPLICA: &str = "strategy: read-replica";
const READ_SHADOW: &str = "strategy: dual-write, reads: shadow";

/// With the replication stopped the shadow goes on to answer what nobody changed, so this shows that it is asked at all.
pub async fn plant(route: &Route, text: &str, n: i64) {
    let main = StorageConfig::from_yaml(
        "storage: {document: {backend: b, b: {kind: sqlite, path: shadow.db}}}",
        "shadow.yaml",
    );
    let shadow = Storage::from_config(main.with_data_dir(route.folder.path())).await.unwrap();
    let documents = shadow.documents().unwrap();
    documents.update(&path(text), json!({"n": n}), Default::default()).await.unwrap();
    shadow.close().await.unwrap();
}

#[tokio::test]
async fn reads_come_from_the_shadow_but_for_strong_ones() {
    for strategy in [REPLICA, READ_SHADOW] {
        let route = Route::open(strategy).await;
        route.create("rooms/a", 1).await;
        route.drain().await;
        plant(&route, "rooms/a", 100).await;
        // Until the session has seen that the shadow has the write, the primary answers.
        let mut found = 0;
        for _ in 0..500 {
            found = route.read("rooms/a", Consistency::Session).await;
            if found == 100 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(found, 100, "{strategy}");
        assert_eq!(route.read("rooms/a", Consistency::Any).await, 100);
        assert_eq!(route.read("rooms/a", Consistency::Strong).await, 1);
        route.storage.close().await.unwrap();
    }
}

/// Cases 77 and 79.
#[tokio::test]
async fn a_session_never_reads_older_than_it_saw_while_replication_stands_still() {
    for strategy in [REPLICA, READ_SHADOW] {
        let route = Route::open(strategy).await;
        for number in 0..20 {
            route.create(&format!("rooms/r{number}"), 0).await;
        }
        route.drain().await;
        route.stop_replication();
        for n in 1..=50 {
            let text = format!("rooms/r{}", n % 20);
            route.update(&text, n).await;
            assert_eq!(route.read(&text, Consistency::Session).await, n, "{strategy}");
            let query = Query::new("rooms").unwrap();
            let page = route.documents().query(query, QueryOptions::default()).await.unwrap();
            let seen = page.documents.iter().find(|found| found.path() == &path(&text)).unwrap();
            assert_eq!(seen.value().unwrap()["n"], n);
        }
        route.create("rooms/new", 7).await;
        assert_eq!(
            route.read("rooms/new", Consistency::Session).await,
            7,
            "a new document is found"
        );
        route.documents().delete(&path("rooms/r1"), Default::default()).await.unwrap();
        let gone = route.documents().get(&path("rooms/r1"), Default::default()).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        // What nobody of this session changed may be as old as the replica is.
        assert_eq!(route.read("rooms/r2", Consistency::Any).await, 0);
        route.faults.heal();
        route.storage.close().await.unwrap();
    }
}

/// What was seen with a strong read is seen by the next one of the session too.
#[tokio::test]
async fn time_does_not_run_backwards_after_a_read_of_the_primary() {
    let route = Route::open(REPLICA).await;
    route.create("rooms/a", 1).await;
    route.drain().await;
    route.stop_replication();
    let text = "storage: {document: {backend: b, b: {kind: sqlite, path: primary.db}}}";
    let other = StorageConfig::from_yaml(text, "other.yaml").with_data_dir(route.folder.path());
    let other = Storage::from_config(other).await.unwrap();
    let documents = other.documents().unwrap();
    documents.update(&path("rooms/a"), json!({"n": 2}), Default::default()).await.unwrap();

    assert_eq!(route.read("rooms/a", Consistency::Strong).await, 2);
    assert_eq!(route.read("rooms/a", Consistency::Session).await, 2);
    route.faults.heal();
    other.close().await.unwrap();
    route.storage.close().await.unwrap();
}

#[tokio::test]
async fn a_session_token_carries_a_write_to_another_handle() {
    let writer = Route::open(REPLICA).await;
    let lobby = path("rooms/lobby");
    writer.create("rooms/lobby", 1).await;
    writer.drain().await;
    let reader = config(writer.folder.path(), REPLICA, &writer.faults);
    let reader = Storage::from_config(reader).await.unwrap();
    let documents = reader.documents().unwrap();
    reader.routing(StoreKind::Documents).unwrap().drain(PATIENCE).await.unwrap();
    writer.stop_replication();
    let written = writer.documents().update(&lobby, json!({"n": 2}), Default::default()).await;
    let token = written.unwrap().session_token();
    let token = syntrix_storage::SessionToken::from_text(token.as_str());

    let options = ReadOptions::default().with_session(token.clone());
    assert_eq!(documents.get(&lobby, options).await.unwrap().value().unwrap()["n"], 2);
    let options = QueryOptions::default().with_session(token);
    let page = documents.query(Query::new("rooms").unwrap(), options).await.unwrap();
    assert_eq!(page.documents[0].value().unwrap()["n"], 2);

    let damaged =
        ReadOptions::default().with_session(syntrix_storage::SessionToken::from_text("x"));
    let error = documents.get(&lobby, damaged).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenMalformed);
    writer.faults.heal();
    reader.close().await.unwrap();
    writer.storage.close().await.unwrap();
}

/// Case 80.
#[tokio::test]
async fn a_dead_shadow_changes_no_answer() {
    for strategy in [REPLICA, READ_SHADOW] {
        let route = Route::open(strategy).await;
        route.create("rooms/a", 1).await;
        route.drain().await;
        for method in [Method::Get, Method::GetMany, Method::Query, Method::Write, Method::Scan] {
            route.faults.add(FaultRule::new(Fault::FailBefore).at(method));
        }
        for n in 2..60 {
            for consistency in [Consistency::Any, Consistency::Session] {
                assert_eq!(route.read("rooms/a", consistency).await, n - 1, "{strategy}");
            }
            route.update("rooms/a", n).await;
        }
        route.faults.heal();
        route.storage.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_bounded_read_takes_the_shadow_only_while_it_is_known_to_be_that_fresh() {
    let route = Route::open(REPLICA).await;
    route.create("rooms/a", 1).await;
    route.drain().await;
    plant(&route, "rooms/a", 100).await;
    let bound = Consistency::Bounded(Duration::from_secs(5));
    let mut found = 0;
    for _ in 0..500 {
        found = route.read("rooms/a", bound).await;
        if found == 100 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(found, 100, "the shadow is fresh");
    let at_once = Consistency::Bounded(Duration::ZERO);
    assert_eq!(route.read("rooms/a", at_once).await, 1, "nothing is that fresh but the primary");
    route.storage.close().await.unwrap();
}

#[tokio::test]
async fn a_shadow_that_is_not_filled_is_not_read() {
    let route = Route::open(READ_SHADOW).await;
    // Nothing can be copied, so it is never filled.
    route.stop_replication();
    route.create("rooms/a", 1).await;
    for consistency in [Consistency::Any, Consistency::Session] {
        assert_eq!(route.read("rooms/a", consistency).await, 1);
    }
    route.faults.heal();
    route.storage.close().await.unwrap();
}

/// A shadow with the primary's own store id is one that its database replicates to. Here it is the primary's file itself.
#[tokio::test]
async fn a_native_replica_is_read_and_compared_and_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::seeded(1);
    let config = config_with_shadow(folder.path(), REPLICA, "primary.db", &faults);
    let storage = Storage::from_config(config).await.unwrap();
    let route = Route { storage, faults, folder };
    // Whatever is written to the replica would fail.
    route.stop_replication();
    for n in 0..20 {
        route.create(&format!("rooms/r{n}"), n).await;
        assert_eq!(route.read(&format!("rooms/r{n}"), Consistency::Session).await, n);
    }
    let bound = Consistency::Bounded(Duration::from_secs(20));
    assert_eq!(route.read("rooms/r3", bound).await, 3);
    let control = route.storage.document_route().unwrap();
    let summary =
        control.verify(VerifyOptions::default(), PATIENCE, &mut |_| Ok(())).await.unwrap();
    assert!(summary.equal && summary.primary.documents == 20, "{summary:?}");
    assert_eq!(control.repair().unwrap_err().kind(), ErrorKind::Unsupported);
    let failed = route.faults.injected();
    assert_eq!(failed, 0, "nothing was written to the replica");
    // The replica answers: when it does not, the primary does, and the faults are seen.
    route.faults.add(FaultRule::new(Fault::FailBefore).at(Method::Get));
    assert_eq!(route.read("rooms/r3", Consistency::Any).await, 3);
    assert_eq!(route.faults.injected(), 1);
    route.faults.heal();
    route.storage.close().await.unwrap();
}
