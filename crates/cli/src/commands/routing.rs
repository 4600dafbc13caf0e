//! `routing`: how routes with a shadow are, and what an operator does with them.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use syntrix_storage::backend::StoreKind;
use syntrix_storage::routing::{RouteControl, ShadowState, StatusReport};
use syntrix_storage::{Clock as _, HumanDuration, Storage, SystemClock};

use crate::args::Format;
use crate::commands::verify::{StoreArg, object};
use crate::failure::Failure;
use crate::output::Output;
use crate::report;
use crate::session::Session;

/// A command that was just started has not reached its shadow yet.
const SETTLE_TIME: Duration = Duration::from_millis(700);
const SETTLE_LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Subcommand)]
pub(crate) enum RoutingCommand {
    /// Print how each store's shadow is: lag, replicator, mirror, fill, dead letters
    Status {
        /// Print it again and again, until interrupted
        #[arg(long)]
        watch: bool,
        /// Between two prints
        #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
        interval: Duration,
    },
    /// Wait until the shadow has everything that was written before; replicates if no other process does
    Drain {
        #[command(flatten)]
        store: StoreOption,
        /// Longest wait
        #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
        timeout: Duration,
    },
    /// Documents that the shadow refuses
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Give the route up: void the shadow's checkpoint and let tombstones be purged again
    #[command(
        after_help = "Take the route out of the configuration of every process first: a storage that is opened with it\n\
                      afterwards fills the shadow anew."
    )]
    Drop {
        #[command(flatten)]
        store: StoreOption,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// Print them, with the shadow's reasons
    List {
        #[command(flatten)]
        store: StoreOption,
    },
    /// Try again with what the primary has now: one document, or all
    Retry {
        #[command(flatten)]
        store: StoreOption,
        /// Path of the document [default: all]
        path: Option<String>,
    },
    /// Forget one; the document stays as it is on the shadow
    Drop {
        #[command(flatten)]
        store: StoreOption,
        /// Path of the document
        path: String,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct StoreOption {
    /// Which store
    #[arg(long, value_name = "STORE", default_value = "documents")]
    store: StoreArg,
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<HumanDuration>();
    parsed.map(|duration| duration.0).map_err(|error| error.to_string())
}

pub(crate) async fn run(command: RoutingCommand, session: &mut Session) -> Result<(), Failure> {
    session
        .with_storage(async |storage, output| match command {
            RoutingCommand::Status { watch, interval } => {
                status(storage, watch.then_some(interval), output).await
            }
            RoutingCommand::Drain { store, timeout } => {
                storage.routing(store.store.kind())?.drain(timeout).await?;
                report::line("the shadow has everything");
                Ok(())
            }
            RoutingCommand::DeadLetters(command) => dead_letters(command, storage, output).await,
            RoutingCommand::Drop { store } => {
                storage.routing(store.store.kind())?.drop_route().await?;
                report::line("the route is given up");
                Ok(())
            }
        })
        .await
}

async fn status(
    storage: &Storage,
    interval: Option<Duration>,
    output: &mut Output,
) -> Result<(), Failure> {
    let routes = routes(storage)?;
    settle(&routes).await?;
    loop {
        for route in &routes {
            print(&route.status().await?, output)?;
        }
        output.flush()?;
        let Some(interval) = interval else { return Ok(()) };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// Every store with a shadow; without any the error that says so.
fn routes(storage: &Storage) -> Result<Vec<std::sync::Arc<dyn RouteControl>>, Failure> {
    let found: Vec<_> =
        StoreKind::ALL.into_iter().filter_map(|store| storage.routing(store).ok()).collect();
    if found.is_empty() {
        storage.routing(StoreKind::Documents)?;
    }
    Ok(found)
}

/// Gives the shadows a moment to be reached.
async fn settle(routes: &[std::sync::Arc<dyn RouteControl>]) -> Result<(), Failure> {
    let end = tokio::time::Instant::now() + SETTLE_TIME;
    for route in routes {
        while !is_settled(&route.status().await?) && tokio::time::Instant::now() < end {
            tokio::time::sleep(SETTLE_LOOK).await;
        }
    }
    Ok(())
}

/// Whether the shadow was reached, and of documents what it lacks is known.
fn is_settled(status: &StatusReport) -> bool {
    let knows_lag = status.store != StoreKind::Documents.as_str() || status.lag.is_some();
    status.shadow != ShadowState::Connecting && (knows_lag || status.shadow != ShadowState::Up)
}

fn print(status: &StatusReport, output: &mut Output) -> Result<(), Failure> {
    let row = object(status);
    match output.format() {
        Format::Json => output.object(&row),
        Format::Table => output.object(&flattened(row)),
    }
}

/// For people: members of members as rows of their own, `lag seconds` and the like, moments by how long ago they were; what is not
/// known is left out.
pub(crate) fn flattened(row: Map<String, Value>) -> Map<String, Value> {
    let mut flat = Map::new();
    for (name, value) in row {
        match value {
            Value::Object(members) => {
                let named =
                    members.into_iter().map(|(inner, value)| (format!("{name} {inner}"), value));
                flat.extend(named.filter_map(readable));
            }
            value => flat.extend(readable((name, value))),
        }
    }
    flat
}

/// A row, if there is something to say.
fn readable((name, value): (String, Value)) -> Option<(String, Value)> {
    match (name.strip_suffix("Ms"), value.as_i64()) {
        (Some(moment), Some(at)) if at >= MOMENT_MIN => Some((moment.to_owned(), ago(at).into())),
        _ => Some((name, value)).filter(|(_, value)| !value.is_null()),
    }
}

/// What is below it is no moment but a time that something takes.
const MOMENT_MIN: i64 = 100_000_000_000;

fn ago(at_ms: i64) -> String {
    let age = SystemClock.now().as_milliseconds().saturating_sub(at_ms).max(0) / 1000;
    match age {
        0..120 => format!("{age} s ago"),
        120..7_200 => format!("{} min ago", age / 60),
        7_200..172_800 => format!("{} h ago", age / 3600),
        _ => format!("{} d ago", age / 86_400),
    }
}

async fn dead_letters(
    command: DeadLettersCommand,
    storage: &Storage,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        DeadLettersCommand::List { store } => {
            let letters = storage.routing(store.store.kind())?.dead_letters().await?;
            let rows: Vec<_> = letters.iter().map(object).collect();
            match (rows.is_empty(), output.format()) {
                (true, Format::Table) => output.line("no dead letters"),
                _ => output.objects(&rows),
            }
        }
        DeadLettersCommand::Retry { store, path } => {
            retry(&*storage.routing(store.store.kind())?, path).await
        }
        DeadLettersCommand::Drop { store, path } => {
            storage.routing(store.store.kind())?.drop_dead_letter(&path).await?;
            report::line(format_args!("forgot {path}"));
            Ok(())
        }
    }
}

async fn retry(route: &dyn RouteControl, path: Option<String>) -> Result<(), Failure> {
    let paths = match path {
        Some(path) => vec![path],
        None => route.dead_letters().await?.into_iter().map(|letter| letter.path).collect(),
    };
    let mut refused = 0_usize;
    for path in paths {
        match route.retry_dead_letter(&path).await? {
            true => report::line(format_args!("delivered {path}")),
            false => {
                refused += 1;
                report::line(format_args!("refused again {path}"));
            }
        }
    }
    match refused {
        0 => Ok(()),
        _ => Err(Failure::negative("retry", format!("{refused} documents were refused again"))),
    }
}
