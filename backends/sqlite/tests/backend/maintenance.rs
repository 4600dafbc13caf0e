//! Scan, purge and health.

use serde_json::json;
use syntrix_storage_core::{CollectionPath, Operation, PurgeReport, ScanRequest, Timestamp};

use crate::common::{Fixture, START, context, fact};

const PATHS: [&str; 10] =
    ["c/1", "c/1/d/1", "c/1/d/2", "c/2", "c!/1", "c%/1", "c0/1", "cc/1", "c_/1", "b/1/c/1"];

async fn filled() -> Fixture {
    let fixture = Fixture::open().await;
    for path in PATHS {
        fixture.insert(path, json!({})).await;
    }
    fixture
}

async fn scan(fixture: &Fixture, request: &ScanRequest) -> Vec<String> {
    let documents = fixture.documents.scan(request, &context(Operation::Scan)).await.expect("scan");
    documents.iter().map(|document| document.path().as_str().to_owned()).collect()
}

fn of(collection: Option<&str>, recursive: bool) -> ScanRequest {
    let collection = collection.map(|text| CollectionPath::parse(text).expect("collection"));
    ScanRequest::of(collection, recursive)
}

#[tokio::test]
async fn a_scan_of_everything_is_in_byte_order_of_the_path() {
    let fixture = filled().await;
    let mut sorted: Vec<_> = PATHS.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(scan(&fixture, &of(None, false)).await, sorted);
    assert_eq!(scan(&fixture, &of(None, true)).await, sorted);
}

#[tokio::test]
async fn a_scan_of_a_collection_covers_whole_segments_only() {
    let fixture = filled().await;
    assert_eq!(scan(&fixture, &of(Some("c"), false)).await, ["c/1", "c/2"]);
    assert_eq!(scan(&fixture, &of(Some("c"), true)).await, ["c/1", "c/1/d/1", "c/1/d/2", "c/2"]);
    assert_eq!(scan(&fixture, &of(Some("c%"), true)).await, ["c%/1"]);
    assert_eq!(scan(&fixture, &of(Some("c_"), true)).await, ["c_/1"]);
    assert_eq!(scan(&fixture, &of(Some("c/1/d"), false)).await, ["c/1/d/1", "c/1/d/2"]);
    assert!(scan(&fixture, &of(Some("nothing"), true)).await.is_empty());
}

#[tokio::test]
async fn pages_of_a_scan_continue_behind_a_path() {
    let fixture = filled().await;
    for (collection, recursive) in [(None, true), (Some("c"), true), (Some("c"), false)] {
        let mut request = of(collection, recursive);
        let all = scan(&fixture, &request).await;
        let mut seen = Vec::new();
        request.limit = 1;
        loop {
            let page = scan(&fixture, &request).await;
            let Some(last) = page.last() else { break };
            request.after = Some(last.clone());
            seen.extend(page);
        }
        assert_eq!(seen, all);
    }
}

#[tokio::test]
async fn tombstones_are_scanned_only_if_asked() {
    let fixture = filled().await;
    fixture.delete("c/1").await;
    let mut request = of(Some("c"), false);
    assert_eq!(scan(&fixture, &request).await, ["c/2"]);
    request.show_deleted = true;
    assert_eq!(scan(&fixture, &request).await, ["c/1", "c/2"]);
}

#[tokio::test]
async fn purge_removes_old_tombstones_in_batches_and_nothing_else() {
    let fixture = filled().await;
    for path in ["c/1", "c/2", "cc/1"] {
        fixture.delete(path).await;
    }
    let at = |offset| Timestamp::from_milliseconds(START + offset);
    let purge = |before, limit| fixture.documents.purge(before, limit);
    // They were written at START + 1, and the bound is exclusive.
    let nothing = PurgeReport { purged: 0, more: false };
    assert_eq!(purge(at(1), 10).await.expect("purge"), nothing);
    assert_eq!(purge(at(2), 2).await.expect("purge"), PurgeReport { purged: 2, more: true });
    assert_eq!(purge(at(2), 2).await.expect("purge"), PurgeReport { purged: 1, more: false });
    assert_eq!(purge(at(2), 2).await.expect("purge"), nothing);
    assert_eq!(fixture.get("c/1").await, None);
    let mut request = of(None, true);
    request.show_deleted = true;
    assert_eq!(scan(&fixture, &request).await.len(), PATHS.len() - 3);
    assert_eq!(fixture.insert("c/1", json!({})).await.version().get(), 1);
}

#[tokio::test]
async fn health_tells_what_an_operator_wants_to_know_and_no_path() {
    let fixture = filled().await;
    fixture.delete("c/1").await;
    let report = fixture.documents.health().await.expect("health");
    assert!(report.ready);
    let fact = |name| fact(&report, name);
    assert_eq!(fact("journalMode"), Some("wal"));
    assert_eq!(fact("synchronous"), Some("full"));
    assert_eq!(fact("schemaVersion"), Some("4"));
    assert_eq!(fact("tombstones"), Some("1"));
    assert_eq!(fact("changes"), Some("11"));
    for key in ["durability", "sqliteVersion", "fileBytes"] {
        assert!(fact(key).is_some_and(|value| !value.is_empty()), "{key}");
    }
    let folder = fixture.folder.path().to_string_lossy().into_owned();
    assert!(!format!("{report:?}").contains(&folder));
}
