//! Chapter: queries, and the one that needs an index.

use std::time::{Duration, Instant};

use syntrix_storage::{
    Direction, Document, DocumentPath, DocumentStoreExt, Error, ErrorKind, Operator, Page, Query,
    QueryOptions, Result,
};

use super::Stage;
use super::cities::City;
use super::story::{Story, human};
use crate::failure::Failure;

/// Kópavogur.
const CITY: &str = "countries/IS/cities/28185";
const GERMANY: &str = "countries/DE/cities";
const FRANCE: &str = "countries/FR/cities";

pub(super) async fn play(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    story.chapter("Queries")?;
    get(stage, story).await?;
    filter(stage, story).await?;
    order(stage, story).await?;
    story.chapter("A query that needs a composite index")?;
    composite(stage, story).await
}

async fn get(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    let path = DocumentPath::parse(CITY)?;
    let started = Instant::now();
    let city = stage.documents.find(&path).await?;
    let took = started.elapsed();
    let name = city.map(|city| city.value()).transpose()?.map(|data| data["name"].clone());
    story.claim(name == Some("Kópavogur".into()), "a document is found by its path")?;
    story.show("get", format!("{CITY} is Kópavogur"), took)
}

async fn filter(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    let query = || Query::new(GERMANY)?.filter("admin1", Operator::Equal, "16");
    let (found, took) = all_pages(stage, query).await?;
    let expected = stage.cities.iter().filter(|city| is_in(city, "DE", "16")).count();
    story.claim(found.len() == expected, "a filter finds all of Berlin")?;
    story.show("filter", format!("{GERMANY} where admin1 == \"16\": {expected} found"), took)
}

async fn order(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    let query = || Query::new(FRANCE)?.order_by("name", Direction::Descending);
    let (found, took) = timed(stage, query()?.limit(3)).await;
    let found = names(&found?.documents)?;
    let mut expected = names_of(stage, |city| city.text("country") == "FR");
    expected.reverse();
    expected.truncate(3);
    story.claim(found == expected, "an order by one field gives the last names first")?;
    story.show("order", format!("{FRANCE} by name, last: {}", found.join(", ")), took)
}

/// Refused with a remedy, remedied, answered.
async fn composite(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    let query = || {
        Query::new(GERMANY)?
            .filter("admin1", Operator::Equal, "02")?
            .order_by("name", Direction::Ascending)
    };
    story.say(format_args!("   {GERMANY} where admin1 == \"02\" order by name"))?;
    let (refused, refused_took) = timed(stage, query()?.limit(10)).await;
    let error = refused.err().ok_or_else(|| {
        Failure::negative("demo", "this does not hold: a query without its index is refused")
    })?;
    story.claim(error.kind() == ErrorKind::IndexRequired, "the refusal is index_required")?;
    story.show("without index", format!("refused: {}", error.kind()), refused_took)?;
    let built_took = create_suggested(stage, &error, story).await?;

    let (answered, took) = timed(stage, query()?.limit(10)).await;
    let first = names(&answered?.documents)?;
    let expected = names_of(stage, |city| is_in(city, "DE", "02"));
    story.claim(first == expected[..10], "the index gives the first ten names in order")?;
    story.show("with index", format!("answered: {} …", first[..3].join(", ")), took)?;
    story.say(format_args!(
        "   the same query: refused in {}, index built in {}, answered in {}",
        human(refused_took),
        human(built_took),
        human(took)
    ))?;
    pages(stage, story, query, &expected).await?;
    serves_others(stage, story).await
}

/// Does what the error says.
async fn create_suggested(
    stage: &Stage,
    error: &Error,
    story: &mut Story<'_>,
) -> Result<Duration, Failure> {
    let Some(suggestion) = error.suggestion() else {
        return Err(Failure::negative("demo", "this does not hold: the error suggests an index"));
    };
    story.say(format_args!("   error:      {error}\n   suggestion: {}", suggestion.to_json()))?;
    let started = Instant::now();
    let created = stage.storage.indexes()?.create(suggestion).await?;
    let took = started.elapsed();
    story.show("create index", format!("{} on {}", created.name(), created.pattern()), took)?;
    Ok(took)
}

/// Cursors lead through the whole result, with nothing lost or twice.
async fn pages(
    stage: &Stage,
    story: &mut Story<'_>,
    query: impl Fn() -> Result<Query>,
    expected: &[String],
) -> Result<(), Failure> {
    let (found, took) = all_pages(stage, query).await?;
    story.claim(names(&found)? == expected, "pages by cursor give every name once and in order")?;
    let text = format!("{} documents by cursor, none lost or twice", found.len());
    story.show("pages", text, took)
}

/// The pattern of the index has `*` where the query had a country.
async fn serves_others(stage: &Stage, story: &mut Story<'_>) -> Result<(), Failure> {
    let query = Query::new(FRANCE)?
        .filter("admin1", Operator::Equal, "84")?
        .order_by("name", Direction::Descending)?;
    let (found, took) = timed(stage, query.limit(3)).await;
    let mut expected = names_of(stage, |city| is_in(city, "FR", "84"));
    expected.reverse();
    let found = names(&found?.documents)?;
    story.claim(found == expected[..3], "the index serves other countries, also backwards")?;
    story.show("same index", format!("{FRANCE}, backwards: {}", found.join(", ")), took)
}

async fn timed(stage: &Stage, query: Query) -> (Result<Page>, Duration) {
    let started = Instant::now();
    let page = stage.documents.query(query, QueryOptions::default()).await;
    (page, started.elapsed())
}

async fn all_pages(
    stage: &Stage,
    query: impl Fn() -> Result<Query>,
) -> Result<(Vec<Document>, Duration)> {
    let started = Instant::now();
    let (mut found, mut next) = (Vec::new(), None);
    loop {
        let query = match next.take() {
            Some(cursor) => query()?.after(cursor),
            None => query()?,
        };
        let page = stage.documents.query(query, QueryOptions::default()).await?;
        found.extend(page.documents);
        match page.next {
            Some(cursor) => next = Some(cursor),
            None => return Ok((found, started.elapsed())),
        }
    }
}

fn is_in(city: &City, country: &str, admin1: &str) -> bool {
    city.text("country") == country && city.text("admin1") == admin1
}

fn names(documents: &[Document]) -> Result<Vec<String>> {
    let name =
        |document: &Document| Ok(document.value()?["name"].as_str().unwrap_or_default().to_owned());
    documents.iter().map(name).collect()
}

/// The names the store should give, straight from the file: by UTF-8 bytes.
fn names_of(stage: &Stage, wanted: impl Fn(&City) -> bool) -> Vec<String> {
    let cities = stage.cities.iter().filter(|city| wanted(city));
    let mut names: Vec<_> = cities.map(|city| city.text("name").to_owned()).collect();
    names.sort_unstable();
    names
}
