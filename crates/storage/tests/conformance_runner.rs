//! The suite itself: it finds deliberate defects, survives panics and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use serde_json::{Value, json};
use syntrix_storage::conformance::{
    Group, Handle, Harness, Report, Selection, Setup, Verdict, cases, run,
};
use syntrix_storage::{
    BulkItem, BulkOptions, Capabilities, CollectionPath, Document, DocumentAdmin, DocumentPath,
    DocumentStore, ErrorKind, Page, Patch, Query, QueryOptions, ReadOptions, Result, StorageConfig,
    StorageHarness, WatchOptions, WatchStart, WatchStream, WriteOptions, WriteResult,
};

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
}

/// Each defect and the case that must find it.
const KILLS: [(Defect, &str); 11] = [
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
    let harness = Arc::new(Broken::new(defect).await);
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
        let inner = StorageHarness::open(StorageConfig::memory()).await.unwrap();
        Self { capabilities: inner.capabilities(), inner, defect }
    }
}

#[async_trait]
impl Harness for Broken {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn open(&self, namespace: &str, setup: &Setup) -> Result<Arc<dyn Handle>> {
        let handle = self.inner.open(namespace, setup).await?;
        Ok(Arc::new(BrokenHandle { handle, defect: self.defect }))
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
}

#[async_trait]
impl Handle for BrokenHandle {
    fn documents(&self) -> Arc<dyn DocumentStore> {
        let (inner, admin) = (self.handle.documents(), self.handle.admin());
        Arc::new(BrokenStore { inner, admin, defect: self.defect })
    }

    fn admin(&self) -> Arc<dyn DocumentAdmin> {
        self.handle.admin()
    }

    async fn close(&self) -> Result<()> {
        self.handle.close().await
    }
}

#[derive(Debug)]
struct BrokenStore {
    inner: Arc<dyn DocumentStore>,
    admin: Arc<dyn DocumentAdmin>,
    defect: Defect,
}

impl BrokenStore {
    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn path(&self, path: &DocumentPath) -> DocumentPath {
        match self.has(Defect::FoldsCase) {
            true => DocumentPath::parse(&path.as_str().to_lowercase()).unwrap(),
            false => path.clone(),
        }
    }

    fn options(&self, mut options: WriteOptions) -> WriteOptions {
        if self.has(Defect::IgnoresPreconditions) {
            options.preconditions.clear();
        }
        options
    }
}

#[async_trait]
impl DocumentStore for BrokenStore {
    async fn get(&self, path: &DocumentPath, options: ReadOptions) -> Result<Document> {
        assert!(!self.has(Defect::Panics), "a defect");
        self.inner.get(&self.path(path), options).await
    }

    async fn get_many(
        &self,
        paths: &[DocumentPath],
        options: ReadOptions,
    ) -> Result<Vec<Option<Document>>> {
        self.inner.get_many(paths, options).await
    }

    async fn create(
        &self,
        path: &DocumentPath,
        data: Value,
        options: WriteOptions,
    ) -> Result<WriteResult> {
        let path = &self.path(path);
        match self.inner.create(path, data.clone(), options.clone()).await {
            Err(error)
                if error.kind() == ErrorKind::AlreadyExists
                    && self.has(Defect::CreatesOverLive) =>
            {
                self.inner.update(path, data, options).await
            }
            result => result,
        }
    }

    async fn update(
        &self,
        path: &DocumentPath,
        data: Value,
        options: WriteOptions,
    ) -> Result<WriteResult> {
        self.inner.update(&self.path(path), data, self.options(options)).await
    }

    async fn patch(
        &self,
        path: &DocumentPath,
        patch: Patch,
        options: WriteOptions,
    ) -> Result<WriteResult> {
        self.inner.patch(&self.path(path), patch, self.options(options)).await
    }

    async fn delete(&self, path: &DocumentPath, options: WriteOptions) -> Result<WriteResult> {
        self.inner.delete(&self.path(path), self.options(options)).await
    }

    async fn query(&self, query: Query, options: QueryOptions) -> Result<Page> {
        let query = match self.has(Defect::ShowsTombstones) {
            true => query.show_deleted(true),
            false => query,
        };
        match self.inner.query(query.clone(), options.clone()).await {
            Err(error)
                if error.kind() == ErrorKind::IndexRequired
                    && self.has(Defect::DeclaresIndexesItself) =>
            {
                let index = error.suggestion().unwrap().to_definition()?;
                self.admin.create_index(&index).await?;
                self.inner.query(query, options).await
            }
            Ok(mut page) if self.has(Defect::ForgetsTheCursor) => {
                page.next = None;
                Ok(page)
            }
            result => result,
        }
    }

    async fn watch(
        &self,
        collection: Option<&CollectionPath>,
        start: WatchStart,
        options: WatchOptions,
    ) -> Result<WatchStream> {
        let start = match start {
            WatchStart::Token(_) if self.has(Defect::ResumesFromOldest) => WatchStart::Oldest,
            start => start,
        };
        let stream = self.inner.watch(collection, start, options).await?;
        let (defect, mut number) = (self.defect, 0);
        let broken = stream.flat_map(move |item| {
            number += 1;
            let copies = match defect {
                Defect::LosesEvents if number == 700 => 0,
                Defect::DoublesEvents if number % 2 == 1 => 2,
                _ => 1,
            };
            let items: Vec<_> = match item {
                Ok(item) => (0..copies).map(|_| Ok(item.clone())).collect(),
                Err(error) => vec![Err(error)],
            };
            futures_util::stream::iter(items)
        });
        Ok(broken.boxed())
    }

    async fn bulk(
        &self,
        items: Vec<BulkItem>,
        options: BulkOptions,
    ) -> Result<Vec<Result<WriteResult>>> {
        self.inner.bulk(items, options).await
    }

    async fn close(&self) -> Result<()> {
        match self.has(Defect::StaysOpen) {
            true => Ok(()),
            false => self.inner.close().await,
        }
    }
}
