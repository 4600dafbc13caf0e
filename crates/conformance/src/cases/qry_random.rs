//! Queries: random ones against the reference evaluator.

use std::time::Duration;

use serde_json::json;
use syntrix_storage_core::{Direction, Document, Page, Query, QueryPlan, Reason};

use super::random::{Random, field_of};
use super::steps::{create, everything, get, ids_of, patch};
use crate::case::case;
use crate::{Case, CaseResult, Context, Failure, expect_equal};

pub(super) static CASES: &[Case] = &[case!(
    "QRY-32",
    Qry,
    "500 random queries give what the reference evaluator gives, page by page.",
    "Combinations that nobody thought of.",
    [],
    async |context| {
        let mut random = Random::new();
        let all = random_documents(&context, &mut random).await?;
        for round in 0..500 {
            let tried = try_random_query(&context, &mut random, &all).await;
            random.explain(round, tried)?;
        }
        Ok(())
    }
)];

/// Live documents and tombstones with random data, as the store has them.
async fn random_documents(context: &Context, random: &mut Random) -> CaseResult<Vec<Document>> {
    let mut all = Vec::new();
    for number in 0..80 {
        let path = context.path(&format!("{number:02}"))?;
        let mut data = random.object(2);
        for (field, usual) in [("n", json!(random.rng.i32(0..4))), ("m", json!("b"))] {
            match random.rng.u8(..10) {
                0 => {}
                1..=6 => drop(data.insert(field.into(), usual)),
                _ => drop(data.insert(field.into(), random.value(1))),
            }
        }
        create(context, &path, data.into()).await?;
        context.clock().advance(Duration::from_millis(random.rng.u64(..3)));
        if random.one_in(3) {
            patch(context, &path, Default::default()).await?;
        }
        if random.one_in(8) {
            context.store().delete(&path, Default::default()).await?;
            all.push(context.tombstone(&path).await?);
        } else {
            all.push(get(context, &path).await?);
        }
    }
    Ok(all)
}

async fn try_random_query(context: &Context, random: &mut Random, all: &[Document]) -> CaseResult {
    let query = random_query(context, random, all)?;
    let plan = QueryPlan::check(query.clone())?;
    let expected = reference(&plan, all)?;
    let what = format!("{:?} ordered by {:?}", plan.filters(), plan.order());

    let (mut found, mut next) = (Vec::new(), query.clone());
    while found.len() <= all.len() {
        let page = query_making_room(context, next).await?;
        found.extend(ids_of(&page));
        expect_equal(page.next.is_some(), found.len() < expected.len(), &what)?;
        match page.next {
            Some(cursor) => next = query.clone().after(cursor),
            None => break,
        }
    }
    expect_equal(found, expected, what)
}

/// At most two filters and two order fields, so that one index can serve it.
fn random_query(context: &Context, random: &mut Random, all: &[Document]) -> CaseResult<Query> {
    let mut fields: Vec<String> =
        ["n", "m", "n", "m", "version", "updatedAt"].map(Into::into).into();
    fields.push(field_of(&random.keys()));
    let near = random.pick(all).flat()?;
    let mut query = everything(context)?.limit(*random.pick(&[1, 2, 7, 50, 1000]));
    for _ in 0..random.rng.usize(..3) {
        query = query.with_filter(random.filter(&fields, &near)?);
    }
    let mut order = fields;
    random.rng.shuffle(&mut order);
    order.truncate(2);
    order.dedup();
    for field in order.iter().take(random.rng.usize(..3)) {
        let direction = *random.pick(&[Direction::Ascending, Direction::Descending]);
        query = query.order_by(field, direction)?;
    }
    Ok(query.show_deleted(random.one_in(4)))
}

/// The ids of all pages, by the reference evaluator.
fn reference(plan: &QueryPlan, all: &[Document]) -> CaseResult<Vec<String>> {
    let mut places = Vec::new();
    for document in all {
        if plan.selects(document, &document.value()?) {
            places.extend(plan.place_of(document).map(|place| (place, document.id())));
        }
    }
    places.sort_by(|(left, _), (right, _)| plan.compare(left, right));
    Ok(places.into_iter().map(|(_, id)| id.to_owned()).collect())
}

/// As [`Context::query`], but gives an older index up where there are as many as a store takes.
async fn query_making_room(context: &Context, query: Query) -> CaseResult<Page> {
    match context.query(query.clone()).await {
        Err(error) if error.reason() == Some(Reason::TooManyIndexes) => {
            let indexes = context.admin().list_indexes().await?;
            let oldest = indexes.first().ok_or_else(|| Failure::new("too many indexes of none"))?;
            context.admin().drop_index(oldest.definition.name()).await?;
            Ok(context.query(query).await?)
        }
        answer => Ok(answer?),
    }
}
