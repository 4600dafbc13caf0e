//! Routes: what a shadow costs a caller, and how fast it is brought up to date. SQLite is the primary, PostgreSQL the shadow.

mod bulk;
mod latency;

use syntrix_storage::{DocumentPath, StorageConfig};

use crate::Failure;
use crate::rounds::Row;

const VARIABLE: &str = "SYNTRIX_STORAGE_TEST_PG";

/// Without a server there is no shadow, and the run says so.
pub async fn run(rounds: usize, documents_max: usize) -> Result<Vec<Row>, Failure> {
    let Ok(dsn) = std::env::var(VARIABLE) else {
        eprintln!("routes: not measured, {VARIABLE} names no server (`cargo xtask servers up`)");
        return Ok(Vec::new());
    };
    let mut rows = latency::writes(&dsn, rounds).await?;
    rows.push(latency::frozen(&dsn, rounds).await?);
    rows.push(latency::compared_reads(rounds).await?);
    rows.extend(bulk::run(&dsn, documents_max).await?);
    Ok(rows)
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
