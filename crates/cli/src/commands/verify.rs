//! `verify`: whether a shadow holds what its primary holds, and making it so.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Map, Value};
use syntrix_storage::backend::StoreKind;
use syntrix_storage::routing::{
    Depth, Finding, Repair, RepairSummary, VerifyOptions, VerifySummary,
};
use syntrix_storage::{DocumentPath, Error, ErrorKind, Storage};

use crate::args::Format;
use crate::commands::routing;
use crate::failure::Failure;
use crate::output::Output;
use crate::report;
use crate::session::Session;

/// Findings of a table; a file has all.
const TABLE_ROWS_MAX: usize = 100;

/// The stores of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreArg {
    Documents,
    Users,
    Revocations,
}

impl StoreArg {
    pub(crate) fn kind(self) -> StoreKind {
        match self {
            Self::Documents => StoreKind::Documents,
            Self::Users => StoreKind::Users,
            Self::Revocations => StoreKind::Revocations,
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Writes may go on meanwhile. The shadow is caught up first, by this process if no other one replicates.\n\
    The last line is the summary. Exit code 0 only if nothing differs."
)]
pub(crate) struct VerifyArgs {
    /// Which store
    #[arg(long, value_name = "STORE", default_value = "documents")]
    store: StoreArg,
    /// Compare all data, not only versions, times of creation and tombstone marks
    #[arg(long)]
    deep: bool,
    /// Print the values that differ; they may be anything that was ever stored
    #[arg(long)]
    show_values: bool,
    /// Write findings and summary into this file, as JSON lines; only the summary is printed
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Longest wait for the shadow to catch up, each time
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = routing::parse_duration)]
    timeout: Duration,
    /// Say for each difference what would make the shadow equal to the primary
    #[arg(long)]
    repair: bool,
    /// With --repair: do it
    #[arg(long, requires = "repair")]
    execute: bool,
}

pub(crate) async fn run(args: VerifyArgs, session: &mut Session) -> Result<(), Failure> {
    session.with_storage(async |storage, output| verify(&args, storage, output).await).await
}

async fn verify(args: &VerifyArgs, storage: &Storage, output: &mut Output) -> Result<(), Failure> {
    // Says that there is no such route, if so.
    storage.routing(args.store.kind())?;
    if args.store != StoreArg::Documents {
        return Err(not_yet(args.store).into());
    }
    let mut findings = Findings::new(args, output)?;
    let route = storage.document_route()?;
    let options = VerifyOptions::default()
        .with_depth(if args.deep { Depth::Deep } else { Depth::Quick })
        .with_values(args.show_values);
    let verified = route.verify(options, args.timeout, &mut |finding| findings.add(finding)).await;
    let summary = match (verified, findings.failure.take()) {
        // What the report said is more to the point than that it ended the run.
        (Err(_), Some(failure)) => return Err(failure),
        (verified, _) => verified?,
    };
    let repaired = match args.repair {
        true => Some(repair(route.repair()?, args, &findings.paths).await?),
        false => None,
    };
    let verdict = verdict(&summary, repaired);
    match findings.end(&summary, repaired).and_then(|()| output.flush()) {
        // Nobody reads it; whether both sides are equal is still what the exit code says.
        Err(Failure::StdoutClosed) => verdict,
        told => told.and(verdict),
    }
}

fn not_yet(store: StoreArg) -> Error {
    Error::new(ErrorKind::Unsupported, "verify")
        .with_message("this release compares documents only")
        .with_fact("store", store.kind().as_str())
}

async fn repair(
    repair: Repair,
    args: &VerifyArgs,
    paths: &[DocumentPath],
) -> Result<RepairSummary, Failure> {
    let repair = if args.execute { repair.executing() } else { repair };
    let mut summary = RepairSummary { executed: args.execute, ..RepairSummary::default() };
    for path in paths {
        summary.count(repair.document(path).await?);
    }
    Ok(summary)
}

/// What was repaired differs no longer.
fn verdict(summary: &VerifySummary, repaired: Option<RepairSummary>) -> Result<(), Failure> {
    let counts = summary.counts;
    if summary.equal || repaired.is_some_and(|repaired| repaired.executed) && counts.unsettled == 0
    {
        return Ok(());
    }
    Err(Failure::negative(
        "verify",
        format!("{} differences, {} unsettled", counts.differences(), counts.unsettled),
    ))
}

/// Where findings go, one by one.
struct Findings<'output> {
    output: &'output mut Output,
    file: Option<BufWriter<File>>,
    rows: Vec<Map<String, Value>>,
    paths: Vec<DocumentPath>,
    keeps_paths: bool,
    /// Why findings cannot be told any more.
    failure: Option<Failure>,
    /// Nobody reads stdout any more.
    is_closed: bool,
}

impl<'output> Findings<'output> {
    fn new(args: &VerifyArgs, output: &'output mut Output) -> Result<Self, Failure> {
        let file = match &args.report {
            Some(path) => {
                let file = File::create(path).map_err(Failure::io(path.display().to_string()))?;
                Some(BufWriter::new(file))
            }
            None => None,
        };
        let keeps_paths = args.repair;
        Ok(Self {
            output,
            file,
            rows: Vec::new(),
            paths: Vec::new(),
            keeps_paths,
            failure: None,
            is_closed: false,
        })
    }

    fn add(&mut self, finding: Finding) -> syntrix_storage::Result<()> {
        let row = object(&finding);
        if self.keeps_paths {
            self.paths.push(finding.path);
        }
        let told = match (&mut self.file, self.output.format()) {
            (Some(file), _) => line(file, &row),
            (None, Format::Json) if self.is_closed => Ok(()),
            (None, Format::Json) => self.output.line(Value::Object(row)),
            (None, Format::Table) => {
                self.rows.push(row);
                self.rows.truncate(TABLE_ROWS_MAX);
                Ok(())
            }
        };
        match told {
            Ok(()) => Ok(()),
            Err(Failure::StdoutClosed) => {
                self.is_closed = true;
                Ok(())
            }
            Err(failure) => {
                self.failure = Some(failure);
                Err(Error::new(ErrorKind::Unavailable, "verify")
                    .with_message("the report could not be written"))
            }
        }
    }

    fn end(
        mut self,
        summary: &VerifySummary,
        repaired: Option<RepairSummary>,
    ) -> Result<(), Failure> {
        let mut last = object(summary);
        last.insert("summary".into(), "verify".into());
        if let Some(repaired) = repaired {
            last.insert("repair".into(), Value::Object(object(&repaired)));
        }
        if let Some(file) = &mut self.file {
            line(file, &last)?;
            file.flush().map_err(Failure::io("report"))?;
        }
        if !self.rows.is_empty() {
            self.output.objects(&self.rows)?;
            let more = summary.counts.differences() + summary.counts.unsettled;
            if more > TABLE_ROWS_MAX as u64 {
                report::line(format_args!(
                    "the first {TABLE_ROWS_MAX} of {more}; --report FILE has them all"
                ));
            }
        }
        self.output.object(&last)
    }
}

fn line(file: &mut BufWriter<File>, row: &Map<String, Value>) -> Result<(), Failure> {
    let text = Value::Object(row.clone());
    writeln!(file, "{text}").map_err(Failure::io("report"))
}

pub(crate) fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}
