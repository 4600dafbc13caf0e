//! What was there before the route.

use serde_json::json;
use syntrix_storage::Storage;
use syntrix_storage::routing::ShadowState;

use crate::stores::{Route, SQLITE_TO_SQLITE, at, creation, everything};

async fn write_before_the_route(folder: &std::path::Path, count: i64) {
    let primary = Storage::from_config(SQLITE_TO_SQLITE.primary_alone(folder)).await.unwrap();
    let documents = primary.documents().unwrap();
    let items: Vec<_> = (0..count).map(|n| creation(format!("old/d{n}"), n)).collect();
    for part in items.chunks(1000) {
        documents.bulk(part.to_vec(), Default::default()).await.unwrap();
    }
    for n in (0..count).step_by(10) {
        documents.delete(&at(&format!("old/d{n}")), Default::default()).await.unwrap();
    }
    primary.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_without_checkpoint_is_filled_while_writes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    write_before_the_route(folder.path(), 3000).await;
    let config = SQLITE_TO_SQLITE.config(folder.path(), "");
    let route = Route::open_config(SQLITE_TO_SQLITE, folder, config).await;
    for n in (5..3000).step_by(100) {
        let path = format!("old/d{n}");
        route.update(&path, -1).await;
        route.delete(&path).await;
        if n % 200 == 5 {
            route.create(&path, -2).await;
        }
        route.create(&format!("new/d{n}"), n).await;
    }
    assert_eq!(route.expect_equal_sides().await, 3030);
    let status = route.control.status().await.unwrap();
    assert!(status.filled && status.fill.is_some_and(|fill| fill.done), "filled, but not said so");
    route.storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_37_a_shadow_with_foreign_data_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = SQLITE_TO_SQLITE.shadow_alone(folder.path());
    let shadow = Storage::from_config(foreign.clone()).await.unwrap();
    let path = at("foreign/one");
    shadow.documents().unwrap().create(&path, json!({}), Default::default()).await.unwrap();
    shadow.close().await.unwrap();

    let config = SQLITE_TO_SQLITE.config(folder.path(), "");
    let route = Route::open_config(SQLITE_TO_SQLITE, folder, config).await;
    route.create("rooms/lobby", 1).await;
    let state = loop {
        match route.control.status().await.unwrap().shadow {
            state @ ShadowState::Refused(_) => break state,
            _ => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    assert!(format!("{state:?}").contains("no checkpoint"), "{state:?}");
    route.create("rooms/attic", 1).await;
    route.storage.close().await.unwrap();

    let shadow = Storage::from_config(foreign).await.unwrap();
    let found = everything(&*shadow.document_admin().unwrap()).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path(), &path);
}
