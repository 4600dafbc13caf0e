//! `room == x and ts > t order by ts desc limit 20`, against the same SQL by hand, and over growing collections.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use syntrix_storage::{
    Direction, DocumentPath, DocumentStore, IndexSuggestion, Operator, Query, SuggestedField,
};

use crate::Failure;
use crate::raw;
use crate::rounds::{Pair, Row, measure, median};
use crate::store::Fixture;

const ROOMS: usize = 100;
const OPERATIONS: usize = 2_000;
const DOCUMENTS: usize = 200_000;

/// The statement of the manual of this layout: type ranks and values as the expression index has them.
/// The key is read and one row more than asked, as by hand one needs both to offer the next page.
fn by_hand() -> String {
    let rank = |field: &str| {
        format!(
            "(CASE json_type(data,'$.\"{field}\"') WHEN 'null' THEN 1 WHEN 'integer' THEN 2 WHEN 'real' THEN 2 \
             WHEN 'text' THEN CASE WHEN length(CAST(json_extract(data,'$.\"{field}\"') AS BLOB)) <= 512 THEN 3 END \
             WHEN 'true' THEN 4 WHEN 'false' THEN 4 END)"
        )
    };
    let (room, ts) = (rank("room"), rank("ts"));
    format!(
        "SELECT fullpath, version, created_at, updated_at, deleted, data, id FROM documents \
         WHERE collection = ?1 AND collection GLOB 'messages' AND deleted = 0 \
         AND {room} = 3 AND json_extract(data,'$.\"room\"') = ?2 \
         AND {ts} = 2 AND json_extract(data,'$.\"ts\"') > ?3 \
         ORDER BY json_extract(data,'$.\"ts\"') DESC, id DESC LIMIT 21"
    )
}

pub async fn run(rounds: usize, documents_max: usize) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let mut per_size = Vec::new();
    for size in [10_000, DOCUMENTS, documents_max] {
        let pairs = collection(rounds, size).await?;
        if size == DOCUMENTS {
            rows.push(Row::ratio("indexed query of 200,000, CPU", &pairs, OPERATIONS, 1.15));
        }
        per_size.push(median(pairs.iter().map(|pair| pair.layer.as_secs_f64()).collect()));
    }
    let text = |seconds: f64| format!("{:.1} µs", seconds * 1e6 / OPERATIONS as f64);
    let growth = per_size[2] / per_size[0];
    let name = format!("the same query, {documents_max} against 10,000 documents, CPU");
    rows.push(Row::figure(&name, text(per_size[0]), text(per_size[2]), growth, "×", 1.5));
    Ok(rows)
}

async fn collection(rounds: usize, size: usize) -> Result<Vec<Pair>, Failure> {
    let fixture = Fixture::open().await?;
    fixture.storage.indexes()?.create(&index()).await?;
    for start in (0..size).step_by(50_000) {
        fixture.fill((start..size.min(start + 50_000)).map(message)).await?;
    }
    let connection = raw::open_reader(fixture.folder.path())?;
    let (store, statement) = (fixture.storage.documents()?, by_hand());
    let mut pairs = Vec::new();
    for round in 0..=rounds {
        let raw = measure(async { raw_loop(&connection, &statement, size) }).await?.cpu;
        let layer = measure(layer_loop(&store, size)).await?.cpu;
        if round > 0 {
            pairs.push(Pair { raw, layer });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fixture.storage.close().await?;
    Ok(pairs)
}

fn index() -> IndexSuggestion {
    let field = |field: &str, direction| SuggestedField { field: field.into(), direction };
    IndexSuggestion {
        name: String::new(),
        collection: "messages".into(),
        fields: vec![field("room", Direction::Ascending), field("ts", Direction::Descending)],
    }
}

fn message(number: usize) -> (DocumentPath, Value) {
    let path = DocumentPath::parse(&format!("messages/m{number}"));
    let data = json!({
        "room": room(number),
        "ts": number,
        "author": format!("user{}", number % 977),
        "text": "a message of the usual length, with some words in it and a little more to say",
        "likes": number % 13,
    });
    #[expect(clippy::expect_used, reason = "the path is made of digits here")]
    (path.expect("a valid path"), data)
}

fn room(number: usize) -> String {
    format!("room{:03}", number % ROOMS)
}

/// Half of the room's messages are newer; the page is the newest 20.
fn raw_loop(connection: &Connection, statement: &str, size: usize) -> Result<(), Failure> {
    for number in 0..OPERATIONS {
        let mut statement = connection.prepare_cached(statement)?;
        let rows =
            statement.query_map(params!["messages", room(number), (size / 2) as i64], keyed_row)?;
        black_box(rows.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(())
}

fn keyed_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<([u8; 16], raw::Row)> {
    Ok((row.get(6)?, raw::row(row)?))
}

async fn layer_loop(store: &Arc<dyn DocumentStore>, size: usize) -> Result<(), Failure> {
    for number in 0..OPERATIONS {
        let query = Query::new("messages")?
            .filter("room", Operator::Equal, room(number))?
            .filter("ts", Operator::Greater, size / 2)?
            .order_by("ts", Direction::Descending)?
            .limit(20);
        black_box(store.query(query, Default::default()).await?);
    }
    Ok(())
}
