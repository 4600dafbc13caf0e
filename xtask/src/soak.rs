//! `cargo xtask soak`: writers and watchers at work on real servers, which are killed, failed over and cut off.
//!
//! The processes are those of the package `soak`; they note what they were told in journals. Here are the
//! servers and what happens to them. In the end everything is held against everything: whatever was
//! acknowledged is there or superseded, whatever was open is settled, nothing is half applied, and each
//! watcher's journal is the history, in order, once each, across the tokens it was resumed with.

mod campaign;
mod cluster;
mod mongo;
mod network;
mod node;
mod postgres;
mod redis;
mod report;
mod routed;
mod routes;
mod sentinel;
mod sqlite;
mod timing;
mod torment;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::failure::{Context, Failure, Result};
use crate::gate::routes::Pair;
use crate::metadata::Workspace;
use crate::process::{cargo, run as run_command};
use campaign::Campaign;
use cluster::Cluster;
use report::Report;
use routed::Routed;
pub(crate) use routed::Shadow;

/// What is made to suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    /// A file: the writers are killed
    Sqlite,
    /// One server, and a failover to a synchronous standby
    Postgres,
    /// A replica set of three
    Mongodb,
    /// One server with an append-only file
    Redis,
    /// A primary, two replicas and three sentinels
    RedisSentinel,
}

impl Target {
    const ALL: [Self; 5] =
        [Self::Sqlite, Self::Postgres, Self::Mongodb, Self::Redis, Self::RedisSentinel];

    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mongodb => "mongodb",
            Self::Redis => "redis",
            Self::RedisSentinel => "redis-sentinel",
        }
    }

    /// Its part of the time: killing a writer takes a moment, an election takes seconds, also the shadow's.
    pub(crate) fn lasts(self, asked: Duration, shadow: Option<Shadow>) -> Duration {
        let has_server = shadow.is_some_and(Shadow::has_server);
        if self == Self::Sqlite && !has_server { asked / 4 } else { asked }
    }

    fn has_documents(self) -> bool {
        self.backend() != "redis"
    }

    /// The kind in a configuration.
    fn backend(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "pg",
            Self::Mongodb => "mongo",
            Self::Redis | Self::RedisSentinel => "redis",
        }
    }

    /// Those whose backend is wanted.
    pub(crate) fn among(wanted: impl Fn(&str) -> bool) -> Vec<Self> {
        Self::ALL.into_iter().filter(|target| wanted(target.backend())).collect()
    }
}

/// How much to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these, separated by commas [default: all]
    #[arg(long, value_delimiter = ',')]
    pub(crate) backends: Vec<Target>,
    /// How long each of them suffers
    #[arg(long, default_value_t = 300)]
    pub(crate) seconds: u64,
    /// Seed of what happens; which process is how far when it does is nobody's choice
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Take the processes' program as it was built last
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Tell of writers that succeeded late without failing for it: the machine does other work too
    #[arg(long)]
    pub(crate) may_be_late: bool,
    /// Route documents with a shadow, which must hold the same in the end: a file if nothing else is said. A server suffers as
    /// the primary does, and in runs of five minutes is cut off for two. There are four writers then, of which some die between
    /// the two writes, and processes are stopped and go on
    #[arg(long, num_args = 0..=1, default_missing_value = "sqlite")]
    pub(crate) shadow: Option<Shadow>,
    /// Instead, the tests of routes in their long form: as many seconds for each pair of databases, and 100,000 pairs of a write
    /// and a read of it on replicas. Then the suite on every pair of databases with every strategy
    #[arg(long, conflicts_with_all = ["backends", "seed", "may_be_late", "shadow"])]
    pub(crate) routes: bool,
    /// With --routes: no tests, and the suite on these pairs alone, the primary first, separated by commas: mongo-pg,pg-mongo
    #[arg(long, value_delimiter = ',', requires = "routes")]
    pub(crate) pairs: Vec<Pair>,
}

/// Builds the processes and runs what was asked for. Says whether all promises held.
///
/// # Errors
///
/// When a server or a process cannot be started, or there is nothing to show.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    if options.routes {
        return routes::run(workspace, options);
    }
    if !options.no_build {
        build(workspace, &["--package", "syntrix-storage-soak"])?;
    }
    suffer(&program(workspace)?, options)
}

/// Builds a program.
fn build(workspace: &Workspace, which: &[&str]) -> Result<()> {
    run_command(cargo().arg("build").args(which).current_dir(&workspace.root))
}

/// As [`run`], with the program that the tests have built.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn suffer(program: &Path, options: &Options) -> Result<bool> {
    let kept = Arc::new(Mutex::new(None));
    node::stop_on_signal(Arc::clone(&kept))?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let targets = if options.backends.is_empty() { &Target::ALL[..] } else { &options.backends };
    let mut reports = Vec::new();
    for target in targets {
        let lasts = target.lasts(Duration::from_secs(options.seconds), options.shadow);
        println!("{} for {} s, seed {seed}", target.name(), lasts.as_secs());
        reports.push(one(program, *target, lasts, seed, options.shadow, &kept)?);
    }
    print!("{}", report::render(&reports));
    let failures: Vec<_> = reports.iter().flat_map(Report::failures).collect();
    failures.iter().for_each(|failure| println!("error: {failure}"));
    let late: Vec<_> = reports.iter().flat_map(Report::late).collect();
    let word = if options.may_be_late { "late" } else { "error" };
    late.iter().for_each(|late| println!("{word}: {late}"));
    Ok(failures.is_empty() && (late.is_empty() || options.may_be_late))
}

/// The program that the tests have built and run; see the gate's conformance runs.
///
/// # Errors
///
/// When there is none.
pub(crate) fn program(workspace: &Workspace) -> Result<PathBuf> {
    let name = format!("syntrix-storage-soak{}", std::env::consts::EXE_SUFFIX);
    let program = workspace.target.join("debug").join(name);
    let there = program.exists();
    there.then_some(program).ok_or_else(|| Failure::new("there is no program of the soak"))
}

/// The folder that is removed when a signal ends us.
type Removed = Arc<Mutex<Option<PathBuf>>>;

fn one(
    program: &Path,
    target: Target,
    lasts: Duration,
    seed: u64,
    shadow: Option<Shadow>,
    removed: &Removed,
) -> Result<Report> {
    // Not in the gate's folder in memory: what is flushed shall cost what it costs, and what is kept shall stay.
    let folder = tempfile::Builder::new().prefix("syntrix-soak-").tempdir_in(std::env::temp_dir());
    let folder = folder.context(|| "making a temporary folder".into())?;
    // A server that runs as another user has its data below.
    open_to_all(folder.path())?;
    *removed.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.path().to_owned());
    let network = network::Network::start()?;
    let mut cluster: Box<dyn Cluster> = match target {
        Target::Sqlite => Box::new(sqlite::File),
        Target::Postgres => Box::new(postgres::Pair::start(&network, folder.path(), seed)?),
        Target::Mongodb => Box::new(mongo::Set::start(&network, folder.path(), seed)?),
        Target::Redis => Box::new(redis::Server::start(&network, folder.path(), seed)?),
        Target::RedisSentinel => Box::new(sentinel::Watched::start(&network, folder.path(), seed)?),
    };
    let mut name = target.name().to_owned();
    // Revocations alone have no shadow here.
    if let Some(shadow) = shadow.filter(|_| target.has_documents()) {
        let much = (seed, lasts);
        cluster = Box::new(Routed::start(cluster, shadow, &network, folder.path(), much)?);
        name += &format!(" to {}", shadow.name());
    }
    let mut campaign = Campaign::new(program, folder.path(), cluster.as_ref(), seed)?;
    let run = campaign.run(cluster.as_mut(), lasts);
    drop(cluster);
    match run {
        Ok(report) if report.failures().is_empty() => Ok(report.named(name)),
        Ok(report) => {
            println!("the journals are kept in {}", folder.keep().display());
            Ok(report.named(name))
        }
        Err(failure) => {
            let kept = folder.keep();
            Err(failure).context(|| format!("{name} (kept in {})", kept.display()))
        }
    }
}

fn open_to_all(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(folder, mode).context(|| "the temporary folder".into())
}
