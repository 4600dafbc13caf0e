//! The end of a namespace: its database is dropped.

use std::time::{Duration, Instant};

use mongodb::Database;
use syntrix_storage_core::backend::OpenContext;
use syntrix_storage_core::{Error, ErrorKind, Result, Retry};

use crate::connect::Connections;
use crate::error::{closed, from_driver};
use crate::settings::Settings;
use crate::store::database_name;

/// Longest wait for a secondary to apply the drop, and between two looks.
const APPLY_MAX: Duration = Duration::from_secs(10);
const APPLY_INTERVAL: Duration = Duration::from_millis(20);

/// Drops a closed namespace's database. Where nothing but a secondary is named, that applies what its primary did.
pub(crate) async fn remove(settings: &Settings, context: &OpenContext) -> Result<()> {
    context.removable_namespace()?;
    let connections = Connections::open(settings, &context.data_dir, context.access).await?;
    let client = connections.client().ok_or_else(closed)?;
    let database = client.database(&database_name(settings, context));
    let removed = match connections.is_replica && connections.is_direct {
        true => until_gone(&database).await,
        false => database.drop().await.map_err(|error| from_driver(&error)),
    };
    drop((database, client));
    connections.close().await;
    removed.map_err(|error| error.in_operation("remove_namespace"))
}

/// It may be a member of another set: what stays there is told.
async fn until_gone(database: &Database) -> Result<()> {
    let end = Instant::now() + APPLY_MAX;
    let names =
        async || database.list_collection_names().await.map_err(|error| from_driver(&error));
    while !names().await?.is_empty() {
        if Instant::now() > end {
            return Err(Error::new(ErrorKind::Unavailable, "")
                .with_retry(Retry::Safe)
                .with_message(
                    "the member still has the namespace: it applies nothing, or is of another set",
                )
                .with_fact("db", database.name()));
        }
        tokio::time::sleep(APPLY_INTERVAL).await;
    }
    Ok(())
}
