//! The suite itself: it finds deliberate defects, survives panics and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod documents;
mod model;
mod revocations;
mod routes;
mod users;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::conformance::{
    Group, Handle, Harness, Report, Route, Selection, Setup, Verdict, cases, run,
};
use syntrix_storage::{
    Capabilities, DocumentAdmin, DocumentStore, Result, StorageConfig, StorageHarness, StoreAdmin,
    TokenRevocationStore, UserStore,
};

use documents::BrokenStore;
use revocations::{BrokenRevocations, Loosened};
use routes::BrokenRoute;
use users::BrokenUsers;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    None,
    IgnoresPreconditions,
    CreatesOverLive,
    ShowsTombstones,
    ForgetsTheCursor,
    DeclaresIndexesItself,
    FoldsCase,
    LosesEvents,
    DoublesEvents,
    ResumesFromOldest,
    StaysOpen,
    Panics,
    FindsNamesExactly,
    ListsHashes,
    LosesTheLastOfAList,
    IgnoresExpectedVersions,
    RestoresOnUpdate,
    CountsAttemptsAfterwards,
    LiftsLocksWithStaleTickets,
    HidesDisabledAccounts,
    ClearsLocksAsEpoch,
    KnowsNoRevocations,
    RevokesEverybody,
    ImmediateIsGraceful,
    ForgetsImmediate,
    GraceIncludesItsEnd,
    EverybodyWins,
    AnswersInReverse,
    FoldsTokenIds,
    AnswersWhenClosed,
    ClaimsToBeShared,
    DeniesWatch,
    VerifiesNothing,
    RepairsNothing,
    DropsNoRoute,
}

/// Each defect and the case that must find it.
const KILLS: [(Defect, &str); 34] = [
    (Defect::IgnoresPreconditions, "PRE-02"),
    (Defect::CreatesOverLive, "DOC-02"),
    (Defect::ShowsTombstones, "QRY-26"),
    (Defect::ForgetsTheCursor, "PAG-01"),
    (Defect::DeclaresIndexesItself, "IDX-03"),
    (Defect::FoldsCase, "DOC-28"),
    (Defect::LosesEvents, "WAT-14"),
    (Defect::DoublesEvents, "WAT-01"),
    (Defect::ResumesFromOldest, "RES-01"),
    (Defect::StaysOpen, "CLS-02"),
    (Defect::Panics, "DOC-01"),
    (Defect::FindsNamesExactly, "USR-04"),
    (Defect::ListsHashes, "USR-23"),
    (Defect::LosesTheLastOfAList, "USR-23"),
    (Defect::IgnoresExpectedVersions, "USR-15"),
    (Defect::RestoresOnUpdate, "USR-18"),
    (Defect::CountsAttemptsAfterwards, "USR-31"),
    (Defect::LiftsLocksWithStaleTickets, "USR-33"),
    (Defect::HidesDisabledAccounts, "USR-30"),
    (Defect::ClearsLocksAsEpoch, "USR-20"),
    (Defect::KnowsNoRevocations, "REV-02"),
    (Defect::RevokesEverybody, "REV-01"),
    (Defect::ImmediateIsGraceful, "REV-05"),
    (Defect::ForgetsImmediate, "REV-08"),
    (Defect::GraceIncludesItsEnd, "REV-04"),
    (Defect::EverybodyWins, "REV-16"),
    (Defect::AnswersInReverse, "REV-30"),
    (Defect::FoldsTokenIds, "REV-20"),
    (Defect::AnswersWhenClosed, "REV-18"),
    (Defect::ClaimsToBeShared, "OBS-07"),
    (Defect::DeniesWatch, "OBS-07"),
    (Defect::VerifiesNothing, "RTE-16"),
    (Defect::RepairsNothing, "RTE-09"),
    (Defect::DropsNoRoute, "RTE-14"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_deliberate_defect_is_found_by_its_case() {
    for (defect, id) in KILLS {
        let sound = run_case(Defect::None, id).await;
        assert_eq!((sound.passed, sound.failed), (1, 0), "{id}: {}", sound.failures());
        let broken = run_case(defect, id).await;
        assert_eq!((broken.passed, broken.failed), (0, 1), "{id} does not see {defect:?}");
    }
}

#[test]
fn the_guide_lists_every_defect_with_its_case() {
    let guide = include_str!("../../../../docs/writing-a-backend.md");
    for (defect, id) in KILLS {
        let spaced = |character: char| match character.is_uppercase() {
            true => format!(" {}", character.to_lowercase()),
            false => character.to_string(),
        };
        let words: String = format!("{defect:?}").chars().map(spaced).collect();
        let row = format!("| {} | {id} |", words.trim());
        assert!(guide.contains(&row), "{row} is not in the guide");
    }
}

/// Guards against a table that promises cases nobody has.
#[test]
fn every_case_that_the_documentation_names_is_there() {
    let text = include_str!("../../../../docs/conformance.md");
    let words =
        text.split(|character: char| !character.is_ascii_alphanumeric() && character != '-');
    let named: Vec<_> = words.filter(|word| is_case_id(word)).collect();
    assert!(named.len() > 40, "hardly any case is named");
    for id in named {
        assert!(cases().into_iter().any(|case| case.id == id), "there is no case {id}");
    }
}

/// Three letters, a dash and two digits.
fn is_case_id(word: &str) -> bool {
    word.split_once('-').is_some_and(|(group, number)| {
        group.parse::<Group>().is_ok() && number.len() == 2 && number.parse::<u8>().is_ok()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_its_case_alone_and_its_namespace_is_removed() {
    let harness = Arc::new(Broken::new(Defect::Panics).await);
    let selection = Selection::all().with_groups([Group::Doc]).with_filter("doc-0");
    let report = run(harness.clone(), &selection, |_| {}).await;
    assert!(report.failed > 0 && report.failures().contains("panicked: a defect"));
    assert_eq!(report.cases.len(), 9);
    assert_eq!(harness.leftovers().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_has_every_case_in_the_order_of_the_catalogue() {
    let harness = Arc::new(Broken::new(Defect::None).await);
    let selection = Selection::all().with_groups([Group::Wat, Group::Reg]).with_jobs(4);
    let mut seen = 0;
    let report = run(harness, &selection, |_| seen += 1).await;
    let ids: Vec<_> = report.cases.iter().map(|case| case.id.as_str()).collect();
    let selected = cases().into_iter().filter(|case| selection.groups.contains(&case.group));
    assert_eq!(ids, selected.map(|case| case.id).collect::<Vec<_>>());
    assert_eq!(seen, ids.len());
    assert_eq!(report.failed, 0, "{}", report.failures());
    let counted = report.passed + report.failed + report.not_applicable;
    assert_eq!(counted, ids.len());

    let text = serde_json::to_value(&report).unwrap();
    assert_eq!(text["backend"], "memory");
    assert_eq!(text["notApplicable"], report.not_applicable);
    assert!(text["cases"][0]["milliseconds"].is_u64());
    for case in text["cases"].as_array().unwrap() {
        let expected =
            if case["verdict"] == "passed" { json!(null) } else { case["reason"].clone() };
        assert_eq!(case["reason"], expected);
        assert!(["passed", "not_applicable"].contains(&case["verdict"].as_str().unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_capability_is_a_reason_and_no_success() {
    let harness = Broken { capabilities: Capabilities::NONE, ..Broken::new(Defect::None).await };
    let selection = Selection::all().with_filter("WAT-01");
    let report = run(Arc::new(harness), &selection, |_| {}).await;
    let case = &report.cases[0];
    assert_eq!(case.verdict, Verdict::NotApplicable);
    assert!(case.reason.as_deref().unwrap().contains("watch"));
    assert!(!report.is_success());
}

async fn run_case(defect: Defect, id: &str) -> Report {
    let harness = Arc::new(match id.starts_with(Group::Rte.as_str()) {
        true => Broken::over(routes::open().await, defect),
        false => Broken::new(defect).await,
    });
    let report = run(harness.clone(), &Selection::all().with_filter(id), |_| {}).await;
    assert_eq!(report.cases.len(), 1, "{id} is one case");
    assert_eq!(harness.leftovers().await.unwrap(), Vec::<String>::new());
    report
}

/// A sound harness whose stores have one defect.
struct Broken {
    inner: StorageHarness,
    capabilities: Capabilities,
    defect: Defect,
}

impl Broken {
    async fn new(defect: Defect) -> Self {
        let memory = StorageHarness::open(StorageConfig::memory()).await.unwrap();
        Self::over(memory, defect)
    }

    fn over(inner: StorageHarness, defect: Defect) -> Self {
        let mut capabilities = inner.capabilities(StoreKind::Documents).unwrap();
        capabilities.shared |= defect == Defect::ClaimsToBeShared;
        capabilities.watch &= defect != Defect::DeniesWatch;
        Self { capabilities, inner, defect }
    }
}

#[async_trait]
impl Harness for Broken {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self, store: StoreKind) -> Option<Capabilities> {
        match store {
            StoreKind::Documents => Some(self.capabilities),
            _ => self.inner.capabilities(store),
        }
    }

    async fn open(&self, namespace: &str, setup: &Setup) -> Result<Arc<dyn Handle>> {
        let handle = self.inner.open(namespace, setup).await?;
        Ok(Arc::new(BrokenHandle { handle, defect: self.defect, loosened: Loosened::default() }))
    }

    async fn remove(&self, namespace: &str) -> Result<()> {
        self.inner.remove(namespace).await
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        self.inner.leftovers().await
    }

    fn config_block(&self) -> String {
        self.inner.config_block()
    }

    async fn check_config(&self, yaml: &str, environment: &[(&str, &str)]) -> Result<Vec<String>> {
        self.inner.check_config(yaml, environment).await
    }

    async fn open_config(&self, yaml: &str) -> Result<Arc<dyn Handle>> {
        self.inner.open_config(yaml).await
    }
}

struct BrokenHandle {
    handle: Arc<dyn Handle>,
    defect: Defect,
    loosened: Loosened,
}

#[async_trait]
impl Handle for BrokenHandle {
    fn documents(&self) -> Result<Arc<dyn DocumentStore>> {
        let (inner, admin) = (self.handle.documents()?, self.handle.admin()?);
        Ok(Arc::new(BrokenStore { inner, admin, defect: self.defect }))
    }

    fn admin(&self) -> Result<Arc<dyn DocumentAdmin>> {
        self.handle.admin()
    }

    fn users(&self) -> Result<Arc<dyn UserStore>> {
        Ok(Arc::new(BrokenUsers { inner: self.handle.users()?, defect: self.defect }))
    }

    fn revocations(&self) -> Result<Arc<dyn TokenRevocationStore>> {
        let (inner, loosened) = (self.handle.revocations()?, self.loosened.clone());
        Ok(Arc::new(BrokenRevocations::new(inner, self.defect, loosened)))
    }

    fn store_admin(&self, store: StoreKind) -> Result<Arc<dyn StoreAdmin>> {
        self.handle.store_admin(store)
    }

    fn route(&self) -> Result<Arc<dyn Route>> {
        Ok(Arc::new(BrokenRoute { inner: self.handle.route()?, defect: self.defect }))
    }

    async fn close(&self) -> Result<()> {
        self.handle.close().await
    }
}
