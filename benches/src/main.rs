//! Ratios of the layer to the raw driver, taken in paired rounds within one process.
//!
//! Each round runs the raw loop and the layer's loop one after the other; the figure is the median of the rounds' ratios.
//! Absolute figures depend on the machine and its neighbours, ratios hardly do.

mod create;
mod get;
mod hub;
mod mongo;
mod postgres;
mod query;
mod raw;
mod redis_check;
mod revoked;
mod rounds;
mod routes;
mod store;
mod watch;

use clap::Parser;
use postgres::Subject;
use rounds::Row;

/// Measures the layer against bare drivers: SQLite, and the servers that the `SYNTRIX_STORAGE_TEST_…` variables name.
#[derive(Debug, Parser)]
struct Arguments {
    /// Run only benchmarks whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Paired rounds per benchmark, after one to warm up.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Documents in the largest collection of the query benchmark.
    #[arg(long, default_value_t = 1_000_000)]
    documents_max: usize,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut rows, mut failed) = (Vec::new(), false);
    for (name, benchmark) in benchmarks() {
        if arguments.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            eprintln!("running {name} …");
            match benchmark(&runtime, &arguments) {
                Ok(measured) => rows.extend(measured),
                // What was measured before is worth its time.
                Err(failure) => {
                    eprintln!("{name} was not measured: {failure}");
                    failed = true;
                }
            }
        }
    }
    print_table(&rows);
    match !failed && rows.iter().all(Row::reached) {
        true => Ok(()),
        false => Err("a gate was missed, or something was not measured".into()),
    }
}

type Benchmark = fn(&tokio::runtime::Runtime, &Arguments) -> Result<Vec<Row>, Failure>;

fn benchmarks() -> [(&'static str, Benchmark); 15] {
    [
        // First: it measures the process's memory.
        ("hub", |runtime, arguments| runtime.block_on(hub::run(arguments.rounds))),
        ("get", |runtime, arguments| runtime.block_on(get::run(arguments.rounds))),
        ("revoked", |runtime, arguments| runtime.block_on(revoked::run(arguments.rounds))),
        ("create", |runtime, arguments| runtime.block_on(create::run(arguments.rounds))),
        ("query", |runtime, arguments| {
            runtime.block_on(query::run(arguments.rounds, arguments.documents_max))
        }),
        ("redis check", |runtime, arguments| runtime.block_on(redis_check::run(arguments.rounds))),
        ("mongo", |runtime, arguments| runtime.block_on(mongo::run(arguments.rounds))),
        ("watch", |runtime, arguments| runtime.block_on(watch::run(arguments.rounds))),
        ("routes latency", |runtime, arguments| {
            runtime.block_on(routes::latency(arguments.rounds))
        }),
        ("routes backlog", |runtime, _| runtime.block_on(routes::backlog())),
        ("routes copy", |runtime, arguments| {
            runtime.block_on(routes::copy(arguments.documents_max))
        }),
        ("postgres get", |runtime, arguments| {
            runtime.block_on(postgres::run(Subject::Get, arguments.rounds))
        }),
        ("postgres create", |runtime, arguments| {
            runtime.block_on(postgres::run(Subject::Create, arguments.rounds))
        }),
        ("postgres query", |runtime, arguments| {
            runtime.block_on(postgres::run(Subject::Query, arguments.rounds))
        }),
        ("postgres feed", |runtime, arguments| {
            runtime.block_on(postgres::run(Subject::Feed, arguments.rounds))
        }),
    ]
}

fn print_table(rows: &[Row]) {
    println!("| benchmark | raw | layer | figure | gate | reached |");
    println!("|---|---|---|---|---|---|");
    for row in rows {
        println!("{row}");
    }
}
