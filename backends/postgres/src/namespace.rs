//! The end of a namespace: its schema is dropped.

use std::time::{Duration, Instant};

use syntrix_storage_core::backend::OpenContext;
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};
use tokio_postgres::types::Type;

use crate::connect::Target;
use crate::error::damaged;
use crate::pool::Pool;
use crate::row::value;
use crate::settings::Settings;
use crate::sql::identifier;
use crate::store::{connector, schema_name};

/// `deadlock_detected`.
const DEADLOCK: &str = "40P01";
/// How often a schema is tried to be dropped.
const DROPS_MAX: u32 = 5;
const IS_THERE: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
/// Longest wait for a standby to replay the drop, and between two looks.
const REPLAY_MAX: Duration = Duration::from_secs(10);
const REPLAY_INTERVAL: Duration = Duration::from_millis(20);

/// Drops a closed namespace's schema. A standby loses it by replaying what its primary did.
pub(crate) async fn remove(
    target: Target,
    settings: &Settings,
    context: &OpenContext,
) -> Result<()> {
    context.removable_namespace()?;
    let connector = connector(target, settings, context).await?;
    let (pool, schema) = (Pool::new(&connector, settings)?, schema_name(settings, context));
    let removed = match connector.standby() {
        None => drop_schema(&pool, &schema).await,
        Some(_) => until_gone(&pool, &schema).await,
    };
    pool.close();
    removed.map_err(|error| error.in_operation("remove_namespace"))
}

/// Two that drop schemas at the same time may lock the server's catalogue crosswise; of those one gives way.
async fn drop_schema(pool: &Pool, schema: &str) -> Result<()> {
    let statement = format!("DROP SCHEMA IF EXISTS {} CASCADE", identifier(schema));
    let mut attempt = 1;
    loop {
        match pool.session().await?.execute(&statement).await {
            Err(error) if error.fact("sqlstate") == Some(DEADLOCK) && attempt < DROPS_MAX => {
                attempt += 1
            }
            dropped => return dropped.map(drop),
        }
    }
}

/// It may be the standby of another primary, or of none any more: what stays there is told.
async fn until_gone(pool: &Pool, schema: &str) -> Result<()> {
    let end = Instant::now() + REPLAY_MAX;
    while is_there(pool, schema).await? {
        if Instant::now() > end {
            return Err(Error::new(ErrorKind::Unavailable, "")
                .with_retry(Retry::Safe)
                .with_message("the standby still has the namespace: it replays nothing, or follows another primary")
                .with_fact("schema", schema));
        }
        tokio::time::sleep(REPLAY_INTERVAL).await;
    }
    Ok(())
}

async fn is_there(pool: &Pool, schema: &str) -> Result<bool> {
    let rows = pool.session().await?.query_once(IS_THERE, &[(&schema, Type::TEXT)]).await?;
    value(rows.first().ok_or_else(damaged)?, 0)
}
