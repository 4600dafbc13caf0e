//! Queries whose answer is written down here; the differential test covers the rest.

use serde_json::{Value, json};
use syntrix_storage_core::{Direction, Operation, Operator, Query, QueryPlan};

use crate::common::{Fixture, context};
use crate::indexes::index;

async fn ids(fixture: &Fixture, query: Query) -> Vec<String> {
    let indexes = fixture.documents.list_indexes().await.expect("list");
    let ready: Vec<_> = indexes.into_iter().map(|status| status.definition).collect();
    let plan = QueryPlan::new(query, &ready).expect("plan");
    let found = fixture.documents.query(&plan, &context(Operation::Query)).await.expect("query");
    found.iter().map(|document| document.id().to_owned()).collect()
}

async fn mixed() -> Fixture {
    let fixture = Fixture::open().await;
    let values: [Value; 12] = [
        json!(null),
        json!(-1.5),
        json!(0),
        json!(7),
        json!(1e19),
        json!(""),
        json!("a"),
        json!("é"),
        json!(false),
        json!(true),
        json!([1]),
        json!("x".repeat(513)),
    ];
    for (number, value) in values.into_iter().enumerate() {
        fixture.insert(&format!("c/d{number:02}"), json!({"v": value})).await;
    }
    fixture.insert("c/none", json!({"other": 1})).await;
    fixture
}

fn query() -> Query {
    Query::new("c").expect("query")
}

#[tokio::test]
async fn an_order_goes_through_all_types_and_leaves_out_what_is_not_comparable() {
    let fixture = mixed().await;
    let ascending: Vec<_> = (0..10).map(|number| format!("d{number:02}")).collect();
    let descending: Vec<_> = ascending.iter().rev().cloned().collect();
    for with_index in [false, true] {
        if with_index {
            fixture.documents.create_index(&index("c", &["v"])).await.expect("create");
        }
        let up = query().order_by("v", Direction::Ascending).expect("order");
        assert_eq!(ids(&fixture, up).await, ascending);
        let down = query().order_by("v", Direction::Descending).expect("order");
        assert_eq!(ids(&fixture, down).await, descending);
    }
}

#[tokio::test]
async fn comparisons_stay_within_a_type() {
    let fixture = mixed().await;
    let cases = [
        (Operator::GreaterOrEqual, json!(0), "d02 d03 d04"),
        (Operator::Less, json!(7), "d01 d02"),
        (Operator::Greater, json!(""), "d06 d07"),
        (Operator::Equal, json!(0), "d02"),
        (Operator::Equal, json!(null), "d00"),
        (Operator::Equal, json!(true), "d09"),
        (Operator::Equal, json!(1), ""),
        (Operator::Contains, json!(1), "d10"),
        (Operator::Contains, json!(true), ""),
        (Operator::In, json!([null, 7, "a", true]), "d00 d03 d06 d09"),
        (Operator::In, json!([]), ""),
    ];
    for (operator, operand, expected) in cases {
        let query = query().filter("v", operator, operand.clone()).expect("filter");
        let mut found = ids(&fixture, query).await;
        found.sort();
        assert_eq!(found.join(" "), expected, "{operator} {operand}");
    }
    let unequal = query().filter("v", Operator::NotEqual, json!(7)).expect("filter");
    assert_eq!(ids(&fixture, unequal).await.len(), 11);
}

#[tokio::test]
async fn an_index_of_a_pattern_serves_collections_with_pattern_characters() {
    let fixture = Fixture::open().await;
    let collections = [
        "a_b", "a%b", "a*b", "a[b", "a?b", "a]b", "a\\b", "a'b", "*", "[a-z]", "a[*]b", "x/1/a*b",
        "x/[/c'd",
    ];
    for collection in collections {
        for number in 0..3 {
            fixture.insert(&format!("{collection}/{number}"), json!({"k": "x", "n": number})).await;
        }
    }
    for collection in collections {
        let pattern = collection.replace("/1/", "/*/");
        let index = index(&pattern, &["k", "-n"]);
        fixture.documents.create_index(&index).await.expect("create");
        let query = Query::new(collection)
            .and_then(|query| query.filter("k", Operator::Equal, json!("x")))
            .and_then(|query| query.order_by("n", Direction::Descending))
            .expect("query");
        assert_eq!(ids(&fixture, query).await, ["2", "1", "0"], "{collection}");
    }
}

#[tokio::test]
async fn a_page_has_one_row_more_than_asked_and_tombstones_only_if_asked() {
    let fixture = mixed().await;
    assert_eq!(ids(&fixture, query().limit(3)).await.len(), 4);
    fixture.delete("c/d00").await;
    assert_eq!(ids(&fixture, query()).await.len(), 12);
    assert_eq!(ids(&fixture, query().show_deleted(true)).await.len(), 13);
    let deleted =
        query().show_deleted(true).filter("deleted", Operator::Equal, json!(true)).expect("filter");
    assert_eq!(ids(&fixture, deleted).await, ["d00"]);
}
