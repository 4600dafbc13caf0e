//! What operators see of calls, and that no value or credential is in it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::future::Future;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use serde_json::json;
use syntrix_storage_core::backend::{Backend, OpenContext};
use syntrix_storage_core::{
    DocumentPath, DocumentStore, Location, LoginPolicy, NewUser, Secret, SettingsNode,
    SettingsValue, Timestamp, TokenId, TokenRevocationStore, UserStore,
};
use syntrix_storage_engine::{DocumentEngine, EngineOptions, RevocationEngine, UserEngine};
use tracing_subscriber::fmt::format::FmtSpan;

/// Part of every value that goes in.
const CANARY: &str = "canary";

/// Everything that is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs `work` on one thread with a recorder and a subscriber of its own; gives what they saw.
fn observed<F: Future<Output = ()>>(work: impl FnOnce() -> F) -> (Snapshotter, String) {
    let (recorder, log) = (DebuggingRecorder::new(), Log::default());
    let snapshotter = recorder.snapshotter();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        metrics::with_local_recorder(&recorder, || runtime.block_on(work()));
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (snapshotter, text)
}

async fn backend() -> Arc<dyn Backend> {
    let factory = syntrix_storage_memory::factory();
    let empty = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
    factory.configure(&empty).unwrap().open(&OpenContext::new(".")).await.unwrap()
}

async fn documents() -> DocumentEngine {
    DocumentEngine::start(backend().await.documents().unwrap(), EngineOptions::default())
}

/// One line per series: kind, name, labels, value.
fn series(snapshotter: &Snapshotter) -> BTreeSet<String> {
    let line = |(key, _, _, value): (metrics_util::CompositeKey, _, _, DebugValue)| {
        let labels: Vec<_> =
            key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match (key.kind(), value) {
            (MetricKind::Counter, DebugValue::Counter(count)) => count.to_string(),
            (_, DebugValue::Histogram(samples)) if samples.is_empty() => "never".into(),
            _ => "some".into(),
        };
        format!("{} {} {value}", key.key().name(), labels.join(","))
    };
    snapshotter.snapshot().into_vec().into_iter().map(line).collect()
}

#[test]
fn every_call_is_counted_and_failures_by_kind() {
    let (snapshotter, log) = observed(|| async {
        let store = documents().await;
        let path = DocumentPath::parse("c/x").unwrap();
        store.create(&path, json!({}), Default::default()).await.unwrap();
        store.create(&path, json!({}), Default::default()).await.unwrap_err();
        for _ in 0..200 {
            store.get(&path, Default::default()).await.unwrap();
        }
        store.close().await.unwrap();
        store.get(&path, Default::default()).await.unwrap_err();
    });
    let seen = series(&snapshotter);
    let labels = |operation: &str| format!("store=documents,backend=memory,operation={operation}");
    for expected in [
        format!("syntrix_storage_operations_total {} 2", labels("create")),
        format!("syntrix_storage_operations_total {} 201", labels("get")),
        format!("syntrix_storage_operations_total {} 0", labels("patch")),
        format!("syntrix_storage_errors_total {},kind=already_exists 1", labels("create")),
        format!("syntrix_storage_errors_total {},kind=closed 1", labels("get")),
        format!("syntrix_storage_operation_duration_seconds {} some", labels("get")),
        format!("syntrix_storage_operation_duration_seconds {} never", labels("patch")),
    ] {
        assert!(seen.contains(&expected), "{expected} is not in {seen:#?}");
    }
    let spans = log.lines().filter(|line| line.contains("close"));
    let creates: Vec<_> = spans.filter(|line| line.contains(r#"operation="create""#)).collect();
    assert_eq!(creates.len(), 2, "one span per call: {log}");
    assert!(creates[0].contains(r#"store="documents" backend="memory""#), "{}", creates[0]);
    assert!(creates[0].contains(r#"outcome="ok""#), "{}", creates[0]);
    assert!(creates[1].contains(r#"outcome="already_exists""#), "{}", creates[1]);
}

#[test]
fn a_thousand_paths_make_no_further_series() {
    let counted = |paths: usize| {
        let (snapshotter, _) = observed(|| async move {
            let store = documents().await;
            for number in 0..paths {
                let path = DocumentPath::parse(&format!("c{number}/x{number}")).unwrap();
                store.create(&path, json!({}), Default::default()).await.unwrap();
                store.get(&path, Default::default()).await.unwrap();
            }
        });
        series(&snapshotter).len()
    };
    assert_eq!(counted(1), counted(1000));
}

/// Every operation that takes a value, right and wrong ones.
async fn use_everything_with_canaries() {
    let backend = backend().await;
    let documents = DocumentEngine::start(backend.documents().unwrap(), EngineOptions::default());
    let path = DocumentPath::parse("canary-c/canary-x").unwrap();
    let data = json!({"canary-key": "canary-value"});
    documents.create(&path, data.clone(), Default::default()).await.unwrap();
    documents.create(&path, data.clone(), Default::default()).await.unwrap_err();
    documents.update(&path, data, Default::default()).await.unwrap();
    documents.update(&path, json!(["canary-value"]), Default::default()).await.unwrap_err();

    let users = UserEngine::start(backend.users().unwrap(), &EngineOptions::default());
    let user = || NewUser::new("canary-name", Secret::new("$canary$hash"), "argon2id");
    let id = users.create_user(user(), Default::default()).await.unwrap().id;
    users.create_user(user(), Default::default()).await.unwrap_err();
    users.get_user_by_username("canary-nobody", Default::default()).await.unwrap_err();
    let mut wrong = user();
    wrong.roles.insert("CANARY canary".into());
    users.create_user(wrong, Default::default()).await.unwrap_err();
    let policy = LoginPolicy::default();
    users.begin_login_attempt(&id, policy, Default::default()).await.unwrap();
    let hash = Secret::new("$canary$other");
    users.set_password(&id, hash, "canary scheme", true, Default::default()).await.unwrap_err();

    let options = EngineOptions::default();
    let revocations = RevocationEngine::start(backend.revocations().unwrap(), &options);
    let token = TokenId::parse("canary-token").unwrap();
    revocations.revoke_token(&token, Timestamp::LATEST, Default::default()).await.unwrap();
    let grace = Duration::from_secs(1);
    revocations.is_revoked(&token, grace, Default::default()).await.unwrap();
    revocations.close().await.unwrap();
    revocations.is_revoked(&token, grace, Default::default()).await.unwrap_err();
}

#[test]
fn neither_metrics_nor_spans_nor_logs_carry_a_value() {
    let (snapshotter, log) = observed(use_everything_with_canaries);
    assert!(log.contains("begin_login_attempt") && log.contains("revoke_token"), "{log}");
    let seen = series(&snapshotter);
    assert!(seen.iter().any(|line| line.contains("store=users")), "{seen:#?}");
    let found = seen.iter().map(String::as_str).chain(log.lines());
    let found: Vec<_> = found.filter(|line| line.to_lowercase().contains(CANARY)).collect();
    assert_eq!(found, Vec::<&str>::new());
}

#[test]
fn every_operation_has_its_series_from_the_start() {
    let (snapshotter, _) = observed(use_everything_with_canaries);
    let calls = |line: &&String| line.starts_with("syntrix_storage_operations_total");
    let seen = series(&snapshotter);
    assert_eq!(seen.iter().filter(calls).count(), 15 + 13 + 9, "{seen:#?}");
}
