//! Declared indexes.

use serde_json::json;
use syntrix_storage_core::{Direction, INDEXES_MAX, IndexDefinition, OrderBy, Reason};

use crate::common::Fixture;

/// `-field` is descending.
pub fn index(pattern: &str, fields: &[&str]) -> IndexDefinition {
    let field = |text: &&str| match text.strip_prefix('-') {
        Some(text) => OrderBy::new(text, Direction::Descending).expect("field"),
        None => OrderBy::new(text, Direction::Ascending).expect("field"),
    };
    IndexDefinition::new(pattern, fields.iter().map(field).collect()).expect("index")
}

fn in_catalogue(fixture: &Fixture, name: &str) -> bool {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?1)";
    fixture.raw().query_row(sql, [name], |row| row.get(0)).expect("catalogue")
}

#[tokio::test]
async fn an_index_is_created_once_listed_and_dropped() {
    let fixture = Fixture::open().await;
    let odd = index("a'b/*/c[d", &["`o\"d.d'`", "-updatedAt", "n.``"]);
    fixture.documents.create_index(&odd).await.expect("create");
    fixture.documents.create_index(&odd).await.expect("create again");
    let listed = fixture.documents.list_indexes().await.expect("list");
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].definition, listed[0].ready), (&odd, true));
    assert!(in_catalogue(&fixture, odd.name()));

    assert!(fixture.documents.drop_index(odd.name()).await.expect("drop"));
    assert!(!fixture.documents.drop_index(odd.name()).await.expect("drop again"));
    assert!(fixture.documents.list_indexes().await.expect("list").is_empty());
    assert!(!in_catalogue(&fixture, odd.name()));
}

#[tokio::test]
async fn the_thirty_third_index_is_refused_and_an_old_one_still_accepted() {
    let fixture = Fixture::open().await;
    for number in 0..INDEXES_MAX {
        let index = index("rooms", &["a", &format!("f{number}")]);
        fixture.documents.create_index(&index).await.expect("create");
    }
    let error = fixture.documents.create_index(&index("rooms", &["x", "y"])).await;
    assert_eq!(error.expect_err("created").reason(), Some(Reason::TooManyIndexes));
    fixture.documents.create_index(&index("rooms", &["a", "f0"])).await.expect("create again");
    assert_eq!(fixture.documents.list_indexes().await.expect("list").len(), INDEXES_MAX);
}

#[tokio::test]
async fn an_index_dropped_behind_our_back_is_not_ready_until_it_is_created_again() {
    let fixture = Fixture::open().await;
    let index = index("rooms", &["a", "b"]);
    fixture.documents.create_index(&index).await.expect("create");
    fixture.raw().execute(&format!("DROP INDEX {}", index.name()), []).expect("drop");
    assert!(!fixture.documents.list_indexes().await.expect("list")[0].ready);
    fixture.documents.create_index(&index).await.expect("create");
    assert!(fixture.documents.list_indexes().await.expect("list")[0].ready);
}

#[tokio::test]
async fn indexes_of_the_schema_cannot_be_dropped() {
    let fixture = Fixture::open().await;
    assert!(!fixture.documents.drop_index("documents_fullpath").await.expect("drop"));
    assert!(!fixture.documents.drop_index("x\"; DROP TABLE documents; --").await.expect("drop"));
    assert!(in_catalogue(&fixture, "documents_fullpath"));
    fixture.insert("rooms/lobby", json!({})).await;
}

#[tokio::test]
async fn indexes_survive_the_end_of_the_process() {
    let fixture = Fixture::open().await;
    let index = index("rooms", &["a", "b"]);
    fixture.documents.create_index(&index).await.expect("create");
    let fixture = fixture.again().await;
    assert_eq!(fixture.documents.list_indexes().await.expect("list")[0].definition, index);
}
