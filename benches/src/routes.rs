//! Routes: what a shadow costs a caller, and how fast it is brought up to date. SQLite is the primary, PostgreSQL the shadow.

mod bulk;
mod latency;

use syntrix_storage::{DocumentPath, StorageConfig};

use crate::Failure;
use crate::rounds::Row;

const VARIABLE: &str = "SYNTRIX_STORAGE_TEST_PG";

/// What a caller waits for.
pub async fn latency(rounds: usize) -> Result<Vec<Row>, Failure> {
    let dsn = server()?;
    // In a task, as a service calls: from outside its threads, what is sent to the shadow would have to wake one.
    let writes = tokio::spawn(async move {
        let mut rows = latency::writes(&dsn, rounds).await?;
        rows.push(latency::frozen(&dsn, rounds).await?);
        Ok::<_, Failure>(rows)
    });
    let mut rows = writes.await??;
    rows.push(latency::compared_reads(rounds).await?);
    Ok(rows)
}

/// How fast a shadow is brought up to date by the feed.
pub async fn backlog() -> Result<Vec<Row>, Failure> {
    Ok(vec![bulk::backlog(&server()?).await?])
}

/// How fast an empty one is filled.
pub async fn copy(documents_max: usize) -> Result<Vec<Row>, Failure> {
    Ok(bulk::copy(&server()?, documents_max).await?.into())
}

fn server() -> Result<String, Failure> {
    let missing = |_| format!("{VARIABLE} names no server; `cargo xtask servers up` starts one");
    Ok(std::env::var(VARIABLE).map_err(missing)?)
}

/// A configuration of documents alone, from its blocks and its route.
fn config(blocks: &str, routing: &str, namespace: &str) -> StorageConfig {
    let text = format!(
        "storage:\n  document:\n    backend: main\n{blocks}  routing:\n    document: {{{routing}}}\n"
    );
    StorageConfig::from_yaml(text, "bench.yaml").with_namespace(namespace).with_maintenance(false)
}

fn path(number: usize) -> Result<DocumentPath, syntrix_storage::Error> {
    DocumentPath::parse(&format!("bench/{number}"))
}
