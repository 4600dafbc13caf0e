//! A caller whose calls never have to wait leaves time to the other tasks of its thread.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use syntrix_storage_core::backend::OpenContext;
use syntrix_storage_core::{DocumentPath, DocumentStore, Location, SettingsNode, SettingsValue};
use syntrix_storage_engine::{DocumentEngine, EngineOptions};

const READS: u32 = 50_000;
/// One read in eight takes one of 128 units, so that a turn is some 1,000 reads; far fewer turns than that are asked for.
const TURNS_MIN: u32 = READS / 5_000;

async fn documents() -> DocumentEngine {
    let factory = syntrix_storage_memory::factory();
    let empty = SettingsNode::new(SettingsValue::Map(Vec::new()), Location::default());
    let backend = factory.configure(&empty).unwrap().open(&OpenContext::new(".")).await.unwrap();
    DocumentEngine::start(backend.documents().unwrap(), EngineOptions::default())
}

#[tokio::test]
async fn a_busy_reader_lets_other_tasks_of_its_thread_run() {
    let store = documents().await;
    let path = DocumentPath::parse("rooms/lobby").unwrap();
    store.create(&path, json!({}), Default::default()).await.unwrap();
    let turns = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..READS {
        store.get(&path, Default::default()).await.unwrap();
    }
    let turns = turns.load(Ordering::Relaxed);
    other.abort();
    assert!(turns >= TURNS_MIN, "{turns} turns beside {READS} reads");
}
