//! Random documents and queries: what the backend answers is what the reference evaluator of core says.
//!
//! Other backends' tests use this file too; what differs is in their `common`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use syntrix_storage_core::backend::Write;
use syntrix_storage_core::{
    Direction, Document, IndexDefinition, Operation, Operator, OrderBy, Place, Query, QueryPlan,
};

use crate::common::{CASES, Fixture, context, document, parse, replace_live};

const KEYS: [&str; 12] =
    ["a", "b", "", "q\"r", "b\\s", "l\n", "1.0.1", "o'k", "$x", "[0]", "%_*?", "é\u{1f600}"];
const COLLECTIONS: [&str; 8] = ["plain", "a_b", "a[b", "a*b", "a'b", "a?b", "p/1/q", "p/*/a]b"];
const SYSTEM: [&str; 7] =
    ["fullpath", "collection", "parent", "createdAt", "updatedAt", "version", "deleted"];

/// One store for all cases; each case has a collection of its own.
static STORE: LazyLock<(tokio::runtime::Runtime, Fixture)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let fixture = runtime.block_on(Fixture::for_many_cases());
    (runtime, fixture)
});

fn scalar() -> impl Strategy<Value = Value> {
    let numbers = vec![
        json!(0),
        json!(1),
        json!(-1),
        json!(2),
        json!(0.5),
        json!(-0.5),
        json!(1.5),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(i64::MAX - 1),
        json!(9007199254740993i64),
        json!(9007199254740992i64),
        json!(1e19),
        json!(-1e19),
        json!(1.7976931348623157e308),
        json!(5e-324),
        json!(9_223_372_036_854_775_808.0),
        json!(1e17),
        json!(0.1),
    ];
    let texts = vec![
        json!(""),
        json!("a"),
        json!("A"),
        json!("aa"),
        json!("b"),
        json!("5"),
        json!("true"),
        json!("null"),
        json!("é"),
        json!("e\u{301}"),
        json!("\u{ffff}"),
        json!("\u{1f600}"),
        json!("it's \"x\"\\\n"),
        json!("x".repeat(512)),
        json!("é".repeat(256)),
    ];
    prop_oneof![
        2 => Just(Value::Null),
        5 => select(numbers),
        2 => (-3i64..4).prop_map(Value::from),
        5 => select(texts),
        2 => any::<bool>().prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let long = select(vec![json!("x".repeat(513)), json!("é".repeat(257))]);
    let nested = prop_oneof![
        vec(scalar(), 0..4).prop_map(Value::from),
        vec(vec(scalar(), 0..2).prop_map(Value::from), 0..2).prop_map(Value::from),
        vec((select(&KEYS[..]), scalar()), 0..3).prop_map(object),
        vec((select(&KEYS[..]), vec(scalar(), 0..2).prop_map(Value::from)), 0..2).prop_map(object),
    ];
    prop_oneof![8 => scalar(), 3 => nested, 1 => long]
}

fn object(members: Vec<(&str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Mostly two keys, so that documents and queries meet.
fn key() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => select(&KEYS[..2]), 2 => select(&KEYS[..])]
}

fn data() -> impl Strategy<Value = Value> {
    vec((key(), value()), 0..6).prop_map(object)
}

fn quoted(key: &str) -> String {
    format!("`{}`", key.replace('`', "``"))
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => key().prop_map(quoted),
        2 => (key(), key()).prop_map(|(first, second)| format!("{}.{}", quoted(first), quoted(second))),
        2 => select(&SYSTEM[..]).prop_map(str::to_owned),
    ]
}

fn operand() -> impl Strategy<Value = Value> {
    let stored = select(vec![
        json!("plain"),
        json!("p/1"),
        json!(""),
        json!(1),
        json!(2),
        json!(1.5),
        json!(1_700_000_000_000i64),
        json!(true),
        json!(false),
    ]);
    prop_oneof![4 => scalar(), 1 => stored]
}

fn filter() -> impl Strategy<Value = (String, Operator, Value)> {
    let equal = select(vec![Operator::Equal, Operator::NotEqual, Operator::Contains]);
    let range = select(vec![
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Greater,
        Operator::GreaterOrEqual,
    ]);
    let comparable = operand().prop_filter("a range takes numbers and strings", |value| {
        value.is_number() || value.is_string()
    });
    let condition = prop_oneof![
        3 => (equal, operand()),
        3 => (range, comparable),
        1 => (Just(Operator::In), vec(operand(), 0..5).prop_map(Value::from)),
    ];
    (field(), condition).prop_map(|(field, (operator, operand))| (field, operator, operand))
}

fn direction() -> impl Strategy<Value = Direction> {
    select(vec![Direction::Ascending, Direction::Descending])
}

#[derive(Clone, Debug)]
struct Question {
    filters: Vec<(String, Operator, Value)>,
    order: Vec<(String, Direction)>,
    limit: u32,
    show_deleted: bool,
    /// Where in the whole result the cursors stand.
    cuts: Vec<usize>,
    /// A place that is no document's.
    values: Vec<Value>,
}

fn question() -> impl Strategy<Value = Question> {
    let order = vec((field(), direction()), 0..3);
    let cuts = vec(0usize..40, 1..3);
    (vec(filter(), 0..3), order, 1u32..12, any::<bool>(), cuts, vec(scalar(), 3)).prop_map(
        |(filters, order, limit, show_deleted, cuts, values)| Question {
            filters,
            order,
            limit,
            show_deleted,
            cuts,
            values,
        },
    )
}

/// `None` if the order names a field twice.
fn build(collection: &str, question: &Question) -> Option<Query> {
    let mut query = Query::new(collection).expect("collection").limit(question.limit);
    for (field, operator, operand) in &question.filters {
        query = query.filter(field, *operator, operand.clone()).expect("filter");
    }
    for (field, direction) in &question.order {
        query = query.order_by(field, *direction).expect("order");
    }
    let query = query.show_deleted(question.show_deleted);
    QueryPlan::check(query.clone()).ok().map(|_| query)
}

/// What the plan must give, by core alone.
fn expected(plan: &QueryPlan, documents: &[Document]) -> Vec<Document> {
    let place = |document: &Document| plan.place_of(document);
    let mut found: Vec<(Place, Document)> = documents
        .iter()
        .filter(|document| plan.selects(document, &document.value().expect("value")))
        .filter_map(|document| place(document).map(|place| (place, document.clone())))
        .filter(|(place, _)| plan.after().is_none_or(|after| plan.compare(place, after).is_gt()))
        .collect();
    found.sort_by(|(left, _), (right, _)| plan.compare(left, right));
    found.truncate(plan.rows_max());
    found.into_iter().map(|(_, document)| document).collect()
}

async fn check(
    fixture: &Fixture,
    plan: &QueryPlan,
    documents: &[Document],
) -> Result<(), TestCaseError> {
    let found = fixture.documents.query(plan, &context(Operation::Query)).await.expect("query");
    let names = |documents: &[Document]| -> Vec<_> {
        documents.iter().map(|document| format!("{} {}", document.path(), document.raw())).collect()
    };
    prop_assert_eq!(names(&found), names(&expected(plan, documents)), "{:?}", plan);
    Ok(())
}

/// The index the plan needs, or one on its only field.
fn index_for(query: &Query) -> Option<IndexDefinition> {
    match QueryPlan::new(query.clone(), &[]) {
        Err(error) => error.suggestion()?.to_definition().ok(),
        Ok(plan) => {
            let by_order = plan.order().first().map(|term| term.field().clone());
            let equal = |filter: &&syntrix_storage_core::Filter| {
                matches!(filter.operator(), Operator::Equal | Operator::In)
            };
            let by_filter =
                || plan.filters().iter().find(equal).map(|filter| filter.field().clone());
            let fields = vec![OrderBy::of(by_order.or_else(by_filter)?, Direction::Descending)];
            IndexDefinition::new(plan.pattern().as_str(), fields).ok()
        }
    }
}

async fn store(fixture: &Fixture, collection: &str, all: &[(Value, u8)]) -> Vec<Document> {
    let path = |number: usize| format!("{collection}/d{number}");
    let inserts = all.iter().enumerate();
    let inserts =
        inserts.map(|(number, (data, _))| Write::Insert(document(&path(number), data.clone())));
    let mut writes: Vec<_> = inserts.collect();
    for (number, (data, fate)) in all.iter().enumerate() {
        match fate {
            0 => writes.push(replace_live(&path(number), None)),
            1 | 2 => writes.push(replace_live(&path(number), Some(data.clone()))),
            _ => {}
        }
    }
    let outcomes = fixture.documents.write(writes, &context(Operation::Bulk)).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let paths: Vec<_> = (0..all.len()).map(|number| parse(&path(number))).collect();
    let stored = fixture.documents.get_many(&paths, &context(Operation::Read)).await.expect("read");
    stored.into_iter().flatten().collect()
}

async fn ask(
    fixture: &Fixture,
    collection: &str,
    question: &Question,
    documents: &[Document],
) -> Result<(), TestCaseError> {
    let Some(query) = build(collection, question) else { return Ok(()) };
    let index = index_for(&query);
    if let Some(index) = &index {
        fixture.documents.create_index(index).await.expect("create");
    }
    let whole = QueryPlan::check(query.clone().limit(1000)).expect("plan");
    let whole_result = expected(&whole, documents);
    let mut queries = vec![query.clone()];
    for cut in question.cuts.iter().filter_map(|cut| whole_result.get(*cut)) {
        queries.push(query.clone().after(whole.cursor_after(cut).expect("cursor")));
    }
    if let Some(path) = documents.first().map(|document| document.path().clone()) {
        let values = question.values.iter().take(whole.order().len()).cloned().collect::<Vec<_>>();
        queries.push(query.clone().start_after(values, path));
    }
    for query in queries {
        let Ok(mut plan) = QueryPlan::check(query) else { continue };
        check(fixture, &plan, documents).await?;
        if let Some(index) = &index {
            plan.assign_index(std::slice::from_ref(index)).expect("served");
            check(fixture, &plan, documents).await?;
        }
    }
    if let Some(index) = &index {
        fixture.documents.drop_index(index.name()).await.expect("drop");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_backend_answers_as_the_reference_does(
        name in select(&COLLECTIONS[..]),
        all in vec((data(), 0u8..8), 0..30),
        questions in vec(question(), 1..8),
    ) {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let collection = format!("{name}{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let (runtime, fixture) = &*STORE;
        runtime.block_on(async {
            let documents = store(fixture, &collection, &all).await;
            for question in &questions {
                ask(fixture, &collection, question, &documents).await?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    }
}
