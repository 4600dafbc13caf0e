//! Mirror and feed.

use serde_json::json;
use syntrix_storage::{Patch, Storage};

use crate::stores::{
    MEMORY_TO_SQLITE, PATIENCE, Route, SQLITE_TO_SQLITE, at, creation, everything, expect_equal,
};

#[tokio::test(flavor = "multi_thread")]
async fn creates_updates_deletes_and_revivals_reach_the_shadow() {
    for pair in [MEMORY_TO_SQLITE, SQLITE_TO_SQLITE] {
        let route = Route::open(pair).await;
        for number in 0..20 {
            let path = format!("rooms/r{number}");
            route.create(&path, number).await;
            route.update(&path, number + 100).await;
            if number % 2 == 0 {
                route.delete(&path).await;
            }
            if number % 4 == 0 {
                route.create(&path, number + 200).await;
            }
        }
        assert_eq!(route.expect_equal_sides().await, 20);
        route.storage.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writes_in_one_call_reach_the_shadow_with_the_feed() {
    let route = Route::open(SQLITE_TO_SQLITE).await;
    let items = (0..1000).map(|n| creation(format!("rooms/r{n}"), n));
    let outcomes = route.documents.bulk(items.collect(), Default::default()).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(route.expect_equal_sides().await, 1000);
    let status = route.control.status().await.unwrap();
    assert_eq!((status.mirror.confirmed, status.replicated.applied), (0, 1000));
    route.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_knows_of_no_shadow_is_replicated_too() {
    let route = Route::open(SQLITE_TO_SQLITE).await;
    route.drain().await;
    let other = Storage::from_config(SQLITE_TO_SQLITE.primary_alone(route.folder.path())).await;
    let other = other.unwrap();
    let documents = other.documents().unwrap();
    documents.create(&at("rooms/lobby"), json!({}), Default::default()).await.unwrap();
    documents.delete(&at("rooms/lobby"), Default::default()).await.unwrap();
    assert_eq!(route.expect_equal_sides().await, 1);
    other.close().await.unwrap();
    route.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_writes_are_on_the_shadow_when_they_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let config = SQLITE_TO_SQLITE.config(folder.path(), ", mirror: wait");
    let route = Route::open_config(SQLITE_TO_SQLITE, folder, config).await;
    route.control.drain(PATIENCE).await.unwrap();
    let shadow = SQLITE_TO_SQLITE.shadow_alone(route.folder.path());
    let shadow = Storage::from_config(shadow).await.unwrap();
    for number in 0..50 {
        let path = at(&format!("rooms/r{number}"));
        let result = route.documents.create(&path, json!({}), Default::default()).await.unwrap();
        if !result.shadow_pending {
            shadow.documents().unwrap().get(&path, Default::default()).await.unwrap();
        }
    }
    let status = route.control.status().await.unwrap();
    assert!(status.mirror.confirmed > 40, "{status:?}");
    shadow.close().await.unwrap();
    route.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn close_brings_what_is_left_to_the_shadow() {
    let route = Route::open(SQLITE_TO_SQLITE).await;
    route.drain().await;
    let items = (0..500).map(|n| creation(format!("rooms/r{n}"), n));
    route.documents.bulk(items.collect(), Default::default()).await.unwrap();
    route.storage.close().await.unwrap();
    let primary =
        Storage::from_config(route.pair.primary_alone(route.folder.path())).await.unwrap();
    let shadow = Storage::from_config(route.pair.shadow_alone(route.folder.path())).await.unwrap();
    let sides = (
        everything(&*primary.document_admin().unwrap()).await,
        everything(&*shadow.document_admin().unwrap()).await,
    );
    expect_equal(&sides.0, &sides.1);
    assert_eq!(sides.0.len(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_22_and_23_the_primary_decides_between_64_writers_of_one_document() {
    let route = Route::open(SQLITE_TO_SQLITE).await;
    let path = at("rooms/hot");
    route.create("rooms/hot", 0).await;
    let writers = (0..64).map(|writer| {
        let (documents, path) = (std::sync::Arc::clone(&route.documents), path.clone());
        tokio::spawn(async move {
            for _ in 0..5 {
                let patch = Patch::new().set(format!("w{writer}"), writer);
                documents.patch(&path, patch, Default::default()).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(route.expect_equal_sides().await, 1);
    let last = route.documents.get(&path, Default::default()).await.unwrap();
    assert_eq!(last.version().get(), 1 + 64 * 5);
    assert_eq!(last.value().unwrap().as_object().unwrap().len(), 65);
    route.storage.close().await.unwrap();
}
