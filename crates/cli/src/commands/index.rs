//! `index`: composite indexes, and which one a query needs.

use clap::Subcommand;
use serde_json::{Map, Value};
use syntrix_storage::{ErrorKind, IndexStatus, IndexSuggestion, OrderBy, QueryPlan};

use crate::args::Format;
use crate::condition::QueryArgs;
use crate::failure::{Failure, suggestion_json};
use crate::json;
use crate::output::Output;
use crate::report;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Print the declared indexes and whether they are ready
    List,
    /// Build an index and print it when queries may use it
    Create {
        /// Suggestion as an error or `index suggest` prints it, or - to read it from stdin
        suggestion: String,
    },
    /// Remove an index
    Drop {
        /// Name as `index list` prints it, for example ix_a2499e22cd6c
        name: String,
    },
    /// Print the index that a query needs, without running the query
    Suggest(QueryArgs),
}

pub(crate) async fn run(command: IndexCommand, session: &mut Session) -> Result<(), Failure> {
    match command {
        IndexCommand::List => list(session).await,
        IndexCommand::Create { suggestion } => create(&suggestion, session).await,
        IndexCommand::Drop { name } => drop(&name, session).await,
        IndexCommand::Suggest(args) => suggest(&args, session),
    }
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    session
        .with_storage(async |storage, output| {
            let indexes = storage.indexes()?.list().await?;
            print(&indexes, output)
        })
        .await
}

async fn create(suggestion: &str, session: &mut Session) -> Result<(), Failure> {
    let suggestion = parse_suggestion(json::argument(suggestion, "create_index")?)?;
    session
        .with_storage(async |storage, output| {
            let created = storage.indexes()?.create(&suggestion).await;
            let created = created.map_err(|error| error.in_operation("create_index"))?;
            print(&[IndexStatus { definition: created, ready: true }], output)
        })
        .await
}

/// A line of `index list` is taken as well, so `ready` may be there.
fn parse_suggestion(mut value: Value) -> Result<IndexSuggestion, Failure> {
    if let Some(object) = value.as_object_mut() {
        object.remove("ready");
    }
    serde_json::from_value(value).map_err(|error| {
        Failure::Usage(format!(
            "this is no index suggestion: {error}; it looks like {{\"collection\":\"rooms/*/messages\",\"fields\":[{{\"field\":\"room\",\"direction\":\"asc\"}}]}}"
        ))
    })
}

async fn drop(name: &str, session: &mut Session) -> Result<(), Failure> {
    session.with_storage(async |storage, _| Ok(storage.indexes()?.drop(name).await?)).await?;
    report::line(format_args!("dropped {name}"));
    Ok(())
}

/// The index rule needs no store: a query is planned as if none had been created.
fn suggest(args: &QueryArgs, session: &mut Session) -> Result<(), Failure> {
    match QueryPlan::new(args.query()?, &[]) {
        Ok(_) => {
            report::line("this query needs no composite index");
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::IndexRequired => match error.suggestion() {
            Some(suggestion) => session.output.json(&suggestion_json(suggestion)),
            None => Err(error.into()),
        },
        Err(error) => Err(error.in_operation("suggest").into()),
    }
}

/// Lines that `index create` takes again, or a table.
pub(crate) fn print(indexes: &[IndexStatus], output: &mut Output) -> Result<(), Failure> {
    let rows: Vec<_> = match output.format() {
        Format::Json => indexes.iter().map(row).collect(),
        Format::Table => indexes.iter().map(readable_row).collect(),
    };
    output.objects(&rows)
}

/// The suggestion with its state.
pub(crate) fn row(index: &IndexStatus) -> Map<String, Value> {
    let mut row = match suggestion_json(&index.definition.to_suggestion()) {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    row.insert("ready".into(), index.ready.into());
    row
}

fn readable_row(index: &IndexStatus) -> Map<String, Value> {
    let term = |term: &OrderBy| format!("{} {}", term.field(), term.direction().as_str());
    let fields: Vec<_> = index.definition.fields().iter().map(term).collect();
    let mut row = row(index);
    row.insert("fields".into(), fields.join(", ").into());
    row
}
