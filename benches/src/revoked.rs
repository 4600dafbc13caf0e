//! Checks of tokens, most of which nobody revoked, in CPU time.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow};
use syntrix_storage::{TokenId, TokenRevocationStore};

use crate::Failure;
use crate::raw;
use crate::rounds::{Pair, Row, measure};
use crate::store::Fixture;

const TOKENS: u32 = 100_000;
const OPERATIONS: usize = 100_000;
const GRACE: Duration = Duration::from_secs(30);
const GATE: f64 = 1.15;
/// The year 9999, so that no record's time is over.
const FILL: &str = "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < ?1) \
    INSERT INTO revocations (token, revoked_at, immediate, expires_at, keep_until) \
    SELECT 'token-' || n, 1700000000000, 0, 253402300799999, 253402300799999 FROM n";
const GET: &str = "SELECT revoked_at, immediate, expires_at, keep_until, reason, subject, family, successor \
    FROM revocations WHERE token = ?1";

pub async fn run(rounds: usize) -> Result<Vec<Row>, Failure> {
    let fixture = Fixture::open().await?;
    let store = fixture.storage.revocations()?;
    raw::open_writer(fixture.folder.path())?.execute(FILL, [TOKENS])?;
    let connection = raw::open_reader(fixture.folder.path())?;
    let mut rows = Vec::new();
    for (name, prefix) in [("not revoked", "other"), ("revoked", "token")] {
        let tokens = tokens(prefix)?;
        let mut pairs = Vec::new();
        for round in 0..=rounds {
            let raw = measure(async { raw_loop(&connection, &tokens) }).await?.cpu;
            let layer = measure(layer_loop(&tokens, &store)).await?.cpu;
            if round > 0 {
                pairs.push(Pair { raw, layer });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        rows.push(Row::ratio(&format!("is_revoked, {name}, CPU"), &pairs, OPERATIONS, GATE));
    }
    fixture.storage.close().await?;
    Ok(rows)
}

/// Spread over the table like a shuffle.
fn tokens(prefix: &str) -> Result<Vec<TokenId>, Failure> {
    let numbers = (0..OPERATIONS as u64).map(|number| number * 7919 % u64::from(TOKENS));
    let tokens = numbers.map(|number| TokenId::parse(&format!("{prefix}-{number}")));
    Ok(tokens.collect::<Result<_, _>>()?)
}

fn raw_loop(connection: &Connection, tokens: &[TokenId]) -> Result<(), Failure> {
    for token in tokens {
        let mut statement = connection.prepare_cached(GET)?;
        black_box(statement.query_row([token.as_str()], row).optional()?);
    }
    Ok(())
}

type Texts = [Option<String>; 4];

/// A row as a careful user of the bare driver would read it.
fn row(row: &SqlRow<'_>) -> rusqlite::Result<(i64, bool, i64, i64, Texts)> {
    let texts = [row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?];
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, texts))
}

async fn layer_loop(
    tokens: &[TokenId],
    store: &Arc<dyn TokenRevocationStore>,
) -> Result<(), Failure> {
    for token in tokens {
        black_box(store.is_revoked(token, GRACE, Default::default()).await?);
    }
    Ok(())
}
