//! `verify`: whether a shadow holds what its primary holds, and making it so.

mod findings;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use syntrix_storage::Storage;
use syntrix_storage::backend::StoreKind;
use syntrix_storage::routing::{Depth, RepairSummary, VerdictCounts, VerifyOptions};

pub(crate) use findings::object;

use crate::commands::routing;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use findings::Findings;

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

/// What to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoresArg {
    Documents,
    Users,
    Revocations,
    /// Every store that has a shadow
    All,
}

impl StoresArg {
    /// Which of them have a shadow; the error that says so if the one that is asked for has none.
    fn routed(self, storage: &Storage) -> Result<Vec<StoreKind>, Failure> {
        let only = match self {
            Self::Documents => StoreKind::Documents,
            Self::Users => StoreKind::Users,
            Self::Revocations => StoreKind::Revocations,
            Self::All => {
                let routed = |store: &StoreKind| storage.routing(*store).is_ok();
                let all: Vec<_> = StoreKind::ALL.into_iter().filter(routed).collect();
                match all.is_empty() {
                    false => return Ok(all),
                    true => StoreKind::Documents,
                }
            }
        };
        storage.routing(only)?;
        Ok(vec![only])
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Writes may go on meanwhile. The shadow is caught up first, by this process if no other one replicates.\n\
    The last line about each store is its summary. Exit code 0 only if nothing differs.\n\
    Of accounts a password hash is never printed, of revoked tokens only a digest of their ids."
)]
pub(crate) struct VerifyArgs {
    /// Which store
    #[arg(long, value_name = "STORE", default_value = "documents")]
    store: StoresArg,
    /// Compare all data, not only versions, times of creation and tombstone marks
    #[arg(long)]
    deep: bool,
    /// Print the values that differ; they may be anything that was ever stored, but for hashes and tokens
    #[arg(long)]
    show_values: bool,
    /// Write findings and summary into this file, as JSON lines; only the summary is printed
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Longest wait for the shadow to catch up, each time
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = routing::parse_duration)]
    timeout: Duration,
    /// Go on where a run of documents that was interrupted had come to, and with its report file; accounts and tokens begin
    /// anew
    #[arg(long, conflicts_with = "repair")]
    resume: bool,
    /// Records compared behind one wait for the shadow: after so many a run can be resumed
    #[arg(long, value_name = "RECORDS", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..))]
    range: u32,
    /// Say for each difference what would make the shadow equal to the primary
    #[arg(long)]
    repair: bool,
    /// With --repair: do it
    #[arg(long, requires = "repair")]
    execute: bool,
}

impl VerifyArgs {
    fn options(&self) -> VerifyOptions {
        let mut options = VerifyOptions::default()
            .with_depth(if self.deep { Depth::Deep } else { Depth::Quick })
            .with_values(self.show_values)
            .with_resume(self.resume);
        options.range_documents_max = usize::try_from(self.range).unwrap_or(usize::MAX);
        options
    }
}

/// What one store came to.
struct Verdict {
    equal: bool,
    counts: VerdictCounts,
    repaired: Option<RepairSummary>,
}

pub(crate) async fn run(args: VerifyArgs, session: &mut Session) -> Result<(), Failure> {
    session.with_storage(async |storage, output| verify(&args, storage, output).await).await
}

async fn verify(args: &VerifyArgs, storage: &Storage, output: &mut Output) -> Result<(), Failure> {
    let stores = args.store.routed(storage)?;
    let mut findings = Findings::new(args.report.as_deref(), args.resume, output)?;
    let mut verdicts = Vec::new();
    for store in stores {
        verdicts.push(match store {
            StoreKind::Documents => documents(args, storage, &mut findings).await?,
            store => records(args, storage, store, &mut findings).await?,
        });
    }
    exit(&verdicts)
}

async fn documents(
    args: &VerifyArgs,
    storage: &Storage,
    findings: &mut Findings<'_>,
) -> Result<Verdict, Failure> {
    let (route, mut paths) = (storage.document_route()?, Vec::new());
    let mut report = |finding: syntrix_storage::routing::Finding| {
        findings.add(StoreKind::Documents, &finding)?;
        if args.repair {
            paths.push(finding.path);
        }
        Ok(())
    };
    let verified = route.verify(args.options(), args.timeout, &mut report).await;
    let summary = findings.unless_failed(verified)?;
    let mut repaired = None;
    if args.repair {
        let repair = route.repair()?;
        let repair = if args.execute { repair.executing() } else { repair };
        let sum = repaired.insert(RepairSummary { executed: args.execute, ..Default::default() });
        for path in &paths {
            sum.count(repair.document(path).await?);
        }
    }
    end(StoreKind::Documents, &summary, repaired, findings)?;
    Ok(Verdict { equal: summary.equal, counts: summary.counts, repaired })
}

/// Accounts and revoked tokens.
async fn records(
    args: &VerifyArgs,
    storage: &Storage,
    store: StoreKind,
    findings: &mut Findings<'_>,
) -> Result<Verdict, Failure> {
    let (route, mut keys) = (storage.record_route(store)?, Vec::new());
    let mut report = |finding: syntrix_storage::routing::RecordFinding| {
        findings.add(store, &finding)?;
        if args.repair {
            keys.push(finding.record);
        }
        Ok(())
    };
    let verified = route.verify(args.options(), args.timeout, &mut report).await;
    let summary = findings.unless_failed(verified)?;
    let mut repaired = None;
    if args.repair {
        let sum = repaired.insert(RepairSummary { executed: args.execute, ..Default::default() });
        for key in &keys {
            sum.count(route.repair(key, args.execute).await?);
        }
    }
    end(store, &summary, repaired, findings)?;
    Ok(Verdict { equal: summary.equal, counts: summary.counts, repaired })
}

fn end(
    store: StoreKind,
    summary: &impl Serialize,
    repaired: Option<RepairSummary>,
    findings: &mut Findings<'_>,
) -> Result<(), Failure> {
    let mut last = object(summary);
    last.insert("summary".into(), "verify".into());
    last.insert("store".into(), store.as_str().into());
    if let Some(repaired) = repaired {
        last.insert("repair".into(), object(&repaired).into());
    }
    findings.end_store(&last)
}

/// What was repaired differs no longer.
fn exit(verdicts: &[Verdict]) -> Result<(), Failure> {
    let is_well = |verdict: &&Verdict| {
        let repaired = verdict.repaired.is_some_and(|repaired| repaired.executed);
        verdict.equal || repaired && verdict.counts.unsettled == 0
    };
    if verdicts.iter().all(|verdict| is_well(&verdict)) {
        return Ok(());
    }
    let sum = |of: fn(&VerdictCounts) -> u64| -> u64 {
        verdicts.iter().map(|verdict| of(&verdict.counts)).sum()
    };
    let (differences, unsettled) =
        (sum(VerdictCounts::differences), sum(|counts| counts.unsettled));
    Err(Failure::negative("verify", format!("{differences} differences, {unsettled} unsettled")))
}
