//! `reads: both`: the primary's answer counts, and what the shadow says otherwise is told.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use syntrix_storage::conformance::faults::{Fault, FaultRule, Method};
use syntrix_storage::{Consistency, Query};
use tracing_subscriber::fmt::MakeWriter;

use crate::replica::{Route, plant};

const BOTH: &str = "strategy: dual-write, reads: both";

/// Lines of JSON of the target `syntrix_storage::compare`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn all(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn wait_for(&self, count: usize) -> Vec<Value> {
        let end = Instant::now() + Duration::from_secs(30);
        while self.all().len() < count && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.all()
    }
}

fn subscribe(lines: &Lines) -> tracing::subscriber::DefaultGuard {
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter("syntrix_storage::compare=trace")
        .with_writer(lines.clone())
        .finish();
    tracing::subscriber::set_default(subscriber)
}

/// Cases 47 and 55, in the form of reads.
#[tokio::test]
async fn a_planted_difference_is_told_once_per_read_without_its_values_and_the_primary_answers() {
    let lines = Lines::default();
    let _guard = subscribe(&lines);
    let route = Route::open_quick(BOTH).await;
    for name in ["a", "b", "c"] {
        route.create(&format!("rooms/{name}"), 1).await;
    }
    route.drain().await;
    plant(&route, "rooms/b", 4711).await;

    assert_eq!(route.read("rooms/a", Consistency::Session).await, 1);
    assert_eq!(route.read("rooms/b", Consistency::Session).await, 1);
    let query = Query::new("rooms").unwrap();
    let page = route.documents().query(query, Default::default()).await.unwrap();
    assert_eq!(page.documents.len(), 3);

    let told = lines.wait_for(2).await;
    assert_eq!(told.len(), 2, "{told:?}");
    for (line, operation) in told.iter().zip(["read", "query"]) {
        assert_eq!(line["operation"], operation);
        assert_eq!((&line["class"], &line["path"]), (&json!("definite"), &json!("rooms/b")));
        assert_eq!((&line["primary_version"], &line["shadow_version"]), (&json!(1), &json!(2)));
        assert!(!line.to_string().contains("4711"), "no values: {line}");
    }
    route.storage.close().await.unwrap();
}

/// Case 54.
#[tokio::test]
async fn a_shadow_that_is_late_is_no_difference() {
    let lines = Lines::default();
    let _guard = subscribe(&lines);
    let route = Route::open_quick(BOTH).await;
    route.create("rooms/a", 1).await;
    route.drain().await;
    let late = Fault::Delay(Duration::from_millis(100));
    route.faults.add(FaultRule::new(late).at(Method::Write));
    for n in 2..20 {
        route.update("rooms/a", n).await;
        assert_eq!(route.read("rooms/a", Consistency::Session).await, n);
    }
    route.drain().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(lines.all(), Vec::<Value>::new());
    route.faults.heal();
    route.storage.close().await.unwrap();
}

/// Case 53.
#[tokio::test]
async fn a_frozen_shadow_costs_a_reader_nothing() {
    let route = Route::open_quick(BOTH).await;
    route.create("rooms/a", 1).await;
    route.drain().await;
    for method in [Method::Get, Method::Query, Method::Write] {
        route.faults.add(FaultRule::new(Fault::Hang).at(method));
    }
    let started = Instant::now();
    for _ in 0..2000 {
        assert_eq!(route.read("rooms/a", Consistency::Session).await, 1);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    route.faults.heal();
    route.storage.close().await.unwrap();
}
