//! Several handles on one file, as several processes have them.

use serde_json::json;
use syntrix_storage_core::backend::Feed;

use crate::common::{Fixture, brief};

#[tokio::test]
async fn a_write_of_one_is_read_by_the_other() {
    let one = Fixture::open().await;
    let other = one.again().await;
    let stored = one.insert("rooms/lobby", json!({"n": 1})).await;
    assert_eq!(other.get("rooms/lobby").await, Some(stored));
    other.update("rooms/lobby", json!({"n": 2})).await;
    assert_eq!(one.get("rooms/lobby").await.expect("there").version().get(), 2);
}

#[tokio::test]
async fn a_write_of_one_wakes_the_other() {
    let one = Fixture::open().await;
    let other = one.again().await;
    for number in 0..20 {
        let end = other.end().await;
        let path = format!("rooms/r{number}");
        let ((), _) = tokio::join!(other.wait(&end), one.insert(&path, json!({})));
        let page = other.feed(Feed::After(end)).await;
        assert_eq!(
            page.changes.iter().map(brief).collect::<Vec<_>>(),
            [format!("create {path}@1")]
        );
    }
}

#[tokio::test]
async fn commits_of_the_other_before_the_wait_are_not_missed() {
    let one = Fixture::open().await;
    let other = one.again().await;
    let end = other.end().await;
    one.insert("rooms/lobby", json!({})).await;
    other.wait(&end).await;
}

#[tokio::test]
async fn two_writers_lose_nothing_and_share_one_order() {
    let one = Fixture::open().await;
    let other = one.again().await;
    one.insert("rooms/lobby", json!({})).await;
    let write = async |fixture: &Fixture| {
        for number in 0..60 {
            fixture.update("rooms/lobby", json!({"n": number})).await;
        }
    };
    tokio::join!(write(&one), write(&other));
    let (left, right) = (one.log().await, other.log().await);
    assert_eq!(left, right);
    assert_eq!(left.len(), 121);
    assert_eq!(left.last().map(String::as_str), Some("update rooms/lobby@121"));
}

#[tokio::test]
async fn an_index_made_by_one_is_usable_by_the_other() {
    let one = Fixture::open().await;
    let other = one.again().await;
    let index = crate::indexes::index("rooms", &["a", "-b"]);
    one.documents.create_index(&index).await.expect("create");
    let listed = other.documents.list_indexes().await.expect("list");
    assert_eq!((listed.len(), listed[0].ready), (1, true));
    other.insert("rooms/lobby", json!({"a": 1, "b": 2})).await;
}
